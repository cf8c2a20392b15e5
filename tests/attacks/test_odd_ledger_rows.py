"""Somebody without a key puts rows of other types into the ledger: one message names what is none of this job's."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.backfill.attempt import run_chunk
from tasks.core.errors import StateError
from tasks.reporting.close import close_run

TORN = "CAST(x'C328' AS TEXT)"


def without_checks(made: Any, table: str) -> None:
    """A table without its checks and types can hold anything."""
    names = ", ".join(row[0] for row in made.rows(f"SELECT name FROM pragma_table_info('{table}')"))
    indexes = made.rows(f"SELECT sql FROM sqlite_schema WHERE tbl_name = '{table}' AND type = 'index' AND sql <> ''")
    made.execute(f"CREATE TABLE other ({names})")
    made.execute(f"INSERT INTO other SELECT * FROM {table}")
    made.execute(f"DROP TABLE {table}")
    made.execute(f"ALTER TABLE other RENAME TO {table}")
    for (sql,) in indexes:
        made.execute(sql)
    if table == "am_backfill_chunk":
        made.execute("CREATE UNIQUE INDEX ix_again ON am_backfill_chunk (run_id, chunk)")


def chunk(planned: Any, number: int) -> None:
    _, config, where, _ = planned
    run_chunk(config, where, number, progress=lambda _: None)


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("am_backfill_chunk", "plan_id", ("x'00'",)),
        ("am_backfill_chunk", "state", ("'finished'", TORN)),
        ("am_backfill_chunk", "attempts", ("'often'", TORN)),
        ("am_backfill_chunk", "host", ("7", TORN)),
        ("am_backfill_chunk", "pid", ("NULL", "1.5")),
        ("am_backfill_chunk", "started_at", ("'today'", "7", TORN)),
        ("am_backfill_chunk", "finished_at", ("'2026-05-12'", "x'00'")),
        ("am_backfill_chunk", "seconds", ("'long'", "9e999", "-1.0", TORN)),
        ("am_backfill_chunk", "chunk", ("'2'", "2.5", "NULL")),
        ("am_backfill_batch", "chunk", ("'2'", "NULL", TORN)),
        ("am_backfill_batch", "first_attestation_id", ("'one'", "1.5", TORN)),
        ("am_backfill_batch", "last_attestation_id", ("x'00'",)),
        ("am_backfill_batch", "key_id", ("7", TORN)),
        ("am_backfill_batch", "content", ("'text'", TORN)),
        ("am_backfill_reject", "reason", ("7", TORN)),
        ("am_backfill_reject", "detail", ("x'00'", TORN)),
        ("am_backfill_reject", "fact_id", ("7", TORN)),
        ("am_backfill_reject", "chunk", ("'1'", "NULL")),
    ],
)
def test_a_ledger_row_of_another_type_ends_in_one_message(
    planned: Any, run: Any, table: str, column: str, values: tuple[str, ...]
) -> None:
    made, config, where, _ = planned
    run(config)
    without_checks(made, table)
    chunk_of = 1 if table == "am_backfill_reject" else 2
    for value in values:
        made.execute(f"UPDATE {table} SET {column} = {value} WHERE chunk IS {chunk_of} OR typeof(chunk) <> 'integer'")
        with pytest.raises(StateError, match=r"run-1: its ledger has a row that this job has not written .*--run-id"):
            close_run(config, where)


def test_counts_of_other_chunks_without_an_end_stop_one_that_rejects_in_one_message(planned: Any) -> None:
    made, *_ = planned
    chunk(planned, 2)
    made.execute("UPDATE am_backfill_chunk SET eligible = 9e999, inserted = 9e999, placeholder = 9e999")
    with pytest.raises(StateError, match=r"has not written \(settled_by\): counts: their sum has no end"):
        chunk(planned, 1)


def test_a_budgeted_run_of_another_type_says_nothing_of_when_one_ended(planned: Any, run: Any) -> None:
    made, config, *_ = planned
    run(config, "earlier", max_rows=3)
    assert run(config, "second", max_rows=3)["turns"] is not None
    for change in (f"finished_at = {TORN}", "finished_at = 'yesterday'", "remaining = 'few'"):
        made.execute(f"UPDATE am_backfill_run SET {change} WHERE run_id IN ('earlier', 'second')")
        assert run(config, f"after-{change[:5].strip()}-{len(change)}", max_rows=1)["stop_reason"] == "row_budget"


def test_counts_that_do_not_add_up_end_in_one_message(planned: Any, run: Any) -> None:
    """A table without its checks can hold anything."""
    made, config, where, _ = planned
    run(config)
    without_checks(made, "am_backfill_chunk")
    for value in ("'text'", "11", "-1", "NULL"):
        made.execute(f"UPDATE am_backfill_chunk SET eligible = {value} WHERE chunk = 2")
        with pytest.raises(StateError, match=r"chunk 2: the ledger has the counts .* which do not add up"):
            close_run(config, where)
