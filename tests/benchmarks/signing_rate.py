"""How fast one core signs: PyNaCl alone, payloads of the usual length, nothing else.

    python signing_rate.py COUNT

The floor under every signed run, whatever the database does. Prints count and seconds, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

PAYLOAD_BYTES = 250


def measure(count: int) -> dict[str, float]:
    """Sign `count` different payloads with a throw-away key. Seconds of wall time, start-up left out."""
    _, secret_key = crypto_sign_seed_keypair(os.urandom(32))
    filler = b"x" * (PAYLOAD_BYTES - 8)
    payloads = [filler + number.to_bytes(8, "big") for number in range(count)]
    started = time.perf_counter()
    for payload in payloads:
        crypto_sign(payload, secret_key)
    return {"signatures": count, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
