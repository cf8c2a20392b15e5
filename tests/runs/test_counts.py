"""A new count is a field of Counts, a column of the ledger, and the place where it is counted; no more."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tasks.reporting.report import RunReport
from tasks.runs.markers import Marker, Rehearsed
from tasks.stores.protocols.counts import COUNTS, COUNTS_OF_BATCHES, NOTED, OUTCOMES, Counts

NO_COUNTS = {
    "am_backfill_chunk": {"chunk", "attempts", "pid"},
    "am_backfill_batch": {"chunk", "batch", "pid", "first_attestation_id", "last_attestation_id"},
}


@pytest.mark.parametrize(("table", "counts"), [("am_backfill_chunk", COUNTS), ("am_backfill_batch", COUNTS_OF_BATCHES)])
def test_the_whole_numbers_of_the_ledger_that_count_facts_are_exactly_the_counts(
    store: Any, table: str, counts: tuple[str, ...]
) -> None:
    columns = store().execute(f"SELECT name FROM pragma_table_info('{table}') WHERE type = 'INTEGER'")
    assert [name for (name,) in columns if name not in NO_COUNTS[table]] == list(counts)


def test_every_count_is_an_outcome_or_a_kind_of_signature_or_is_noted_with_words() -> None:
    assert {*OUTCOMES, "signed", "placeholder", *NOTED} == set(COUNTS)
    assert all(NOTED.values())


def test_marker_and_report_name_no_count_themselves() -> None:
    for shape in (Marker, Rehearsed, RunReport):
        assert not {field.name for field in fields(shape)} & set(COUNTS)


def test_counts_add_up_field_by_field() -> None:
    one = Counts(**dict.fromkeys(COUNTS, 1) | {"eligible": 4})
    assert (one + one).by_name() == dict.fromkeys(COUNTS, 2) | {"eligible": 8}


def test_a_report_says_every_noted_count_under_its_name_and_in_words(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts([
        {"id": 1, "source_url": "https://a.test/", "created_at": None, "confidence": 0.5},
        {"id": 2, "source_url": "https://a.test/", "created_at": "2026-01-02", "confidence": "high"},
    ])  # fmt: skip
    config = settings(made)
    report = run(config)
    assert {name: report[name] for name in NOTED} == dict.fromkeys(NOTED, 1)
