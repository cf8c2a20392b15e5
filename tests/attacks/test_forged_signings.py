"""Somebody without a key forges what a signing of pending rows left: it ends only where rows and log bear it out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.core.clock import now_text
from tasks.core.errors import StateError
from tasks.job.paths import sign_paths
from tasks.reporting.signing import close_signing, signing_is_done
from tasks.rows.sign_pending import plan_signing, run_chunk
from tasks.sealed_log.seal import seal_run

FACTS = 25  # three chunks
RUN = "run_id = 'sign-pending:run-1'"


@pytest.fixture
def signing(store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(store, settings, paths, plan): 25 placeholders in three chunks, planned to be signed; the first chunk is."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "created_at": "2026-05-12"} for key in range(1, FACTS + 1))
    config = settings(made, small=True)
    run(config)
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "11" * 32)
    where = sign_paths(config.state_dir, "run-1")
    plan = plan_signing(config, where)
    assert len(plan.chunks) == 3
    run_chunk(config, where, 1, progress=lambda _: None)
    return made, config, where, plan


def plant_report(where: Any, plan: Any) -> None:
    where.report.write_text(json.dumps({"plan_id": plan.plan_id, "run_id": "run-1"}), encoding="utf-8")


def signed(made: Any) -> int:
    return int(made.rows("SELECT count(*) FROM am_fact_metadata WHERE ed25519_sig <> zeroblob(64)")[0][0])


def test_a_forged_report_does_not_end_a_signing(signing: Any, luigi: Any) -> None:
    made, config, where, plan = signing
    plant_report(where, plan)
    assert not signing_is_done(config, where)
    made.execute(f"UPDATE am_backfill_run SET finished_at = '{now_text()}' WHERE {RUN}")
    assert not signing_is_done(config, where)
    finished = luigi("SignPending", "--run-id", "run-1", settings=config, key="11" * 32)
    assert finished.code == 0, finished.output
    assert signed(made) == FACTS
    assert signing_is_done(config, where)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (f"UPDATE am_backfill_chunk SET cursor = '1' WHERE {RUN} AND chunk = 1", r"chunk 1 .*the ledger calls"),
        (f"DELETE FROM am_backfill_batch WHERE {RUN} AND chunk = 2", r"chunk 2 .*its batches end at"),
        (f"UPDATE am_backfill_batch SET last_attestation_id = last_attestation_id - 1 WHERE {RUN} AND chunk = 3 AND "
         "batch = 1", r"chunk 3 .*a batch of 4 rows goes by the log rows"),
        ("DELETE FROM am_fact_attestation_log WHERE attestation_id = 30", r"4 rows were written .*the log has 3"),
        ("INSERT INTO am_backfill_reject (run_id, chunk, fact_id, reason, detail, rejected_at) VALUES "
         "('sign-pending:run-1', 1, '1', 'unlogged', '', '2026-05-12T00:00:00.000Z')",
         r"chunk 1 .*0 rejected by the ledger, which has 1"),
    ],
)  # fmt: skip
def test_a_signing_that_batches_or_log_do_not_bear_out_is_named(signing: Any, sql: str, said: str) -> None:
    made, config, where, _ = signing
    for number in (2, 3):
        run_chunk(config, where, number, progress=lambda _: None)
    close = made.rows("SELECT max(attestation_id) FROM am_fact_attestation_log")
    assert close == [(2 * FACTS,)]
    made.execute(sql)
    with pytest.raises(StateError, match=rf"{said}.*use a new --run-id"):
        close_signing(config, where)
    assert not where.report.exists()


def test_chunks_planted_as_done_do_not_complete_a_signing(signing: Any, luigi: Any) -> None:
    made, config, where, plan = signing
    for planned in plan.chunks[1:]:
        made.insert("am_backfill_chunk", [{
            "run_id": "sign-pending:run-1", "chunk": planned.chunk, "plan_id": plan.plan_id, "host": "h", "pid": 1,
            "after_key": planned.after, "through_key": planned.through, "cursor": planned.through, "attempts": 1,
            "eligible": planned.residual, "updated": planned.residual, "signed": planned.residual, "state": "done",
            "started_at": now_text(), "updated_at": now_text(), "finished_at": now_text(), "seconds": 1.0,
        }])  # fmt: skip
    finished = luigi("SignPending", "--run-id", "run-1", settings=config, key="11" * 32)
    assert finished.code == 30, finished.output
    assert "Nobody but this job may write to its ledger" in finished.output
    assert "Traceback" not in finished.output
    assert not where.report.exists()


def test_a_row_that_names_another_attester_is_signed_and_counted(signing: Any) -> None:
    """Each row keeps its attester: the log is counted whoever stands in it."""
    made, config, where, _ = signing
    for number in (2, 3):
        run_chunk(config, where, number, progress=lambda _: None)
    made.execute("UPDATE am_fact_attestation_log SET attester = 'somebody' WHERE attestation_id > 25")
    seal_run(config, where)
    close_signing(config, where)
    assert json.loads(where.report.read_text(encoding="utf-8"))["rows"]["signed"] == FACTS
