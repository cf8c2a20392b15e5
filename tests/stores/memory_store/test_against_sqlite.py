"""The same facts on SQLite and in memory come to the same report, rows, log and sealed root."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.memory_facts import ATTESTED_BEFORE, ODD, SOURCES, audited, checkpoint, sign_pending, sound
from support.memory_store.state import Database, LogEntry, MetadataRow, StoredFact

from tasks.core import clock
from tasks.core.values import NotUtf8


def on_sqlite(store: Any, facts: Iterable[StoredFact], before: dict[str, str | None]) -> Any:
    """The same facts in a SQLite store whose keys may be anything."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id UNIQUE"))
    for source_id, url in SOURCES.items():
        made.add_source(source_id, url)
    for fact in facts:
        urls = {"source_url": fact.own_url, "source_id": fact.source_id}
        made.add_fact(fact.key, **urls, created_at=fact.created_at, confidence=fact.confidence)
        if isinstance(fact.own_url, NotUtf8):
            made.execute("UPDATE am_entity_facts SET source_url = CAST(source_url AS TEXT) WHERE id = ?", fact.key)
    for fact_id, source in before.items():
        made.add_metadata(fact_id, source)
    return made


def rows_of(made: Any) -> dict[str, tuple[Any, ...]]:
    """What is attested on SQLite, by fact id, but for when it was last updated."""
    written = made.execute(f"SELECT {', '.join(MetadataRow._fields[:-1])} FROM am_fact_metadata")
    return {row[0]: row for row in written}


def rows_in(database: Database) -> dict[str, tuple[Any, ...]]:
    """The same in memory."""
    return {fact_id: row[:-1] for fact_id, row in database.state.metadata.items()}


def log_of(made: Any) -> list[tuple[Any, ...]]:
    """The attestation log on SQLite."""
    return list(made.execute(f"SELECT {', '.join(LogEntry._fields)} FROM am_fact_attestation_log"))


def log_in(database: Database) -> list[tuple[Any, ...]]:
    """The same in memory."""
    return [tuple(entry) for entry in database.state.log.values()]


def moved(database: Database, made: Any) -> None:
    """Edit the source of fact 4 in both."""
    database.state.facts[3] = database.state.facts[3]._replace(own_url="https://moved.test")
    made.execute("UPDATE am_entity_facts SET source_url = 'https://moved.test' WHERE id = 4")


def compared(report: dict[str, Any], compare: str) -> dict[str, Any]:
    """A report without what names its store or says how long something took; where facts may be counted unread, without
    what is seen of single ones.
    """
    left_out = {"database", "plan_id", "schema_fingerprint", "rows_per_second", "planning_seconds", "absences"}
    left_out |= set() if compare == "content" else {"sample"}
    kept = {name: value for name, value in report.items() if name not in left_out}
    root = kept["sealed"]["root"] if compare == "content" else ""
    kept["sealed"] = {**kept["sealed"], "root": root, "checkpoint_file": "", "seconds": 0}
    kept["chunks"] = [{**chunk, "seconds": 0} for chunk in kept["chunks"]]
    return json.loads(json.dumps(kept).replace(report["database"], ""))


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch, created_at: str) -> None:
    """Every clock of the job stands still, a minute after the plans were made."""
    moment = datetime.fromisoformat(f"{created_at[:-1]}+00:00") + timedelta(minutes=1)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment

    monkeypatch.setattr(clock, "datetime", Stopped)


@pytest.mark.parametrize("compare", ["counts", "content"])
def test_a_run_comes_to_the_same_as_on_sqlite(
    compare: str, memory: Any, job: Any, run: Any, store: Any, signed: bool, stopped: None
) -> None:
    facts = [*sound(30), *ODD]
    database, made = memory(facts, ATTESTED_BEFORE), on_sqlite(store, facts, ATTESTED_BEFORE)
    rehearsal = {"compare": compare}
    here, there = job(rehearsal=rehearsal), job(str(made.path), "sqlite", rehearsal=rehearsal)
    for mode in (True, False):
        assert compared(run(here, dry_run=mode), compare) == compared(run(there, dry_run=mode), compare)
    assert rows_of(made) == rows_in(database)
    if signed or compare == "content":
        assert log_of(made) == log_in(database)
        assert checkpoint(here) == checkpoint(there)
    else:  # facts that are not read are logged in another order
        assert sorted(row[1:] for row in log_of(made)) == sorted(row[1:] for row in log_in(database))
    moved(database, made)
    later = compared(run(here, "run-2"), compare)
    assert later == compared(run(there, "run-2"), compare)
    assert [fact["fact_id"] for fact in later["stale"]["sample"]] == ["4"]


def test_facts_that_change_and_a_key_that_comes_later_come_to_the_same_as_on_sqlite(
    memory: Any, job: Any, run: Any, store: Any, seals: None, stopped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, made = memory(sound(12)), on_sqlite(store, sound(12), {})
    follows = {"derivation": {"on_change": "reattest"}, "rehearsal": {"compare": "content"}}
    jobs = [job(**follows), job(str(made.path), "sqlite", **follows)]
    for settings in jobs:
        run(settings)
    moved(database, made)
    del database.state.metadata["7"]
    made.execute("DELETE FROM am_fact_metadata WHERE fact_id = '7'")
    here, there = (compared(run(settings, "run-2"), "content") for settings in jobs)
    assert here == there
    assert (here["rows"]["updated"], here["rejects"]) == (1, {"not_as_logged": 1})
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    assert sign_pending(jobs[0]) == sign_pending(jobs[1]) == {"pending": 11, "signed": 11, "refused": 0}
    assert rows_of(made) == rows_in(database)
    assert log_of(made) == log_in(database)
    assert checkpoint(jobs[0]) == checkpoint(jobs[1])
    found = [audited(settings) for settings in jobs]
    assert found[0].findings == found[1].findings != []
    assert found[0].signatures == found[1].signatures == {"valid": 11}
