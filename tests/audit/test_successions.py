"""Facts that were attested more than once: a change must be told in the notes; the second opinion finds the same."""

from __future__ import annotations

from typing import Any

import pytest


def note(store: Any, notes: str | None) -> None:
    """Give the newest row of the log its notes."""
    sql = "UPDATE am_fact_attestation_log SET notes = ? WHERE attestation_id = (SELECT max(attestation_id) FROM {})"
    store.execute(sql.format("am_fact_attestation_log"), (notes,))


def keep_a_ledger(store: Any, first_attestation_id: int | None = 1) -> None:
    """As a run does that says in its notes what it supersedes."""
    columns = {row[1]: row[2] for row in store.execute("PRAGMA table_info(am_backfill_batch)")}
    values = {name: 0 if kind in ("INTEGER", "REAL") else "x" for name, kind in columns.items()}
    values |= {"first_attestation_id": first_attestation_id}
    marks = ", ".join("?" * len(values))
    sql = f"INSERT INTO am_backfill_batch ({', '.join(values)}) VALUES ({marks})"
    store.execute(sql, tuple(values.values()))


UPDATE, REATTESTATION = '{"supersedes":1,"type":"update"}', '{"because":"so","supersedes":1,"type":"reattestation"}'


@pytest.mark.parametrize(
    ("notes", "is_told"),
    [
        (None, True),
        (UPDATE, False),
        (REATTESTATION, False),
        ('{"supersedes":1,"type":"re-signed"}', True),
        ('{"supersedes":2,"type":"update"}', True),
        ('{"supersedes":true,"type":"update"}', True),
        ('{"supersedes": 1,"type":"update"}', True),
        ('{"supersedes":1,"type":"reattestation"}', True),
        ('{"because":7,"supersedes":1,"type":"reattestation"}', True),
        ('{"because":"so","supersedes":1,"type":"update"}', True),
        ('{"because":"\\ud800","supersedes":1,"type":"reattestation"}', True),
        ('{"because":"' + "x" * 4000 + '","supersedes":1,"type":"reattestation"}', True),
        ("[" * 3000, True),
    ],
)
def test_content_that_changed_between_two_leaves_is_told_unless_the_notes_say_why(
    store: Any, agree: Any, notes: str | None, is_told: bool
) -> None:
    keep_a_ledger(store)
    store.attest("a")
    store.attest("b")
    store.seal()
    store.attest("a", source="https://example.org/another")
    note(store, notes)
    store.attest("b")
    store.seal()
    assert agree(store) == ({("content_changed", 2, "a")} if is_told else set())


def test_a_change_within_one_tile_is_told_too(store: Any, agree: Any) -> None:
    keep_a_ledger(store)
    for source in ("https://example.org/1", "https://example.org/2", "https://example.org/3"):
        store.attest("a", source=source)
        store.seal()
    assert agree(store) == {("content_changed", 1, "a"), ("content_changed", 2, "a")}


def test_a_log_from_before_there_were_notes_is_not_damaged(store: Any, agree: Any) -> None:
    store.attest("a")
    store.seal()
    store.attest("a", source="https://example.org/another")
    store.seal()
    assert agree(store) == set()
    keep_a_ledger(store, first_attestation_id=None)
    assert agree(store) == set(), "a batch that wrote nothing"
    store.attest("b")
    keep_a_ledger_from = store.execute("SELECT max(attestation_id) FROM am_fact_attestation_log")[0][0]
    store.execute("UPDATE am_backfill_batch SET first_attestation_id = ?", (keep_a_ledger_from,))
    store.seal()
    assert agree(store) == set()
    store.attest("a", source="https://example.org/a-third")
    store.seal()
    assert agree(store) == {("content_changed", 3, "a")}


def test_without_a_ledger_the_first_note_begins_it(store: Any, agree: Any) -> None:
    store.attest("a")
    store.attest("b")
    store.attest("b", source="https://example.org/old")
    store.attest("a", source="https://example.org/another")
    note(store, UPDATE)
    store.attest("b", source="https://example.org/new")
    store.seal()
    store.attest("a", source="https://example.org/new")
    store.seal()
    assert agree(store) == {("content_changed", 5, "a")}, "of b only one digest was known"


def test_a_fact_that_was_reattested_is_listed_apart(store: Any, agree: Any) -> None:
    keep_a_ledger(store)
    store.attest("a")
    store.seal()
    store.attest("a", source="https://example.org/another")
    note(store, REATTESTATION)
    store.seal()
    assert agree(store) == set()
    report = store.audit()
    assert report.clean
    assert report.as_json()["reattested"] == {
        "count": 1,
        "facts": [{"leaf": 1, "attestation_id": 2, "fact_id": "a", "supersedes": 1, "because": "so"}],
    }
