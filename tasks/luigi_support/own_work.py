"""Work for one worker: what the scheduler names, taken from among the tasks that the worker's own command scheduled.

Luigi's own worker imports and runs any task that the scheduler names. Whoever reaches luigid's port could so have his
tasks run by a process that holds signing keys. Here a name that the command did not schedule is refused:

1. What the scheduler names is only ever looked up among the command's tasks; nothing is loaded by name.
2. What is not among them is reported as failed, so that it is not named for ever, and the next work is asked for.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import luigi
from luigi.task_status import FAILED

logger = logging.getLogger("luigi-interface")

_REFUSED = "refused: this worker runs only tasks that its own command scheduled"


class OwnWork:
    """Asks the scheduler for work. `tasks` are those of the command, and may grow; `patience` is in seconds."""

    def __init__(
        self, scheduler: Any, *, worker: str, host: str, tasks: Mapping[str, luigi.Task], patience: float
    ) -> None:
        self._scheduler, self._worker, self._host, self._patience = scheduler, worker, host, patience
        self._tasks = tasks
        self._refused: set[str] = set()
        self._has_told = False

    def ask(self, running: Iterable[str]) -> dict[str, Any]:
        """The scheduler's first answer that names a task of this command, or none. `running` are those at work."""
        while True:
            answer: dict[str, Any] = self._scheduler.get_work(
                worker=self._worker, host=self._host, assistant=False, current_tasks=list(running)
            )
            if not isinstance(answer, dict):
                return {}
            named = answer.get("batch_task_ids") or [answer.get("task_id")]
            foreign = [task_id for task_id in named if task_id is not None and not self._is_own(task_id)]
            if not foreign and not answer.get("batch_id"):  # no task of this job is ever run in a batch with others
                return answer
            self._refuse([str(task_id) for task_id in named])

    def at_work_elsewhere(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """What an answer says of tasks of this command that other workers run."""
        running = answer.get("running_tasks") or []
        return [each for each in running if self._is_own(each.get("task_id")) and "worker" in each]

    def say_once(self, what: str) -> None:
        """Tell that the scheduler asked for what is refused; the first time only."""
        if not self._has_told:
            self._has_told = True
            logger.error("%s; %s. The run goes on. Look who can reach the scheduler.", what, _REFUSED)

    def _is_own(self, task_id: object) -> bool:
        return isinstance(task_id, str) and task_id in self._tasks

    def _refuse(self, task_ids: list[str]) -> None:
        """Step 2. One that is named again in spite of it is answered no faster than a worker asks while it waits."""
        self.say_once(f"the scheduler named the task {task_ids[0][:200]!r}")
        if self._refused.issuperset(task_ids):
            time.sleep(self._patience)
        self._refused.update(task_ids)
        for task_id in task_ids:
            self._scheduler.add_task(
                worker=self._worker, task_id=task_id, status=FAILED, runnable=False, expl=json.dumps(_REFUSED)
            )


def knows_nothing(answer: dict[str, Any]) -> bool:
    """Whether the scheduler knows of no task that this worker has or runs."""
    return not (answer.get("task_id") or answer.get("n_pending_tasks") or answer.get("running_tasks"))
