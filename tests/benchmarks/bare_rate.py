"""How fast PyNaCl alone signs or verifies, payloads of the usual length, nothing else.

    python bare_rate.py sign COUNT [PROCESSES]
    python bare_rate.py verify COUNT

What no signed run and no verification can pass by, whatever the database does. Prints signatures and seconds of wall
time, start-up left out, as JSON; several processes work at the same time, each on COUNT signatures.
"""

from __future__ import annotations

import json
import os
import sys
import time
from multiprocessing import get_context
from typing import Any

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

PAYLOAD_BYTES = 250


def measure(what: str, count: int, barrier: Any = None) -> float:
    """Seconds to sign `count` different payloads, or to verify their signatures, with a throw-away key."""
    public_key, secret_key = crypto_sign_seed_keypair(os.urandom(32))
    filler = b"x" * (PAYLOAD_BYTES - 8)
    messages = [filler + number.to_bytes(8, "big") for number in range(count)]
    if what == "verify":
        messages = [crypto_sign(payload, secret_key) for payload in messages]
    work, key = (crypto_sign, secret_key) if what == "sign" else (crypto_sign_open, public_key)
    if barrier is not None:
        barrier.wait()
    started = time.perf_counter()
    for message in messages:
        work(message, key)
    return time.perf_counter() - started


def _put(queue: Any, barrier: Any, what: str, count: int) -> None:
    queue.put(measure(what, count, barrier))


def measure_together(what: str, count: int, processes: int) -> float:
    """Seconds until the slowest of several processes, which begin together, has done its `count`."""
    context = get_context("spawn")
    queue, barrier = context.Queue(), context.Barrier(processes)
    workers = [context.Process(target=_put, args=(queue, barrier, what, count)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    seconds = max(queue.get() for _ in workers)
    for worker in workers:
        worker.join()
    return seconds


if __name__ == "__main__":
    what, count, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 1
    print(json.dumps({"signatures": count * processes, "seconds": measure_together(what, count, processes)}))
