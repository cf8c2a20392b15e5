"""Provenance for an API: what is known of facts, and attached to an answer.

    from tasks.explain import attach

    return attach({"results": [{"fact_id": "17", "value": 42}]}, connection=connection)

`connection` is the application's own connection to the database, a `sqlite3.Connection` or an `apsw.Connection`: one
query runs on it, and nothing else is done to it. Always hand it over where the process has the database open: a second
SQLite library in one process takes away the locks of the first, and with them what it is about to commit.
Source: https://sqlite.org/howtocorrupt.html, 2.2 and 2.2.1.

Without it, a process of its own is started for the question, which takes some tenths of a second; this process opens no
file of the database. If the database is missing, nothing is known, and that is no error. If it is not what the job file
says, nothing is known either, and the log says once what is missing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core.errors import DriftError
from tasks.core.fact_keys import ids_in_order
from tasks.core.terminal import printable
from tasks.job.default_job import DATABASE_VARIABLE, DEFAULT_JOB
from tasks.job.settings import Settings, load_settings
from tasks.rows.explain import envelope, envelope_fact
from tasks.rows.lookup_process import look_up_apart
from tasks.stores.open import open_store

__all__ = ["attach", "lookup"]

logger = logging.getLogger(__name__)

_JOB = Path(DEFAULT_JOB)
_told: set[str] = set()


def lookup(
    fact_ids: Iterable[str],
    *,
    connection: Any = None,
    database: str | Path | None = None,
    job: str | Path = _JOB,
) -> list[dict[str, Any]]:
    """What is known of these facts: those that are known, in the order asked for, without duplicates.

    Asks `connection`, within whatever transaction is open on it; it is never closed, committed or set to anything, and
    what its own library raises (a lock, a wrong thread) is raised as it is. The job file gives the names of tables and
    columns; where there is none, they are the canonical ones.

    Without `connection`, a process of its own reads `database`, or the one that the job file names, and raises
    DatabaseError where it is there but cannot be read. Gives an empty list if the database is missing, and, with a
    warning in the log, if its tables are not what the job file says. Never writes. Raises JobFileError if the job file
    is there but wrong.
    """
    wanted = ids_in_order(fact_ids)
    settings = _settings(database, Path(job), connection)
    if not wanted or settings is None:
        return []
    try:
        if connection is None:
            return look_up_apart(settings, wanted) if open_store(settings).exists() else []
        return _known(open_store(settings).look_up(connection, wanted), wanted)
    except DriftError as error:
        _tell_once(str(error) + _before_commands(settings, database))
        return []


def attach(
    payload: Mapping[str, Any],
    fact_ids: Iterable[str] | None = None,
    *,
    connection: Any = None,
    database: str | Path | None = None,
    job: str | Path = _JOB,
) -> dict[str, Any]:
    """A new dict: the payload, and under `provenance` the JSON-LD of what `lookup` finds.

    Without `fact_ids`, they are taken from `fact_id`, `fact_ids` and `results[*].fact_id`. If nothing is known of any
    of them the payload comes back as it was, without the new member. The argument itself is never changed.
    """
    wanted = _ids_of(payload) if fact_ids is None else fact_ids
    facts = lookup(wanted, connection=connection, database=database, job=job)
    return {**payload, "provenance": envelope(facts)} if facts else dict(payload)


def _known(found: Mapping[str, Any], fact_ids: Sequence[str]) -> list[dict[str, Any]]:
    return [envelope_fact(found[fact_id]) for fact_id in fact_ids if fact_id in found]


def _elsewhere(job: Path, settings: Settings, database: str) -> Settings:
    """The job with another database: set as its variable where it takes one, so that commands can be printed for it."""
    named = load_settings(job, {**os.environ, DATABASE_VARIABLE: database})
    return named if named.database == database else settings.model_copy(update={"database": database})


def _before_commands(settings: Settings, database: str | Path | None) -> str:
    """What has to be done before a printed command is about the database that was handed over."""
    if database is None or not settings.job_file or settings.variables.get(DATABASE_VARIABLE) == str(database):
        return ""
    return f" But first let the key database of {settings.job_file} name {settings.database}: it names another."


def _tell_once(why: str) -> None:
    if why not in _told:
        _told.add(why)
        logger.warning("no provenance is attached: %s", printable(why))


def _ids_of(payload: Mapping[str, Any]) -> Iterator[Any]:
    yield payload.get("fact_id")
    fact_ids = payload.get("fact_ids")
    if isinstance(fact_ids, (list, tuple)):
        yield from fact_ids
    results = payload.get("results")
    if isinstance(results, (list, tuple)):
        yield from (result.get("fact_id") for result in results if isinstance(result, Mapping))


def _settings(database: str | Path | None, job: Path, connection: Any) -> Settings | None:
    """The job file with another database, if one is given; None if there is nothing to read from."""
    if job.is_file():
        settings = load_settings(job)
        return settings if database is None else _elsewhere(job, settings, str(database))
    if database is None and connection is None:
        return None
    return Settings(database=str(database or "the application's"), state_dir="var/runs")
