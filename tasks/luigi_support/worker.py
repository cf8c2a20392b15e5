"""The worker of a command: it runs what the command itself scheduled, and nothing else.

The command's task is scheduled with all that it requires; what a running task yields is added to that. Which of them is
next the scheduler says (own_work.py). But the end of a run does not depend on what it remembers. Where it names nothing
more:

1. As long as other workers are at tasks of this command, wait for them.
2. What failed for a reason that may pass by itself is tried once more (second_tries.py).
3. If the command's task is not complete, and nothing failed, the scheduler has forgotten it (it was started again) or
   was told a tale: schedule it again. What is done stays done, and what is not is yielded again.
4. At the end, what others have done counts as done.

A signal to end is passed on to the processes of its tasks (children.py), which end after their batch; then this process
ends as that signal has it, with no work asked for in between.
"""

from __future__ import annotations

import logging
from typing import Any

import luigi
from luigi.scheduler import WORKER_STATE_ACTIVE, WORKER_STATE_DISABLED
from luigi.task_status import DONE, FAILED, PENDING
from luigi.worker import GetWorkResponse, TaskStatusReporter, Worker

from tasks.core import signals
from tasks.luigi_support.children import Children
from tasks.luigi_support.failures import tell_so_far
from tasks.luigi_support.own_work import OwnWork, knows_nothing
from tasks.luigi_support.process import OwnTaskProcess
from tasks.luigi_support.second_tries import SecondTries

logger = logging.getLogger("luigi-interface")

_MOST_FUTILE = 5  # times that the command's task is scheduled again with nothing done in between
_FIRST = 1_000_000  # a priority above that of any task


class OwnWorker(Worker):
    """Runs only tasks that it scheduled itself, whatever the scheduler answers or sends."""

    def __init__(self, *, scheduler: Any, worker_processes: int, assistant: bool) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            scheduler=scheduler, worker_processes=worker_processes, assistant=False
        )
        if assistant:
            logger.warning("--assistant has no effect: a worker of this job runs only what its own command scheduled.")
        self._work = OwnWork(
            scheduler, worker=self._id, host=self.host, tasks=self._scheduled_tasks,
            patience=self._config.wait_interval,
        )  # fmt: skip
        self._second_tries, self._children = SecondTries(), Children()
        self._most_processes = self.worker_processes
        self._status: dict[str, str] = {}
        self._futile, self._done_before = 0, -1

    def __enter__(self) -> OwnWorker:
        self._give_back = signals.listen()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._give_back()

    # -- work ------------------------------------------------------------------------------------------

    def _get_work(self) -> GetWorkResponse:
        """In the place of Luigi's, which would load what it does not know."""
        if self._stop_requesting_work or signals.arrived():
            return GetWorkResponse(None, 0, 0, 0, 0, WORKER_STATE_DISABLED)
        if self._second_tries.hold_back(self._running_tasks.keys()):
            return GetWorkResponse(None, [], 0, 0, 0, WORKER_STATE_ACTIVE)
        answer = self._work.ask(self._running_tasks)
        if self._running_tasks and knows_nothing(answer) and self._schedule_again():  # step 3, before others are idle
            answer = self._work.ask(self._running_tasks)
        task_id, running = answer.get("task_id"), self._work.at_work_elsewhere(answer)
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

    # -- the end ---------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Run what was scheduled, as far as it goes. Luigi's exit code goes by what is recorded here (step 4).

        Raises SystemExit with 128 and the signal's number where a signal ended it before its task was complete.
        """
        succeeded = bool(super().run())  # type: ignore[no-untyped-call]
        self._count_as_done()
        is_done = self._status.get(str(self._first_task)) == DONE
        told = signals.arrived()
        if told and not is_done:
            logger.warning("ended by %s. Run the same command again: it goes on where this one stopped.", told.name)
            raise SystemExit(128 + told)
        if not is_done:
            tell_so_far(self._scheduled_tasks.get(str(self._first_task)))
        return succeeded

    def _count_as_done(self) -> None:
        for task_id in self._of_status(PENDING, FAILED):
            task = self._scheduled_tasks[task_id]
            if task.complete():
                self._add_task_history += [(task, PENDING, True), (task, DONE, True)]
                self._status[task_id] = DONE
        for answer in self._get_work_response_history:  # Luigi's exit code for these is that of a task held elsewhere
            answer["running_tasks"] = [r for r in answer["running_tasks"] if self._status[r["task_id"]] != DONE]

    def _keep_alive(self, get_work_response: GetWorkResponse) -> bool:
        """Steps 1 to 3: whether to ask again, after a short wait."""
        if self._stop_requesting_work or signals.arrived():
            return False
        if get_work_response.running_tasks or self._try_again():
            return True
        if not self._of_status(PENDING) or len(self._of_status(PENDING, DONE)) < len(self._status):
            return False
        return not self._scheduled_tasks[self._first_task].complete() and self._schedule_again()

    def _try_again(self) -> bool:
        """Step 2. The scheduler names these before all others."""
        due = self._second_tries.due(left=len(self._of_status(PENDING)))
        for task in due:
            task.priority = _FIRST
            self.add(task)  # type: ignore[no-untyped-call]
        return bool(due)

    def _schedule_again(self) -> bool:
        """Step 3, unless that changed nothing several times in turn."""
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
        self._second_tries.note(task, formatted_traceback)
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
        """Called over and over while processes run."""
        for task_id, said, event in self._children.look_after(self._running_tasks):
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
        self._work.say_once(f"the scheduler sent the message {str(message)[:200]!r}")
