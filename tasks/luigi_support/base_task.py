"""What all tasks of a run share: their parameters, their settings and paths, and how they fail.

Settings, paths and plans are read when they are asked for and never kept: workers fork.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import luigi

from tasks.backfill.evidence import reason_to_reattest
from tasks.core.errors import NOTHING_WRITTEN, JobFileError, ParameterError, ProvenanceError, StateError
from tasks.job.default_job import DEFAULT_JOB
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings, load_settings
from tasks.job.store_name import store_name
from tasks.luigi_support.failures import words_of
from tasks.luigi_support.parameters import Flag, OptionalText, OptionalWholeNumber, Text, refuse_empty_values
from tasks.luigi_support.setup import install
from tasks.stores.open import open_store

install()  # a process that knows a task of ours may hold its keys


class JobTask(luigi.Task):
    """A task that goes by a job file. No parameter ever holds a secret or a database URL."""

    job: luigi.Parameter[str] = Text(default=DEFAULT_JOB, description="path of the job file")

    store: luigi.Parameter[str] = Text(
        default="", positional=False, description="which database and state folder; found by itself, never to be typed"
    )

    @classmethod
    def get_param_values(cls, params: Any, args: Any, kwargs: Any) -> list[tuple[str, Any]]:
        """Luigi's values, and in `store` the name of what the job file says here and now.

        It is empty where the job file cannot be used: the task then fails with the message. Raises ParameterError for
        another name than that, and for a value that cannot be read.
        """
        refuse_empty_values()
        try:
            values = super().get_param_values(params, args, kwargs)  # type: ignore[no-untyped-call]
        except ValueError as error:  # Luigi's wrapping of whatever a parameter says to a value that was given
            raise error.__cause__ if isinstance(error.__cause__, ParameterError) else error from None
        given = dict(values)
        found = _store_of(given["job"])
        if given["store"] and found and given["store"] != found:
            raise ParameterError(
                f"expected {found}, found {str(given['store'])[:100]!r}",
                where="--store",
                hint="It follows from the job file and the environment: leave it out",
                written=NOTHING_WRITTEN,
            )
        return [(name, found if name == "store" else value) for name, value in values]

    def settings(self) -> Settings:
        """What the job file says. Raises JobFileError, or StateError if that is another store than when this began."""
        settings = _settings_of(self.job)
        found = store_name(settings)
        if self.store and found != self.store:
            raise StateError(
                f"names the store {found}, and named {self.store} when this command began",
                where=self.job,
                hint="Put it back, or run the command again",
                written="What was committed before stays",
            )
        return settings

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

    def so_far(self) -> str:
        """How far a run is that this task was to end, in a few lines; empty where there is nothing to say."""
        return ""

    def on_failure(self, exception: BaseException) -> str:
        """What the scheduler's page shows."""
        return words_of(exception)


def _store_of(job: str) -> str:
    """The name of a job file's store, or nothing where it cannot be told."""
    try:
        return store_name(_settings_of(job))
    except ProvenanceError:
        return ""


def _settings_of(job: str) -> Settings:
    path = Path(job)
    status = path.stat() if path.exists() else None
    version = (status.st_ino, status.st_mtime_ns, status.st_size) if status else None
    return _load(path, version, hash(frozenset(os.environ.items())))


@lru_cache(maxsize=4)
def _load(path: Path, file_version: tuple[int, int, int] | None, environment: int) -> Settings:
    """Hundreds of tasks ask for the same job file; the versions tell one state of it from the next.

    What it takes to open its store is imported here, once: the process of a task is forked from this one.
    """
    settings = load_settings(path)
    with suppress(JobFileError):  # of a store that is not known: said by the task that opens it
        open_store(settings)
    return settings


def run_id_parameter() -> luigi.Parameter[str]:
    today = datetime.now(timezone.utc).date().isoformat()
    return Text(default=today, description="names the run; default: today, UTC")


class RunTask(JobTask):
    """A task of one run."""

    run_id: luigi.Parameter[str] = run_id_parameter()
    dry_run: luigi.Parameter[bool] = Flag(description="rehearse; write nothing to the database")
    max_rows: luigi.Parameter[int | None] = OptionalWholeNumber(  # type: ignore[assignment]
        default=None, description="take only the first N residual facts"
    )

    def paths(self, settings: Settings) -> RunPaths:
        return RunPaths(Path(settings.state_dir), self.run_id, self.dry_run)


class PlannedTask(RunTask):
    """A task of what a plan covers, which depends on how it may treat what is not as it was logged."""

    reattest: luigi.Parameter[bool] = Flag(description="write over facts that are not as logged; needs --because")
    because: luigi.Parameter[str | None] = OptionalText(
        default=None, description="why --reattest: kept in the log for ever"
    )

    def reason(self) -> str | None:
        """Raises ParameterError."""
        return reason_to_reattest(self.reattest, self.because)


def file_target(path: Path) -> luigi.LocalTarget:
    return luigi.LocalTarget(str(path))  # type: ignore[no-untyped-call]
