"""Somebody without a key writes into the ledger: it is believed as far as rows and log bear it out, and no further."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.core.errors import StateError
from tasks.reporting.close import close_run
from tasks.runs.plans import Plan


def chunk(planned: Any, number: int) -> None:
    _, config, where, _ = planned
    run_chunk(config, where, number, progress=lambda _: None)


# -- the ledger --------------------------------------------------------------------------------------


def plant_done(made: Any, plan: Plan, number: int, **counts: int) -> None:
    planned = plan.chunks[number - 1]
    size = planned.residual
    row = {"run_id": plan.run_id, "chunk": number, "plan_id": plan.plan_id, "after_key": planned.after,
           "through_key": planned.through, "cursor": planned.through, "eligible": size, "inserted": size,
           "signed": size, "state": "done", "attempts": 1, "host": "h", "pid": 1, "started_at": now_text(),
           "updated_at": now_text(), "finished_at": now_text(), "seconds": 1.0, **counts}  # fmt: skip
    made.insert("am_backfill_chunk", [row])


def plant_ledger_run(made: Any, plan: Plan, **columns: Any) -> None:
    made.insert("am_backfill_run", [{"run_id": plan.run_id, "plan_id": plan.plan_id, "plan": json.dumps(plan.as_json()),
                                     "started_at": now_text(), "attester": "etl_prov_backfill_v2", "host": "h",
                                     "pid": 1, **columns}])  # fmt: skip


def test_chunks_planted_as_done_do_not_complete_a_run(planned: Any, luigi: Any) -> None:
    made, config, where, plan = planned
    plant_ledger_run(made, plan)
    for number in (1, 2, 3):
        plant_done(made, plan, number)
    finished = luigi("Report", settings=config)
    assert finished.code == 30, finished.output
    assert "chunk 1" in finished.output or "NOT COMPLETE" in finished.output
    assert "Traceback" not in finished.output
    assert not where.report.exists()


def test_chunks_planted_as_done_with_nothing_in_them_do_not_complete_a_run(planned: Any, run: Any) -> None:
    """As if all their facts had come since."""
    made, config, where, plan = planned
    plant_ledger_run(made, plan)
    for number in (1, 2, 3):
        plant_done(made, plan, number, eligible=0, inserted=0, signed=0)
    with pytest.raises(StateError, match=r"Use a new --run-id|use a new --run-id"):
        run(config)
    assert not where.report.exists()


@pytest.mark.parametrize("change", ["cursor = 3", "after_key = 5", "through_key = 9", "cursor = NULL"])
def test_a_chunk_that_is_done_over_another_range_is_named(planned: Any, run: Any, change: str) -> None:
    made, config, where, _ = planned
    run(config)
    made.execute(f"UPDATE am_backfill_chunk SET {change} WHERE chunk = 1")
    with pytest.raises(StateError, match=r"chunk 1 \(start, 10\]|chunk 1 \(0, 10\]"):
        close_run(config, where)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE am_backfill_chunk SET eligible = 11, unchanged = 1 WHERE chunk = 2", "11 eligible by the ledger"),
        ("DELETE FROM am_backfill_batch WHERE chunk = 2", "its batches end at 10"),
        ("DELETE FROM am_backfill_batch WHERE chunk = 2 AND batch = 2", "begins at 18, after one up to 14"),
        ("UPDATE am_backfill_batch SET after_key = 11 WHERE chunk = 2 AND batch = 1", "begins at 11, after"),
        ("UPDATE am_backfill_batch SET first_attestation_id = 1, last_attestation_id = 4 WHERE chunk = 2 AND batch = 1",
         "a batch of 4 rows goes by the log rows 1 to 4"),
        ("UPDATE am_backfill_batch SET last_attestation_id = NULL WHERE chunk = 2 AND batch = 1", "goes by"),
        ("DELETE FROM am_fact_attestation_log WHERE fact_id = '12'", "of which the log has 3"),
        ("UPDATE am_fact_attestation_log SET attester = 'x' WHERE fact_id = '12'", "of which the log has 3"),
    ],
)  # fmt: skip
def test_counts_that_batches_or_log_do_not_bear_out_are_named(planned: Any, run: Any, sql: str, said: str) -> None:
    made, config, where, _ = planned
    run(config)
    made.execute(sql)
    with pytest.raises(StateError, match=rf"chunk 2 \(10, 20\]: .*{said}.*use a new --run-id"):
        close_run(config, where)


# -- chunks that look whole --------------------------------------------------------------------------


def plant_whole(made: Any, plan: Plan, number: int, **counts: int) -> None:
    """A chunk that is done, and a batch that bears it out; nothing was written."""
    planned, none = plan.chunks[number - 1], {"eligible": 0, "inserted": 0, "signed": 0}
    plant_done(made, plan, number, **{**none, **counts})
    of_batch = {**dict.fromkeys(("inserted", "updated", "unchanged", "rejected", "signed", "placeholder"), 0),
                **dict.fromkeys(("reading", "deriving", "signing", "waiting", "locked"), 0.0)}  # fmt: skip
    times = {f"{name}_seconds": of_batch.pop(name) for name in ("reading", "deriving", "signing", "waiting", "locked")}
    row = {"run_id": plan.run_id, "chunk": number, "batch": 1, "after_key": planned.after,
           "through_key": planned.through, "host": "h", "pid": 1, "began_at": now_text(), "committed_at": now_text(),
           **of_batch, **none, **times, **counts}  # fmt: skip
    made.insert("am_backfill_batch", [row])


@pytest.mark.parametrize("unchanged", [0, 1, 5, 10, 1000])
def test_a_chunk_that_looks_whole_over_facts_that_nobody_wrote_does_not_complete_a_run(
    planned: Any, luigi: Any, unchanged: int
) -> None:
    """As if all its facts had gone, or had been attested, before it ran, and others had come since."""
    made, config, where, plan = planned
    for number in (1, 3):
        chunk(planned, number)
    plant_whole(made, plan, 2, eligible=unchanged, unchanged=unchanged)
    finished = luigi("Report", settings=config)
    assert finished.code == 30, finished.output
    assert "run run-1 is NOT COMPLETE: 10 facts, the first '11', are residual, though the ledger" in finished.output
    assert "Traceback" not in finished.output
    assert not where.report.exists()
    assert luigi("Report", settings=config, run_id="run-2").code == 0
    assert made.count("am_fact_metadata") == 24


@pytest.fixture
def grown(store: Any, settings: Any, run: Any, paths: Any) -> Any:
    """(store, settings, paths): facts 1 to 100 of which every tenth is not attested, all in one chunk."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "created_at": "2026-05-12"} for key in range(1, 101) if key % 10)
    config = settings(made, pacing={"chunk_rows": 1000, "batch_rows": 100})
    run(config, "earlier")
    made.add_facts({"id": key, "source_id": 1, "created_at": "2026-05-12"} for key in range(10, 101, 10))
    return made, config, paths(config)


