"""From what a job file calls its database to a store: the one place that names a concrete one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tasks.core.errors import NOTHING_WRITTEN, JobFileError
from tasks.job.settings import Settings
from tasks.stores.protocols.new_store import NewStore
from tasks.stores.protocols.store import Store


def _sqlite(settings: Settings) -> Store:
    if not settings.place.is_file:
        raise _not_known(settings)
    from tasks.stores.sqlite.store import SqliteStore

    return SqliteStore(settings)


KINDS: dict[str, Callable[[Settings], Store]] = {"sqlite": _sqlite}
"""Scheme of a URL -> what makes a store of a job file. A kind, with its library, is imported when it is first used."""


def open_store(settings: Settings) -> Store:
    """The store that the job file names, closed: nothing is touched, nor looked for, before it is asked for something.

    Settings cross to another process, a store does not: open it there again. Raises JobFileError for a kind of database
    that is not known, without the URL, which may hold a password.
    """
    kind = KINDS.get(settings.place.scheme)
    if kind is None:
        raise _not_known(settings)
    return kind(settings)


def file_of(settings: Settings) -> Path:
    """Where the file of the job's store is, or is to be made. Raises JobFileError for a store of which none can be."""
    if not settings.place.is_file:
        raise _not_known(settings)
    return settings.place.path


def create_store(path: Path) -> AbstractContextManager[NewStore]:
    """A new SQLite file with the canonical tables, to be filled in the block; it is at `path` once the block ends well.

    Raises SampleError if anything is there already, which is never overwritten, or if it cannot be made.
    """
    from tasks.stores.sqlite.new_file import new_file

    return new_file(path)


def _not_known(settings: Settings) -> JobFileError:
    return JobFileError(
        f'database has the scheme "{settings.place.scheme}"',
        where=settings.where("database"),
        seen="expected a path or sqlite:///path",
        written=NOTHING_WRITTEN,
    )
