"""Provenance for an API: what is known of facts, and attached to an answer.

    from tasks.explain import attach

    return attach({"results": [{"fact_id": "17", "value": 42}]})

Both functions only read: the database is opened so that nothing can be written. They ask it once, however many facts
there are. If it is missing, or its tables are, nothing is known, and that is no error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.engine.errors import DriftError
from tasks.engine.explaining import envelope, ids_in_order, lookup_facts
from tasks.engine.settings import Settings, load_settings
from tasks.stores.sqlite_attestations import open_attestations

__all__ = ["attach", "lookup"]

_JOB = Path("config/backfill.yaml")


def lookup(
    fact_ids: Iterable[str], *, database: str | Path | None = None, job: str | Path = _JOB
) -> list[dict[str, Any]]:
    """What is known of these facts: those that are known, in the order asked for, without duplicates.

    `database` goes before the one that the job file names; without a job file, the canonical names are taken. Gives
    an empty list if the database, the metadata or the log is missing. Never writes. Raises JobFileError if the job
    file is there but wrong, DatabaseError if the database is there but cannot be read.
    """
    wanted = ids_in_order(fact_ids)
    settings = _settings(database, Path(job))
    if not wanted or settings is None or not settings.database_path.is_file():
        return []
    try:
        with open_attestations(settings) as reader:
            return lookup_facts(reader, wanted)
    except DriftError:
        return []


def attach(
    payload: Mapping[str, Any],
    fact_ids: Iterable[str] | None = None,
    *,
    database: str | Path | None = None,
    job: str | Path = _JOB,
) -> dict[str, Any]:
    """A new dict: the payload, and under `provenance` the JSON-LD of what `lookup` finds.

    Without `fact_ids`, they are taken from `fact_id`, `fact_ids` and `results[*].fact_id`. If nothing is known of any
    of them the payload comes back as it was, without the new member. The argument itself is never changed.
    """
    wanted = _ids_of(payload) if fact_ids is None else fact_ids
    facts = lookup(wanted, database=database, job=job)
    return {**payload, "provenance": envelope(facts)} if facts else dict(payload)


def _ids_of(payload: Mapping[str, Any]) -> Iterator[Any]:
    yield payload.get("fact_id")
    fact_ids = payload.get("fact_ids")
    if isinstance(fact_ids, (list, tuple)):
        yield from fact_ids
    results = payload.get("results")
    if isinstance(results, (list, tuple)):
        yield from (result.get("fact_id") for result in results if isinstance(result, Mapping))


def _settings(database: str | Path | None, job: Path) -> Settings | None:
    """The job file with another database, if one is given; None if there is neither."""
    if job.is_file():
        settings = load_settings(job)
        return settings if database is None else settings.model_copy(update={"database": str(database)})
    return None if database is None else Settings(database=str(database), state_dir="var/runs")
