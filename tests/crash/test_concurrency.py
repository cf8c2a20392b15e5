"""Several at once: workers, runs, the application, and whoever holds the lock or changes the schema."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from nacl.signing import SigningKey

APPLICATION = Path(__file__).with_name("application.py")
VERIFY_KEY = SigningKey(bytes(range(1, 33))).verify_key
ATTESTER = "etl_prov_backfill_v2"


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the write lock of a database, as a long transaction of the application would."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.set_busy_timeout(10_000)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def wait_until_said(command: Any, words: str) -> None:
    end = time.monotonic() + 30
    while words not in command.output:
        assert time.monotonic() < end, command.output
        time.sleep(0.01)


def of_run(sample: Any, run_id: str, columns: str) -> list[Any]:
    return list(sample.query(f"SELECT {columns} FROM am_backfill_chunk WHERE run_id = ?", run_id))


def attested_by_job(sample: Any) -> Counter[str]:
    """How often each fact stands in the log under the job's name."""
    rows = sample.query("SELECT fact_id FROM am_fact_attestation_log WHERE attester = ?", ATTESTER)
    return Counter(fact_id for (fact_id,) in rows)


# -- the job beside itself ---------------------------------------------------------------------------


def test_two_workers_share_the_chunks_of_one_run(sample: Any, command: Any, check: Any) -> None:
    made = sample(chunk_rows=60)
    run = command(made.settings, "Report", "--workers", "2")
    assert run.wait() == 0, run.output
    assert len(check(made).chunks) >= 6


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_commands_with_one_run_id_at_once_attest_each_fact_once(
    workers: str, sample: Any, command: Any, check: Any
) -> None:
    made = sample(batch_rows=10)
    both = [command(made.settings, "Report", "--workers", workers) for _ in range(2)]
    for run in both:
        assert run.wait() == 0, run.output
    check(made)


def test_two_runs_with_different_ids_at_once_attest_each_fact_once(sample: Any, command: Any) -> None:
    made = sample(batch_rows=10)
    names = ("run-1", "run-2")
    both = [command(made.settings, run_id=name) for name in names]
    for run in both:
        assert run.wait() == 0, run.output
    reports = [made.report(name) for name in names]
    for name in ("inserted", "updated"):
        assert sum(report["rows"][name] for report in reports) == made.rows[name]
    for report, name in zip(reports, names, strict=True):
        rows = report["rows"]
        assert rows["eligible"] == rows["inserted"] + rows["updated"] + rows["unchanged"] + rows["rejected"]
        assert report["rejects"] == made.expected["rejects"]
        assert {state for (state,) in of_run(made, name, "state")} == {"done"}
    assert set(attested_by_job(made).values()) == {1}
    assert len(attested_by_job(made)) == made.rows["inserted"] + made.rows["updated"]


def test_a_batch_that_another_worker_wrote_meanwhile_is_not_written_again(
    sample: Any, command: Any, check: Any
) -> None:
    """One stands between reading and writing while another does the whole run: it finds its read stale."""
    made = sample()
    slow = command(made.settings, at="before the write lock", nth=2, do="wait")
    slow.wait_until_trapped()
    fast = command(made.settings)
    assert fast.wait() == 0, fast.output
    before = made.query("SELECT * FROM am_backfill_chunk")
    slow.release()
    assert slow.wait() == 0, slow.output
    assert made.query("SELECT * FROM am_backfill_chunk") == before
    check(made)


@pytest.mark.parametrize("other", ["dies after its first batch", "ends the chunk"])
def test_a_batch_of_nothing_but_rejects_is_not_written_twice(
    other: str, store: Any, settings: Any, command: Any, dump: Any
) -> None:
    """No row of such a batch could be missed by a count: the ledger's cursor and state alone tell that it is stale."""
    made = store()
    made.add_facts([{"id": number, "confidence": 1.5} for number in range(1, 9)])
    job = settings(made, pacing={"chunk_rows": 10, "batch_rows": 4, "cache_mib": 1})
    slow = command(job, at="before the write lock", nth=1, do="wait")
    slow.wait_until_trapped()
    crash = {"at": "after commit", "nth": 1, "do": "kill"} if other.startswith("dies") else {}
    assert command(job, **crash).wait() == (-9 if crash else 0)
    slow.release()
    assert slow.wait() == 0, slow.output
    assert sorted(int(fact_id) for fact_id, _ in made.rejects()) == list(range(1, 9))
    assert made.rows("SELECT eligible, rejected, state FROM am_backfill_chunk") == [(8, 8, "done")]


def test_a_batch_that_another_run_wrote_meanwhile_counts_as_unchanged(sample: Any, command: Any) -> None:
    made = sample()
    slow = command(made.settings, at="before the write lock", nth=1, do="wait")
    slow.wait_until_trapped()
    assert command(made.settings, run_id="run-2").wait() == 0
    slow.release()
    assert slow.wait() == 0, slow.output
    assert made.report("run-2")["rows"] == made.rows
    late = made.report("run-1")["rows"]
    assert (late["inserted"], late["updated"], late["rejected"]) == (0, 0, made.rows["rejected"])
    assert late["eligible"] == made.rows["eligible"]
    assert set(attested_by_job(made).values()) == {1}


