"""What failed for a reason that may pass by itself, a lock or a full disk, is tried once more when what runs has ended.

Until that has come to its end nothing else begins, and nothing more at all if it fails again: hundreds of chunks would
wait for the same lock in turn, for hours.
"""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

import luigi

from tasks.luigi_support.failures import MayPass

logger = logging.getLogger("luigi-interface")


class SecondTries:
    """Which tasks of one command wait for their second try, and whether anything else may begin."""

    def __init__(self) -> None:
        self._waiting: list[luigi.Task] = []
        self._tried_again: set[str] = set()
        self._gave_up = False

    def note(self, task: luigi.Task, said: str) -> None:
        """Take in that a task failed, and what its `on_failure` said."""
        if isinstance(said, MayPass):
            self._waiting.append(task)

    def hold_back(self, running: AbstractSet[str]) -> bool:
        """Whether something stands in the way of one task that would stand in the way of the next one too."""
        return self._gave_up or bool(self._waiting) or not self._tried_again.isdisjoint(running)

    def due(self, *, left: int) -> list[luigi.Task]:
        """The tasks to begin once more now, when nothing runs; `left` are not done. None where that was in vain."""
        if self._gave_up or not self._waiting:
            return []
        again = [task for task in self._waiting if task.task_id not in self._tried_again]
        self._gave_up = len(again) < len(self._waiting)
        if self._gave_up:
            logger.error("what stood in the way still does, so nothing more is begun: %d tasks are left.", left)
            return []
        logger.info("%d that failed for a reason that may have passed: once more.", len(again))
        self._tried_again |= {task.task_id for task in again}
        self._waiting.clear()
        return again
