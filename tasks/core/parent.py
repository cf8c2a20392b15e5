"""Worker processes whose parent has ended have nobody left to work for.

A signal to the parent alone does not reach them: Luigi's workers would go on to the end of their chunk, and those of a
process pool would wait for work for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable

_LOOK_EVERY = 0.5  # seconds


def watch_parent() -> Callable[[], bool]:
    """A function that tells whether the parent that this worker has now has ended. Never, in one that is no worker.

    A command that lost its shell, or made itself a daemon, is no worker and goes on.
    """
    starter = multiprocessing.parent_process()
    if starter is None:
        return lambda: False
    if not starter.is_alive():  # it ended while this worker was being made
        return lambda: True
    parent = os.getppid()  # of a worker of a fork server that server, which ends with the process that it serves
    return lambda: os.getppid() != parent


def end_with_parent() -> None:
    """Let this worker end at once when its parent does, whatever it is at. For workers that write to no database."""
    threading.Thread(target=_watch, args=(watch_parent(),), name="parent", daemon=True).start()


def _watch(parent_is_gone: Callable[[], bool]) -> None:
    while not parent_is_gone():
        time.sleep(_LOOK_EVERY)
    os._exit(1)
