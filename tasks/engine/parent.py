"""Worker processes whose parent has ended have nobody left to work for.

A signal to the parent alone does not reach them: Luigi's workers would go on to the end of their chunk, and those of a
process pool would wait for work for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

_LOOK_EVERY = 0.5  # seconds


def parent_is_gone() -> bool:
    """Whether the process that started this worker has ended. False in a process that is no worker."""
    parent = multiprocessing.parent_process()
    return parent is not None and os.getppid() != parent.pid


def end_with_parent() -> None:
    """Let this worker end at once when its parent does, whatever it is at. For workers that write to no database."""
    threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    while not parent_is_gone():
        time.sleep(_LOOK_EVERY)
    os._exit(1)
