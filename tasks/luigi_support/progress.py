"""How far a chunk is: to luigid's page and to the log, seldom enough to be cheap."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import luigi

from tasks.runs.loop import Progress

logger = logging.getLogger("luigi-interface")

# Each call is a request to the scheduler, and each log line is read by a person.
_PAGE_SECONDS = 1.0
_LOG_SECONDS = 10.0


class ProgressReporter:
    """Takes the progress of one chunk and passes it on at most once a second, to the log every ten seconds."""

    def __init__(self, task: luigi.Task) -> None:
        self._task = task
        self._told_page = float("-inf")
        self._told_log = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        message = describe(progress)
        if now - self._told_page >= _PAGE_SECONDS or progress.settled >= progress.of:
            self._told_page = now
            self._tell_page(progress, message)
        if now - self._told_log >= _LOG_SECONDS:
            self._told_log = now
            logger.info("[pid %d] chunk %s: %s", os.getpid(), getattr(self._task, "chunk", "?"), message)

    def _tell_page(self, progress: Progress, message: str) -> None:
        """The two callbacks exist only inside a worker."""
        percentage = min(100, 100 * progress.settled // max(1, progress.of))
        set_percentage: Callable[[int], None] | None = self._task.set_progress_percentage
        set_message: Callable[[str], None] | None = self._task.set_status_message
        if set_percentage and set_message:
            set_percentage(percentage)
            set_message(message)


def describe(progress: Progress) -> str:
    """`40000 of 100000 facts, 25310 rows/s, 2 s left`."""
    rate = progress.new / progress.seconds if progress.seconds > 0 else 0.0
    left = f", {max(0, progress.of - progress.settled) / rate:.0f} s left" if rate else ""
    return f"{progress.settled} of {progress.of} facts, {rate:.0f} rows/s{left}"