@pytest.mark.parametrize("max_rows", [None, 10])
def test_a_chunk_among_attested_facts_that_looks_whole_does_not_complete_a_run(
    grown: Any, run: Any, max_rows: int | None
) -> None:
    made, config, where = grown
    plan = plan_backfill(config, where, max_rows=max_rows, created_at=now_text())
    plant_ledger_run(made, plan)
    plant_whole(made, plan, 1, eligible=90, unchanged=90)
    with pytest.raises(StateError, match=r"NOT COMPLETE: 10 facts, the first '10', are residual, though the ledger"):
        run(config, max_rows=max_rows)


@pytest.mark.parametrize("max_rows", [None, 10])
def test_facts_that_another_run_attested_first_are_unchanged_and_complete_a_run(
    grown: Any, run: Any, max_rows: int | None
) -> None:
    _, config, where = grown
    plan_backfill(config, where, max_rows=max_rows, created_at=now_text())
    run(config, "faster")
    found = run(config, max_rows=max_rows)
    assert (found["rows"]["inserted"], found["remaining"]) == (0, 0)


def test_a_plan_that_understates_what_lies_outside_does_not_make_leftovers_look_as_if_they_came(
    store: Any, settings: Any, run: Any, paths: Any
) -> None:
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "created_at": "2026-05-12"} for key in range(1, 11))
    config = settings(made, small=True)
    run(config, "earlier")
    made.add_facts({"id": key, "source_id": 1, "created_at": "2026-05-12"} for key in range(11, 26))
    where = paths(config)
    plan = plan_backfill(config, where, max_rows=None, created_at=now_text())
    assert (plan.unchanged_outside, plan.chunks[0].after) == (10, 10)
    understated = replace(plan, unchanged_outside=0)
    where.plan.write_text(json.dumps(understated.as_json()), encoding="utf-8")
    plant_ledger_run(made, understated)
    plant_whole(made, understated, 1, eligible=10, unchanged=10)
    with pytest.raises(StateError, match=r"NOT COMPLETE: 10 facts, the first '11', are residual, though the ledger"):
        run(config)