def test_two_plans_made_at_once_become_one(sample: Any, command: Any) -> None:
    """The first to freeze its plan wins; the other takes it over and ends well."""
    made = sample()
    slow = command(made.settings, "PlanChunks", at="while a file is written", file="plan.json", do="wait")
    slow.wait_until_trapped()
    assert command(made.settings, "PlanChunks").wait() == 0
    frozen = (made.state / "run-1" / "plan.json").read_bytes()
    slow.release()
    assert slow.wait() == 0, slow.output
    assert (made.state / "run-1" / "plan.json").read_bytes() == frozen
    assert json.loads(frozen)["plan_id"][:12] in slow.output


# -- the application ---------------------------------------------------------------------------------


def test_the_application_writes_all_the_while_and_nothing_of_it_is_lost(
    sample: Any, command: Any, tmp_path: Path
) -> None:
    made = sample(batch_rows=10)
    stop, first_id = tmp_path / "stop", 1 + made.query("SELECT max(id) FROM am_entity_facts")[0][0]
    application = subprocess.Popen(
        [sys.executable, str(APPLICATION), str(made.path), str(stop), str(first_id)], stdout=subprocess.PIPE, text=True
    )
    try:
        while made.query("SELECT max(id) FROM am_entity_facts")[0][0] < first_id + 3:
            assert application.poll() is None
        run = command(made.settings, "Report", "--workers", "2")
        assert run.wait() == 0, run.output
    finally:
        stop.touch()
        theirs = {str(fact_id) for fact_id in application.communicate(timeout=30)[0].split()}
    assert theirs, "the application attested nothing: this test shows nothing"
    rows = made.report()["rows"]
    assert rows["eligible"] == rows["inserted"] + rows["updated"] + rows["unchanged"] + rows["rejected"]
    assert len(attested_by_job(made)) == rows["inserted"] + rows["updated"]

    again = command(made.settings, run_id="run-2")
    assert again.wait() == 0, again.output
    prove_every_fact_attested(made, theirs)
    last = made.report("run-2")
    assert last["remaining"] == last["rows"]["rejected"] <= made.rows["rejected"]


def prove_every_fact_attested(sample: Any, theirs: set[str]) -> None:
    """Every fact has one row, from the job (signed and logged once) or from the application (as it wrote it)."""
    assert sample.query("PRAGMA integrity_check") == [("ok",)]
    facts = {str(fact_id) for (fact_id,) in sample.query("SELECT id FROM am_entity_facts")}
    rejected = {fact_id for (fact_id,) in sample.query("SELECT DISTINCT fact_id FROM am_backfill_reject")}
    rows = sample.query(
        "SELECT fact_id, source_doc, extracted_at, verified_by, confidence_lower, confidence_upper, ed25519_sig "
        "FROM am_fact_metadata"
    )
    assert {row[0] for row in rows} | rejected == facts
    assert {row[0] for row in rows if row[3] == "application"} == theirs
    ours = {row[0]: row for row in rows if row[3] == ATTESTER}
    logged = sample.query("SELECT fact_id, signature_hex FROM am_fact_attestation_log WHERE attester = ?", ATTESTER)
    assert sorted(logged) == sorted((fact_id, row[6][8:72].hex()) for fact_id, row in ours.items())
    for fact_id, source_doc, extracted_at, verified_by, lower, upper, blob in ours.values():
        payload = {"confidence_lower": lower, "confidence_upper": upper, "extracted_at": extracted_at,
                   "fact_id": fact_id, "source_doc": source_doc, "verified_by": verified_by}  # fmt: skip
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        VERIFY_KEY.verify(text.encode(), blob[8:72])


def test_metadata_that_the_application_writes_between_read_and_write_is_kept(sample: Any, command: Any) -> None:
    """The whole batch is read again; the fact counts as unchanged, and no line of the log speaks of it."""
    made = sample()
    run = command(made.settings, at="before the write lock", nth=1, do="wait")
    run.wait_until_trapped()
    fact_id = made.query("SELECT min(id) FROM am_entity_facts WHERE source_url LIKE 'https:%'")[0][0]
    made.query(
        "INSERT INTO am_fact_metadata (fact_id, source_doc, verified_by, ed25519_sig) "
        "VALUES (?, 'https://application.test/', 'application', zeroblob(64))", str(fact_id),
    )  # fmt: skip
    run.release()
    assert run.wait() == 0, run.output
    assert made.query("SELECT verified_by FROM am_fact_metadata WHERE fact_id = ?", str(fact_id)) == [("application",)]
    assert str(fact_id) not in attested_by_job(made)
    rows = made.report()["rows"]
    assert rows["inserted"] == made.rows["inserted"] - 1
    assert rows["unchanged"] == made.rows["unchanged"] + 1


