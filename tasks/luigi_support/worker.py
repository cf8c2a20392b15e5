"""The worker of a command: it runs what the command itself scheduled, and nothing else.

Luigi's own worker imports and runs any task that the scheduler names. Whoever reaches luigid's port could so have his
tasks run by a process that holds signing keys. Here a name that the command did not schedule is refused:

1. The command's task is scheduled with all that it requires; what a running task yields is added to that.
2. The scheduler is asked for work. What it names is only ever looked up among those; nothing is loaded by name.
3. What is not among them is reported as failed, so that it is not named for ever, and the next work is asked for.

Nor does the end of a run depend on what the scheduler remembers. Where it names nothing more:

4. As long as other workers are at tasks of this command, wait for them.
5. What failed for a reason that may pass by itself, a lock or a full disk, is tried once more when what runs has ended;
   until it has come to its end nothing else begins, and nothing more at all if it fails again. Hundreds of chunks would
   wait for the same lock in turn, for hours.
6. If the command's task is not complete, and nothing failed, the scheduler has forgotten it (it was started again) or
   was told a tale: schedule it again. What is done stays done, and what is not is yielded again.
7. At the end, what others have done counts as done.

A signal to end is passed on to the processes of its tasks, which end after their batch; then this process ends as that
signal has it, with no work asked for in between.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from contextlib import suppress
from typing import Any

import luigi
from luigi.event import Event
from luigi.scheduler import WORKER_STATE_ACTIVE, WORKER_STATE_DISABLED
from luigi.task_status import DONE, FAILED, PENDING
from luigi.worker import GetWorkResponse, TaskStatusReporter, Worker

from tasks.core import signals
from tasks.core.errors import ProvenanceError
from tasks.core.terminal import tell
from tasks.luigi_support.failures import MayPass
from tasks.luigi_support.process import OwnTaskProcess

logger = logging.getLogger("luigi-interface")

_MOST_FUTILE = 5  # times that the command's task is scheduled again with nothing done in between
_FIRST = 1_000_000  # a priority above that of any task
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
        self._status: dict[str, str] = {}
        self._may_pass: list[luigi.Task] = []
        self._tried_again: set[str] = set()
        self._gave_up_twice = False
        self._futile, self._done_before = 0, -1
        self._signalled: set[str] = set()
        self._given_up: set[str] = set()

    def __enter__(self) -> OwnWorker:
        self._give_back = signals.listen()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._give_back()

    # -- work ------------------------------------------------------------------------------------------

    def _get_work(self) -> GetWorkResponse:
        """Step 2, in the place of Luigi's, which would load what it does not know."""
        if self._stop_requesting_work or signals.arrived():
            return GetWorkResponse(None, 0, 0, 0, 0, WORKER_STATE_DISABLED)
        if self._holds_back():
            return GetWorkResponse(None, [], 0, 0, 0, WORKER_STATE_ACTIVE)
        answer = self._ask_for_work()
        if self._running_tasks and _knows_nothing(answer) and self._schedule_again():  # step 6, before others are idle
            answer = self._ask_for_work()
        task_id, running = answer.get("task_id"), self._own_that_run(answer)
        known = {"task_id": task_id, "running_tasks": running}
        if [known] != self._get_work_response_history[-1:]:  # a worker that waits for others asks for hours
            self._get_work_response_history.append(known)
        return GetWorkResponse(
            task_id=task_id,
            running_tasks=running,
            n_pending_tasks=answer.get("n_pending_tasks", 0),
            n_unique_pending=answer.get("n_unique_pending", 0),
            n_pending_last_scheduled=answer.get("n_pending_last_scheduled", 0),
            worker_state=answer.get("worker_state", WORKER_STATE_ACTIVE),
        )

    def _holds_back(self) -> bool:
        """Whether something stands in the way of one task that would stand in the way of the next one too (step 5)."""
        return self._gave_up_twice or bool(self._may_pass) or not self._tried_again.isdisjoint(self._running_tasks)

    def _ask_for_work(self) -> dict[str, Any]:
        """The scheduler's first answer that names a task of this command, or none."""
        while True:
            answer: dict[str, Any] = self._scheduler.get_work(
                worker=self._id, host=self.host, assistant=False, current_tasks=list(self._running_tasks)
            )
            if not isinstance(answer, dict):
                return {}
            named = answer.get("batch_task_ids") or [answer.get("task_id")]
            foreign = [task_id for task_id in named if task_id is not None and not self._is_own(task_id)]
            if not foreign and not answer.get("batch_id"):  # no task of this job is ever run in a batch with others
                return answer
            self._refuse_tasks([str(task_id) for task_id in named])

    def _own_that_run(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        running = answer.get("running_tasks") or []
        return [each for each in running if self._is_own(each.get("task_id")) and "worker" in each]

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

    # -- the end ---------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Run what was scheduled, as far as it goes. Luigi's exit code goes by what is recorded here (step 7).

        Raises SystemExit with 128 and the signal's number where a signal ended it before its task was complete.
        """
        succeeded = bool(super().run())  # type: ignore[no-untyped-call]
        self._count_as_done()
        told = signals.arrived()
        if told and self._status.get(str(self._first_task)) != DONE:
            logger.warning("ended by %s. Run the same command again: it goes on where this one stopped.", told.name)
            raise SystemExit(128 + told)
        self._tell_so_far()
        return succeeded

    def _tell_so_far(self) -> None:
        """A command that did not come to its end still says how far it is."""
        task = self._scheduled_tasks.get(str(self._first_task))
        so_far = getattr(task, "so_far", None)
        if task is None or so_far is None or self._status.get(task.task_id) == DONE:
            return
        said = ""
        with suppress(ProvenanceError):  # then the task that failed has said what is wrong
            said = so_far()
        if said:
            tell(said)

    def _count_as_done(self) -> None:
        for task_id in self._of_status(PENDING, FAILED):
            task = self._scheduled_tasks[task_id]
            if task.complete():
                self._add_task_history += [(task, PENDING, True), (task, DONE, True)]
                self._status[task_id] = DONE
        for answer in self._get_work_response_history:  # Luigi's exit code for these is that of a task held elsewhere
            answer["running_tasks"] = [r for r in answer["running_tasks"] if self._status[r["task_id"]] != DONE]

    def _keep_alive(self, get_work_response: GetWorkResponse) -> bool:
        """Steps 4 to 6: whether to ask again, after a short wait."""
        if self._stop_requesting_work or signals.arrived():
            return False
        if get_work_response.running_tasks or self._try_again():
            return True
        if not self._of_status(PENDING) or len(self._of_status(PENDING, DONE)) < len(self._status):
            return False
        return not self._scheduled_tasks[self._first_task].complete() and self._schedule_again()

    def _try_again(self) -> bool:
        """Step 5. The scheduler names these before all others."""
        if self._gave_up_twice or not self._may_pass:
            return False
        again = [task for task in self._may_pass if task.task_id not in self._tried_again]
        self._gave_up_twice = len(again) < len(self._may_pass)
        if self._gave_up_twice:
            left = len(self._of_status(PENDING))
            logger.error("what stood in the way still does, so nothing more is begun: %d tasks are left.", left)
            return False
        logger.info("%d that failed for a reason that may have passed: once more.", len(again))
        self._tried_again |= {task.task_id for task in again}
        self._may_pass.clear()
        for task in again:
            task.priority = _FIRST
            self.add(task)  # type: ignore[no-untyped-call]
        return True

    def _schedule_again(self) -> bool:
        done = len(self._of_status(DONE))
        self._futile = self._futile + 1 if done == self._done_before else 1
        self._done_before = done
        if self._futile > _MOST_FUTILE:
            return False
        self.add(self._scheduled_tasks[self._first_task])  # type: ignore[no-untyped-call]
        return True

    def _of_status(self, *statuses: str) -> list[str]:
        return [task_id for task_id, status in self._status.items() if status in statuses]

    def _add_task(self, *args: Any, **kwargs: Any) -> None:
        super()._add_task(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._status[kwargs["task_id"]] = kwargs["status"]

    def _email_task_failure(self, task: luigi.Task, formatted_traceback: str) -> None:
        """The one place where Luigi hands on what `on_failure` said, as it was said."""
        if isinstance(formatted_traceback, MayPass):
            self._may_pass.append(task)
        super()._email_task_failure(task, formatted_traceback)  # type: ignore[no-untyped-call]

    # -- processes -------------------------------------------------------------------------------------

    def _create_task_process(self, task: luigi.Task) -> OwnTaskProcess:
        return OwnTaskProcess(  # type: ignore[no-untyped-call]
            self._config.task_process_context,
            task,
            self._id,
            self._task_result_queue,
            TaskStatusReporter(self._scheduler, task.task_id, self._id, None),  # type: ignore[no-untyped-call]
            use_multiprocessing=self._config.force_multiprocessing or self.worker_processes > 1,
            worker_timeout=self._config.timeout,
            check_unfulfilled_deps=self._config.check_unfulfilled_deps,
            check_complete_on_run=self._config.check_complete_on_run,
            task_completion_cache=self._task_completion_cache,
        )

    def _purge_children(self) -> None:
        """Called over and over while processes run. A signal to end is passed on, and the dead are named."""
        for task_id, process in self._running_tasks.items():
            if signals.arrived() and process.is_alive() and task_id not in self._signalled:
                self._signalled.add(task_id)
                os.kill(process.pid, signal.SIGTERM)
            elif not process.is_alive() and process.exitcode:
                self._give_up(task_id, process.how_it_died(), Event.PROCESS_FAILURE)
            elif process.timeout_time is not None and time.time() > process.timeout_time and process.is_alive():
                process.terminate()
                self._give_up(task_id, f"{task_id} took longer than {process.worker_timeout} s.", Event.TIMEOUT)

    def _give_up(self, task_id: str, said: str, event: str) -> None:
        if task_id not in self._given_up:
            self._given_up.add(task_id)
            logger.error("%s", said)
            task = self._scheduled_tasks[task_id]
            task.trigger_event(event, task, said)
            self._task_result_queue.put((task_id, FAILED, said, [], []))

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


def _knows_nothing(answer: dict[str, Any]) -> bool:
    """Whether the scheduler knows of no task that this worker has or runs."""
    return not (answer.get("task_id") or answer.get("n_pending_tasks") or answer.get("running_tasks"))