# -- what is left when a run ends --------------------------------------------------------------------


def closing(planned: Any, run: Any) -> Any:
    found = run(planned[1])
    return (
        found["remaining"],
        found["closing"]["remaining_after_this_run"],
        found["closing"]["remaining_beyond_this_run"],
    )


def test_a_rejected_fact_is_what_remains(planned: Any, run: Any) -> None:
    assert closing(planned, run) == (1, 1, 0)


def test_a_rejected_fact_that_is_deleted_before_the_run_goes_on_is_not_minus_one(planned: Any, run: Any) -> None:
    chunk(planned, 1)
    planned[0].execute("DELETE FROM am_entity_facts WHERE id = 7")
    assert closing(planned, run) == (0, 0, 0)


def test_a_rejected_fact_that_goes_does_not_cancel_out_one_that_comes(planned: Any, run: Any) -> None:
    chunk(planned, 1)
    made = planned[0]
    made.execute("DELETE FROM am_entity_facts WHERE id = 7")
    made.add_fact(1000, source_id=1, created_at=now_text())
    assert closing(planned, run) == (1, 0, 1)


def test_a_rejected_fact_that_is_mended_and_attested_elsewhere_does_not_cancel_out_one_that_comes(
    planned: Any, run: Any
) -> None:
    chunk(planned, 1)
    made, config, *_ = planned
    made.execute("UPDATE am_entity_facts SET created_at = '2026-05-12' WHERE id = 7")
    run(config, "run-2", max_rows=1)
    made.add_fact(1000, source_id=1, created_at=now_text())
    assert closing(planned, run) == (1, 0, 1)


@pytest.mark.parametrize("created_at", ["2026-03-03", None])
def test_facts_that_come_while_a_run_goes_on_do_not_fail_it_whatever_their_time(
    planned: Any, run: Any, created_at: str | None
) -> None:
    chunk(planned, 1)
    planned[0].add_facts({"id": key, "source_id": 1, "created_at": created_at} for key in (-5, 1000, 1001))
    assert closing(planned, run) == (4, 1, 3)


# -- rejects and strangers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM am_backfill_reject", r"chunk 1 .*1 rejected by the ledger, which has 0 rejects of it"),
        ("UPDATE am_backfill_reject SET chunk = 2", r"chunk 1 .*1 rejected by the ledger, which has 0 rejects of it"),
        ("UPDATE am_backfill_reject SET chunk = 9", r"chunk 1 .*1 rejected by the ledger, which has 0 rejects of it"),
        ("INSERT INTO am_backfill_reject (run_id, chunk, fact_id, reason, detail, rejected_at) "
         "SELECT run_id, 2, '12', reason, detail, rejected_at FROM am_backfill_reject",
         r"chunk 2 \(10, 20\]: 0 rejected by the ledger, which has 1 rejects of it"),
        ("INSERT INTO am_backfill_reject (run_id, chunk, fact_id, reason, detail, rejected_at) "
         "SELECT run_id, 9, '12', reason, detail, rejected_at FROM am_backfill_reject",
         r"chunk 9: the ledger has batches or rejects of it, and the plan has no such chunk"),
        ("UPDATE am_backfill_batch SET chunk = 9 WHERE chunk = 3 AND batch = 1", r"chunk 3 .*begins at 24, after"),
        ("INSERT INTO am_backfill_batch SELECT run_id, 9, batch, after_key, through_key, 0, 0, 0, 0, 0, 0, 0, NULL, "
         "NULL, NULL, NULL, host, pid, began_at, committed_at, 0, 0, 0, 0, 0 FROM am_backfill_batch WHERE chunk = 3",
         r"chunk 9: the ledger has batches or rejects of it, and the plan has no such chunk"),
    ],
)  # fmt: skip
def test_rejects_and_batches_that_do_not_belong_there_are_named(planned: Any, run: Any, sql: str, said: str) -> None:
    made, config, where, _ = planned
    run(config)
    made.execute(sql)
    with pytest.raises(StateError, match=rf"{said}.*use a new --run-id"):
        close_run(config, where)
