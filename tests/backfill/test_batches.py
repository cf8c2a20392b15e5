"""The ledger's batches: what every transaction of a chunk leaves behind, and that it adds up."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

import apsw
import pytest

from tasks.backfill import attempt
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import crash_points
from tasks.core.errors import ProvenanceError
from tasks.job.paths import sign_paths
from tasks.rows import sign_pending
from tasks.runs.gate import gate_schema

RUN, CHUNK, BATCH, LOG = "am_backfill_run", "am_backfill_chunk", "am_backfill_batch", "am_fact_attestation_log"
COUNTS = ("eligible", "inserted", "updated", "unchanged", "rejected", "signed", "placeholder")
SECONDS = ("reading", "deriving", "signing", "waiting", "locked")


def fill(made: Any, facts: int = 25) -> Any:
    """Facts of every outcome: each seventh is rejected, each fifth has metadata with a source."""
    for key in range(1, facts + 1):
        made.add_fact(key, source_url=f"https://a.test/{key}", confidence=2 if key % 7 == 0 else 0.5)
        if key % 5 == 0 and key % 7:
            made.add_metadata(str(key), "https://a.test/")
    return made


def sums(made: Any) -> Any:
    """What the chunks count, and what their batches add up to."""
    of_chunks = ", ".join(COUNTS)
    of_batches = ", ".join(f"sum({name})" for name in COUNTS)
    return (
        made.rows(f"SELECT run_id, chunk, {of_chunks} FROM {CHUNK} ORDER BY run_id, chunk"),
        made.rows(f"SELECT run_id, chunk, {of_batches} FROM {BATCH} GROUP BY run_id, chunk ORDER BY run_id, chunk"),
    )


@pytest.mark.parametrize("key", [None, "5e" * 32])
def test_the_batches_of_a_chunk_add_up_to_it(store: Any, settings: Any, run: Any, monkeypatch: Any, key: Any) -> None:
    if key:
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", key)
    made = fill(store())
    report = run(settings(made, small=True))
    chunks, batches = sums(made)
    assert chunks == batches
    assert len(chunks) > 1
    assert sum(row[2] for row in chunks) + report["rows_outside_chunks"] == 25
    key_ids = {row[0] for row in made.rows(f"SELECT key_id FROM {BATCH} WHERE inserted + updated > 0")}
    assert key_ids == {report["signatures"]["key_id"]}


def test_the_batches_of_a_chunk_follow_each_other_and_name_their_log_rows(store: Any, settings: Any, run: Any) -> None:
    made = fill(store())
    run(settings(made, small=True))
    rows = made.rows(f"SELECT chunk, batch, after_key, through_key, inserted + updated, first_attestation_id, "
                     f"last_attestation_id FROM {BATCH} ORDER BY chunk, batch")  # fmt: skip
    for (chunk, number, _, through, *_), (next_chunk, next_number, after, *_) in pairwise(rows):
        assert after == through
        assert next_number == (number + 1 if next_chunk == chunk else 1)
    for *_, written, first, last in rows:
        assert (first, last) == (None, None) if not written else last - first + 1 == written
    logged = [key for *_, first, last in rows if first for key in range(first, last + 1)]
    assert logged == [row[0] for row in made.rows(f"SELECT attestation_id FROM {LOG} ORDER BY 1")]


def test_a_batch_says_where_its_time_went(store: Any, settings: Any, run: Any) -> None:
    made = fill(store())
    started = time.monotonic()
    run(settings(made, small=True))
    elapsed = time.monotonic() - started
    names = ", ".join(f"{name}_seconds" for name in SECONDS)
    rows = made.rows(f"SELECT {names} FROM {BATCH}")
    assert all(value >= 0 for row in rows for value in row)
    assert all(row[0] > 0 and row[-1] > 0 for row in rows)  # to read and to write take some time
    assert sum(map(sum, rows)) <= elapsed
    assert made.rows(f"SELECT count(*) FROM {BATCH} WHERE began_at > committed_at") == [(0,)]


def test_waiting_for_the_lock_is_told_from_holding_it(store: Any, settings: Any, run: Any, monkeypatch: Any) -> None:
    made = fill(store(), facts=2)
    writer = apsw.Connection(str(made.path))

    def hold(point: str) -> None:
        if point == "before the write lock":
            writer.execute("BEGIN IMMEDIATE")
            threading.Timer(0.3, lambda: writer.execute("ROLLBACK")).start()

    monkeypatch.setattr(crash_points, "reach", hold)
    run(settings(made))
    waiting, locked = made.rows(f"SELECT waiting_seconds, locked_seconds FROM {BATCH}")[0]
    assert waiting >= 0.25
    assert locked < waiting


def test_a_run_is_running_until_it_is_closed_and_then_done(store: Any, settings: Any, run: Any, paths: Any) -> None:
    made = fill(store())
    config = settings(made, small=True)
    gate_schema(config, paths(config))
    plan = plan_backfill(config, paths(config), max_rows=10, created_at="2026-11-22T00:00:00.000Z")
    attempt.run_chunk(config, paths(config), plan.chunks[0].chunk, progress=lambda _: None)
    assert made.rows(f"SELECT kind, state, stop_reason FROM {RUN}") == [("backfill", "running", None)]
    run(config, max_rows=10)
    assert made.rows(f"SELECT kind, state, stop_reason FROM {RUN}") == [("backfill", "done", "row_budget")]


def test_an_attempt_that_fails_leaves_its_error_in_the_ledger(
    store: Any, settings: Any, run: Any, paths: Any, monkeypatch: Any
) -> None:
    made = fill(store())
    config = settings(made, small=True)

    def fail(point: str) -> None:
        if point == "before commit":
            raise ProvenanceError("the machine caught fire")

    with monkeypatch.context() as patched:
        patched.setattr(crash_points, "reach", fail)
        with pytest.raises(ProvenanceError):
            run(config)
    ((state, error),) = made.rows(f"SELECT state, last_error FROM {CHUNK} WHERE chunk = 1")
    assert (state, "the machine caught fire" in error) == ("running", True)
    assert made.count(BATCH) == 0
    run(config)
    assert made.rows(f"SELECT state, last_error FROM {CHUNK} WHERE chunk = 1") == [("done", error)]


def test_the_chunks_of_a_signing_leave_batches_of_their_own(
    store: Any, settings: Any, run: Any, monkeypatch: Any
) -> None:
    made = fill(store())
    config = settings(made, small=True)
    run(config)
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "5e" * 32)
    signing = sign_paths(config.state_dir, "run-1")
    plan = sign_pending.plan_signing(config, signing)
    for chunk in plan.chunks:
        sign_pending.run_chunk(config, signing, chunk.chunk, progress=lambda _: None)
    assert made.rows(f"SELECT kind FROM {RUN} ORDER BY run_id") == [("backfill",), ("sign",)]
    chunks, batches = sums(made)
    assert chunks == batches
    signed = made.rows("SELECT sum(signed), min(first_attestation_id), max(last_attestation_id), "
                       f"count(DISTINCT key_id) FROM {BATCH} WHERE run_id = 'sign-pending:run-1'")  # fmt: skip
    written = made.rows(f"SELECT count(*) FROM {LOG}")[0][0] // 2
    assert signed == [(written, written + 1, 2 * written, 1)]
