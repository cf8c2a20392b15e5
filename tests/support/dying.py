"""A process that is killed where a test wants it to be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tasks.core import crash_points


def die_at(point: str, nth: int, action: Callable[[], None]) -> None:
    """Run the action in a process that is killed the nth time it comes to the point."""
    pid = os.fork()
    if pid == 0:
        try:
            _set_trap(point, nth)
            action()
        finally:
            os._exit(70)  # the point was not reached
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"{point!r} was not reached {nth} times"


def _set_trap(point: str, nth: int) -> None:
    left = [nth]

    def reach(name: str) -> None:
        left[0] -= name == point
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    crash_points.reach = reach