# -- the lock ----------------------------------------------------------------------------------------


def test_a_lock_held_too_long_before_the_first_write_is_one_clear_message(
    sample: Any, command: Any, check: Any, dump: Any
) -> None:
    made = sample(lock_timeout_seconds=0.2, chunk_rows=1000)
    rows = dump(made.path)
    with write_lock(made.path):
        run = command(made.settings, pause=0.1)
        assert run.wait() == 30, run.output
    assert "locked by another writer" in run.output
    assert "lock_timeout_seconds" in run.output
    assert "Traceback" not in run.output
    assert dump(made.path) == rows
    again = command(made.settings)
    assert again.wait() == 0, again.output
    check(made)


def test_a_lock_that_is_never_let_go_ends_the_command_however_many_chunks_there_are(
    sample: Any, command: Any, check: Any
) -> None:
    """A chunk that was given up must not be taken up again because the next ones took their time to fail."""
    made = sample(lock_timeout_seconds=0.2)
    with write_lock(made.path):
        run = command(made.settings, pause=1)
        assert run.wait(timeout=25) == 30, run.output
    assert command(made.settings).wait() == 0
    check(made)


def test_a_lock_held_too_long_in_the_middle_keeps_the_cursor(sample: Any, command: Any, check: Any) -> None:
    made = sample(lock_timeout_seconds=0.2, chunk_rows=1000)
    run = command(made.settings, at="before the write lock", nth=3, do="wait", pause=0.1)
    run.wait_until_trapped()
    committed = made.query("SELECT sum(inserted + updated), max(cursor) FROM am_backfill_chunk")[0]
    with write_lock(made.path):
        run.release()
        assert run.wait() == 30, run.output
    assert "locked by another writer" in run.output
    assert f"It stopped at {committed[1]} with {committed[0]} rows written" in run.output
    assert "Traceback" not in run.output
    assert made.query("SELECT sum(inserted + updated), max(cursor) FROM am_backfill_chunk")[0] == committed
    again = command(made.settings)
    assert again.wait() == 0, again.output
    check(made)


def test_a_lock_that_is_let_go_meanwhile_is_waited_out(sample: Any, command: Any, check: Any) -> None:
    """The chunk tries again by itself and goes on from its cursor."""
    made = sample(lock_timeout_seconds=0.2, chunk_rows=1000)
    run = command(made.settings, at="before the write lock", nth=3, do="wait", pause=1.5)
    run.wait_until_trapped()
    with write_lock(made.path):
        run.release()
        wait_until_said(run, "locked by another writer")
    assert run.wait() == 0, run.output
    assert check(made).chunks[0]["attempts"] == 2


# -- the schema --------------------------------------------------------------------------------------


def test_a_column_added_in_the_middle_of_a_chunk_stops_it_with_its_cursor_kept(
    sample: Any, command: Any, check: Any
) -> None:
    made = sample()
    run = command(made.settings, at="before the write lock", nth=3, do="wait")
    run.wait_until_trapped()
    rows, cursor = made.query("SELECT sum(inserted + updated), max(cursor) FROM am_backfill_chunk")[0]
    made.query("ALTER TABLE am_entity_facts ADD COLUMN reviewed_by TEXT")
    run.release()
    assert run.wait() in (0, 30), run.output
    assert "the schema changed while the chunk ran" in run.output
    assert f"It stopped at {cursor} with {rows} rows written" in run.output
    assert "Traceback" not in run.output
    again = command(made.settings)
    assert again.wait() == 0, again.output
    written = check(made)
    assert written.chunks[0]["attempts"] == 2


def test_a_column_renamed_in_the_middle_of_a_chunk_ends_the_run_until_it_is_mended(
    sample: Any, command: Any, check: Any, dump: Any
) -> None:
    made = sample()
    run = command(made.settings, at="before the write lock", nth=6, do="wait")
    run.wait_until_trapped()
    made.query("ALTER TABLE am_source RENAME COLUMN source_url TO url")
    rows = dump(made.path)
    of_chunks = (
        "SELECT chunk, plan_id, cursor, eligible, inserted, updated, unchanged, rejected, state FROM am_backfill_chunk"
    )
    chunks = made.query(of_chunks)
    run.release()
    assert run.wait() == 30, run.output
    assert "the schema changed while the chunk ran" in run.output
    assert 'no column "source_url"' in run.output and '"url"' in run.output
    assert "Traceback" not in run.output
    assert made.query(of_chunks) == chunks
    after = dump(made.path)
    assert {**after, "am_backfill_chunk": None} == {**rows, "am_backfill_chunk": None}
    last_errors = [error for (error,) in made.query("SELECT last_error FROM am_backfill_chunk") if error is not None]
    assert last_errors and all("schema changed" in error for error in last_errors)
    made.query("ALTER TABLE am_source RENAME COLUMN url TO source_url")
    again = command(made.settings)
    assert again.wait() == 0, again.output
    check(made)
