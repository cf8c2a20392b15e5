"""What the `luigi` command makes of the tasks of this package: with whose worker, and by which link to luigid."""

from __future__ import annotations

from typing import Any

from luigi import interface

from tasks.luigi_support.configuration import complete_configuration
from tasks.luigi_support.scheduler_link import SchedulerLink
from tasks.luigi_support.worker import OwnWorker


class _Factory(interface._WorkerSchedulerFactory):
    """In the place of Luigi's own, in any process that has imported the tasks: it holds, or may hold, their keys."""

    def create_remote_scheduler(self, url: str) -> SchedulerLink:
        link = SchedulerLink(url)
        link.greet()
        return link

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> OwnWorker:
        return OwnWorker(scheduler=scheduler, worker_processes=worker_processes, assistant=assistant)


def install() -> None:
    """Let every command of this process use the worker above. Done once more, it changes nothing."""
    complete_configuration()
    interface._WorkerSchedulerFactory = _Factory  # type: ignore[misc]
