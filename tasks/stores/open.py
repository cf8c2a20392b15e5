"""From what a job file calls its database to a store: the one place that names a concrete one."""

from __future__ import annotations

from collections.abc import Callable

from tasks.core.errors import JobFileError
from tasks.job.settings import Settings
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


def _not_known(settings: Settings) -> JobFileError:
    return JobFileError(
        f'{settings.where("database")}: database has the scheme "{settings.place.scheme}", expected a path or '
        f"sqlite:///path. Nothing was written."
    )
