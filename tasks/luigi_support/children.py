"""The processes of a worker's tasks: told to end when the worker is, and named when they die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping

from luigi.event import Event

from tasks.core import signals
from tasks.luigi_support.process import OwnTaskProcess


class Children:
    """Looks after the processes of one worker, over and over while they run."""

    def __init__(self) -> None:
        self._signalled: set[str] = set()
        self._given_up: set[str] = set()

    def look_after(self, running: Mapping[str, OwnTaskProcess]) -> Iterator[tuple[str, str, str]]:
        """Pass a signal to end on. Gives (task id, what to say, Luigi's event) of each that ended without a result."""
        for task_id, process in running.items():
            if signals.arrived() and process.pid and process.is_alive() and task_id not in self._signalled:
                self._signalled.add(task_id)
                os.kill(process.pid, signal.SIGTERM)
            elif not process.is_alive() and process.exitcode:
                yield from self._once(task_id, process.how_it_died(), Event.PROCESS_FAILURE)
            elif process.timeout_time is not None and time.time() > process.timeout_time and process.is_alive():
                process.terminate()  # type: ignore[no-untyped-call]
                said = f"{task_id} took longer than {process.worker_timeout} s."
                yield from self._once(task_id, said, Event.TIMEOUT)

    def _once(self, task_id: str, said: str, event: str) -> Iterator[tuple[str, str, str]]:
        if task_id not in self._given_up:
            self._given_up.add(task_id)
            yield task_id, said, event
