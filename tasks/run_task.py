"""What all tasks of a run share: their parameters, their settings and paths, and how they fail.

Settings, paths and plans are read when they are asked for and never kept: workers fork.
"""

from __future__ import annotations

import os
import traceback
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

import luigi

from tasks.engine.errors import DiskFullError, LockedError, ProvenanceError
from tasks.engine.paths import RunPaths
from tasks.engine.settings import Settings, load_settings
from tasks.parameters import Flag, OptionalWholeNumber

DEFAULT_JOB = "config/backfill.yaml"


class MayPass(str):
    """What `on_failure` says where the reason may pass by itself: the task is worth another try."""


class JobTask(luigi.Task):
    """A task that goes by a job file. No parameter ever holds a secret or a database URL."""

    job: luigi.Parameter[str] = luigi.Parameter(default=DEFAULT_JOB, description="path of the job file")

    def settings(self) -> Settings:
        path = Path(self.job)
        status = path.stat() if path.exists() else None
        version = (status.st_ino, status.st_mtime_ns, status.st_size) if status else None
        return _load(path, version, hash(frozenset(os.environ.items())))

    def is_done(self) -> bool:
        """Whether there is nothing left to do. May raise a ProvenanceError."""
        return super().complete()  # type: ignore[no-any-return,no-untyped-call]

    def complete(self) -> bool:
        """Like `is_done`, but False where the question itself fails: `run` then fails with the message.

        Luigi prints a stack trace for whatever a `complete` raises, which would drown the message.
        """
        try:
            return self.is_done()
        except ProvenanceError:
            return False

    def on_failure(self, exception: BaseException) -> str:
        """What the scheduler's page shows: the message of an error that a user can mend, else a traceback."""
        if isinstance(exception, (LockedError, DiskFullError)):
            return MayPass(exception)
        if isinstance(exception, ProvenanceError):
            return str(exception)
        return "".join(traceback.format_exception(exception))


@lru_cache(maxsize=4)
def _load(path: Path, file_version: tuple[int, int, int] | None, environment: int) -> Settings:
    """Hundreds of tasks ask for the same job file; the versions tell one state of it from the next."""
    return load_settings(path)


def run_id_parameter() -> luigi.Parameter[str]:
    today = datetime.now(timezone.utc).date().isoformat()
    return luigi.Parameter(default=today, description="names the run; default: today, UTC")


class RunTask(JobTask):
    """A task of one run."""

    run_id: luigi.Parameter[str] = run_id_parameter()
    dry_run: luigi.Parameter[bool] = Flag(description="rehearse; write nothing to the database")
    max_rows: luigi.Parameter[int | None] = OptionalWholeNumber(  # type: ignore[assignment]
        default=None, description="take only the first N residual facts"
    )

    def paths(self, settings: Settings) -> RunPaths:
        return RunPaths(Path(settings.state_dir), self.run_id, self.dry_run)


def file_target(path: Path) -> luigi.LocalTarget:
    return luigi.LocalTarget(str(path))  # type: ignore[no-untyped-call]
