"""The worker of a command: it runs what the command itself scheduled, and nothing else.

Luigi's own worker imports and runs any task that the scheduler names. Whoever reaches luigid's port could so have his
tasks run by a process that holds signing keys. Here a name that the command did not schedule is refused:

1. The command's task is scheduled with all that it requires; what a running task yields is added to that.
2. The scheduler is asked for work. What it names is only ever looked up among those; nothing is loaded by name.
3. What is not among them is reported as failed, so that it is not named for ever, and the next work is asked for.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from luigi.scheduler import WORKER_STATE_ACTIVE, WORKER_STATE_DISABLED
from luigi.task_status import FAILED
from luigi.worker import GetWorkResponse, Worker

logger = logging.getLogger("luigi-interface")

_REFUSED = "refused: this worker runs only tasks that its own command scheduled"


class OwnWorker(Worker):
    """Runs only tasks that it scheduled itself, whatever the scheduler answers or sends."""

    def __init__(self, *, scheduler: Any, worker_processes: int, assistant: bool) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            scheduler=scheduler, worker_processes=worker_processes, assistant=False
        )
        if assistant:
            logger.warning("--assistant has no effect: a worker of this job runs only what its own command scheduled.")
        self._most_processes = self.worker_processes
        self._refused: set[str] = set()
        self._has_told = False

    # -- work ------------------------------------------------------------------------------------------

    def _get_work(self) -> GetWorkResponse:
        """Step 2, in the place of Luigi's, which would load what it does not know."""
        if self._stop_requesting_work:
            return GetWorkResponse(None, 0, 0, 0, 0, WORKER_STATE_DISABLED)
        answer = self._ask_for_work()
        task_id, running = answer.get("task_id"), answer.get("running_tasks") or []
        self._get_work_response_history.append({"task_id": task_id, "running_tasks": running})
        return GetWorkResponse(
            task_id=task_id,
            running_tasks=running,
            n_pending_tasks=answer.get("n_pending_tasks", 0),
            n_unique_pending=answer.get("n_unique_pending", 0),
            n_pending_last_scheduled=answer.get("n_pending_last_scheduled", 0),
            worker_state=answer.get("worker_state", WORKER_STATE_ACTIVE),
        )

    def _ask_for_work(self) -> dict[str, Any]:
        """The scheduler's first answer that names a task of this command, or none."""
        while True:
            answer: dict[str, Any] = self._scheduler.get_work(
                worker=self._id, host=self.host, assistant=False, current_tasks=list(self._running_tasks)
            )
            named = answer.get("batch_task_ids") or [answer.get("task_id")]
            foreign = [task_id for task_id in named if task_id is not None and not self._is_own(task_id)]
            if not foreign and not answer.get("batch_id"):  # no task of this job is ever run in a batch with others
                return answer
            self._refuse_tasks([str(task_id) for task_id in named])

    def _is_own(self, task_id: object) -> bool:
        return isinstance(task_id, str) and task_id in self._scheduled_tasks

    def _refuse_tasks(self, task_ids: list[str]) -> None:
        """Step 3. One that is named again in spite of it is answered no faster than a worker asks while it waits."""
        self._say_once(f"the scheduler named the task {task_ids[0][:200]!r}")
        if self._refused.issuperset(task_ids):
            time.sleep(self._config.wait_interval)
        self._refused.update(task_ids)
        for task_id in task_ids:
            self._scheduler.add_task(
                worker=self._id, task_id=task_id, status=FAILED, runnable=False, expl=json.dumps(_REFUSED)
            )

    def _say_once(self, what: str) -> None:
        if not self._has_told:
            self._has_told = True
            logger.error("%s; %s. The run goes on. Look who can reach the scheduler.", what, _REFUSED)

    # -- messages --------------------------------------------------------------------------------------

    def _handle_rpc_message(self, message: Any) -> None:
        """Of all that a scheduler may ask of a worker: fewer processes, or as many again as the command said.

        Never raises: it is called in the thread that keeps the worker known to the scheduler.
        """
        for processes in range(1, self._most_processes + 1):
            if message == {"name": "set_worker_processes", "kwargs": {"n": processes}}:
                self.set_worker_processes(processes)
                return
        self._say_once(f"the scheduler sent the message {str(message)[:200]!r}")
