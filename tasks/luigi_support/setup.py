"""What the `luigi` command makes of the tasks of this package: with whose worker, and by which link to luigid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from luigi import configuration, interface

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


def _find_logging_configuration() -> None:
    """Look for a relative `logging_conf_file` beside the luigi.cfg that LUIGI_CONFIG_PATH names, if it is not here."""
    config = configuration.get_config()  # type: ignore[no-untyped-call]
    given, named = config.get("core", "logging_conf_file", None), os.environ.get("LUIGI_CONFIG_PATH")
    if given and named and not Path(given).exists():
        beside = Path(named).absolute().parent / given
        if beside.is_file():
            config.set("core", "logging_conf_file", str(beside))


def install() -> None:
    """Let every command of this process use the worker above. Done once more, it changes nothing."""
    _find_logging_configuration()
    interface._WorkerSchedulerFactory = _Factory  # type: ignore[misc]
