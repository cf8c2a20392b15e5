"""The real command line: exit codes, one clear message and no traceback, and the ways back from lost files.

Each call costs a second or two, so only what needs Luigi is here; the rest is tested in process.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.signer import Signer
from tasks.backfill import attempt
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text

TASK_FAILED, SCHEDULING_ERROR, UNHANDLED = 30, 35, 40


@pytest.fixture
def facts(store: Any) -> Any:
    """A store with 25 facts, of which one is to be rejected."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1, "confidence": 7 if key == 25 else 0.5} for key in range(1, 26))
    return made


def assert_refused(finished: Any, said: str, *, code: int = TASK_FAILED) -> None:
    """One clear message, and nothing of the program's inside."""
    assert said in finished.stderr
    assert "Traceback" not in finished.output
    assert 'File "' not in finished.output
    assert finished.code == code


# -- the way of a run ----------------------------------------------------------------------------------


def test_a_rehearsal_then_the_run_then_nothing_more_to_do(facts: Any, settings: Any, luigi: Any, dump: Any) -> None:
    config = settings(facts, small=True)
    before = dump(facts.path)
    dry = luigi("Report", "--dry-run", settings=config, key="5e" * 32)
    assert (dry.code, dump(facts.path)) == (0, before)
    assert "dry run, nothing was written" in dry.stdout
    live = luigi("Report", settings=config, key="5e" * 32)
    assert live.code == 0
    report = live.report()
    assert report["rows"] == {"eligible": 25, "inserted": 24, "updated": 0, "unchanged": 0, "rejected": 1}
    assert report["dry_run"]["matches"] is True
    assert report["signatures"]["signed"] == 24
    assert "5e" * 32 not in live.output
    assert "dry run of this plan: the same in the facts of each outcome in every chunk" in live.stdout
    assert live.stdout.splitlines()[-1].startswith("report: ")
    after = dump(facts.path)
    again = luigi("Report", settings=config, run_id="run-2")
    assert (again.code, again.report("run-2")["rows"]["inserted"]) == (0, 0)
    changed = {table for table, rows in dump(facts.path).items() if rows != after[table]}
    assert changed <= {"am_backfill_run", "am_backfill_chunk", "am_backfill_batch", "am_backfill_reject"}


def test_one_chunk_alone_and_then_the_rest_with_two_workers(facts: Any, settings: Any, luigi: Any) -> None:
    config = settings(facts, small=True)
    assert luigi("BackfillChunk", "--chunk", "2", settings=config).code == 0
    assert {fact_id for fact_id, _, _ in facts.log()} == {str(key) for key in range(11, 21)}
    finished = luigi("Report", "--workers", "2", settings=config)
    assert (finished.code, len(facts.log())) == (0, 24)
    assert "Traceback" not in finished.output


def test_lost_and_torn_markers_come_back_from_the_ledger(facts: Any, settings: Any, luigi: Any, dump: Any) -> None:
    config = settings(facts, small=True)
    assert luigi("Report", settings=config).code == 0
    live = Path(config.state_dir) / "run-1" / "live"
    first, before = json.loads((live / "report.json").read_text(encoding="utf-8")), dump(facts.path)
    (live / "report.json").write_text("{", encoding="utf-8")
    (live / "chunks" / "chunk-000001.json").write_text("", encoding="utf-8")
    (live / "chunks" / "chunk-000002.json").unlink()
    assert luigi("Report", settings=config).code == 0
    assert json.loads((live / "chunks" / "chunk-000002.json").read_text(encoding="utf-8"))["rows"]["inserted"] == 10
    second = json.loads((live / "report.json").read_text(encoding="utf-8"))
    assert second["rows"] == first["rows"]
    assert dump(facts.path)["am_fact_attestation_log"] == before["am_fact_attestation_log"]
    shutil.rmtree(config.state_dir)
    assert luigi("Report", settings=config).code == 0
    third = json.loads((live / "report.json").read_text(encoding="utf-8"))
    assert (third["plan_id"], third["rows"]) == (first["plan_id"], first["rows"])
    assert len(facts.log()) == 24


def test_a_budget_ends_the_run_at_that_row_and_is_no_failure(facts: Any, luigi: Any) -> None:
    finished = luigi("Report", "--max-rows", "9", store=facts)
    report = finished.report()
    assert (finished.code, report["stop_reason"], report["rows"]["inserted"]) == (0, "row_budget", 9)
    assert (report["remaining"], len(facts.log())) == (16, 9)


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)], ids=["live", "dry"])
def test_drift_ends_in_one_message_before_any_row_is_touched(
    store: Any, settings: Any, luigi: Any, dump: Any, arguments: tuple[str, ...]
) -> None:
    made = store(lambda schema: schema.rename_column("am_source", "source_url", "url"))
    made.add_fact(1)
    before = dump(made.path)
    config = settings(made, tables={"facts": {"key": "fact_id"}})
    finished = luigi("Report", *arguments, settings=config)
    assert_refused(finished, 'am_entity_facts: no column "fact_id"')
    assert 'Its primary key is "id": set key: id.' in finished.stderr
    assert 'Did you mean "url"? Set source_url: url.' in finished.stderr
    assert dump(made.path) == before
    assert not (Path(config.state_dir) / "run-1" / "plan.json").exists()


def test_a_missing_database_is_never_created(tmp_path: Path, luigi: Any) -> None:
    path = tmp_path / "none.db"
    finished = luigi("Report", env={"AUTONOMATH_DB_PATH": str(path)})
    assert_refused(finished, f"database {path}: there is no such file, and it is never created")
    assert not path.exists()


def test_a_file_that_is_no_database_is_one_message(tmp_path: Path, luigi: Any) -> None:
    path = tmp_path / "odd.db"
    path.write_bytes(b"not a database\n" * 200)
    finished = luigi("Report", env={"AUTONOMATH_DB_PATH": str(path)})
    assert_refused(finished, f"database {path}: not a SQLite database (or an encrypted one). Nothing was written.")


def test_a_key_that_is_wrong_is_one_message_that_does_not_show_it(facts: Any, luigi: Any, dump: Any) -> None:
    before = dump(facts.path)
    finished = luigi("Report", store=facts, key="5e" * 31)
    assert_refused(finished, "signing key: AUTONOMATH_FACT_SIGN_PRIVATE_KEY has 62 hex digits, expected 64.")
    assert "5e5e" not in finished.output
    assert dump(facts.path) == before


@pytest.mark.parametrize(
    ("arguments", "said", "codes"),
    [
        (("--max-rows", "many"), "expected a whole number, found 'many'", {UNHANDLED}),
        (("--dry-run", "maybe"), "expected true or false, found 'maybe'", {UNHANDLED}),
        (
            ("--run-id", "../elsewhere"),
            "--run-id '../elsewhere' is not usable",
            {TASK_FAILED, SCHEDULING_ERROR, UNHANDLED},
        ),
    ],
)
def test_a_parameter_that_makes_no_sense_is_one_message(
    facts: Any, luigi: Any, arguments: tuple[str, ...], said: str, codes: set[int]
) -> None:
    finished = luigi("Report", *arguments, store=facts, run_id=None if "--run-id" in arguments else "run-1")
    assert said in finished.stderr
    assert "Traceback" not in finished.output
    assert finished.code in codes
    assert facts.count("am_fact_metadata") == 0


def test_a_job_file_with_a_fault_is_one_message_with_key_and_line(tmp_path: Path, luigi: Any) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("database: x.db\nstate_dir: s\npacing:\n  bach_rows: 5\n", encoding="utf-8")
    finished = luigi("Report", "--job", str(path))
    assert 'wrong.yaml line 4: unknown key "pacing.bach_rows", did you mean "batch_rows"?' in finished.stderr
    assert "Traceback" not in finished.output
    assert finished.code in (TASK_FAILED, SCHEDULING_ERROR)


def test_a_state_directory_that_is_a_file_is_one_message(facts: Any, luigi: Any, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    finished = luigi("Report", store=facts)
    assert "Traceback" not in finished.output
    assert finished.code in (TASK_FAILED, SCHEDULING_ERROR)
    assert "run-1" in finished.stderr
    assert facts.count("am_fact_metadata") == 0


def test_a_chunk_that_the_plan_does_not_have_is_refused_at_once(facts: Any, luigi: Any) -> None:
    finished = luigi("BackfillChunk", "--chunk", "99", store=facts)
    assert "--chunk 99: the plan of run run-1 has chunks 1 to 1." in finished.stderr
    assert "Traceback" not in finished.output
    assert finished.code in (TASK_FAILED, SCHEDULING_ERROR)
    assert finished.stderr.count("--chunk 99: the plan") == 1  # it does not mend itself, so it is not tried again


def test_a_plan_that_is_not_for_this_command_is_refused(
    facts: Any, settings: Any, paths: Any, luigi: Any, tmp_path: Path
) -> None:
    config = settings(facts)
    plan_backfill(config, paths(config), max_rows=None, created_at=now_text())
    budget = luigi("Report", "--max-rows", "5", settings=config)
    rules = luigi("Report", settings=settings(facts, derivation={"confidence_width": 0.2}))
    for finished, said in ((budget, "was planned with no --max-rows, this command has --max-rows 5"),
                           (rules, "was planned with other tables or another derivation")):  # fmt: skip
        assert said in finished.stderr
        assert "a new --run-id" in finished.stderr
        assert "Traceback" not in finished.output
        assert finished.code in (TASK_FAILED, SCHEDULING_ERROR)
    assert facts.count("am_fact_metadata") == 0


def test_a_rehearsal_that_is_done_fails_once_the_schema_drifts(facts: Any, luigi: Any) -> None:
    assert luigi("Report", "--dry-run", store=facts).code == 0
    assert luigi("Report", "--dry-run", store=facts).code == 0
    facts.execute("ALTER TABLE am_entity_facts RENAME COLUMN id TO fact_id")
    drifted = luigi("Report", "--dry-run", store=facts)
    assert drifted.code == TASK_FAILED
    assert 'no column "id"' in drifted.stderr


def test_the_gate_is_passed_again_for_another_key(facts: Any, luigi: Any) -> None:
    assert "NO SIGNING KEY" in luigi("SchemaVerify", store=facts).stderr
    assert "rows will be signed" in luigi("SchemaVerify", store=facts, key="11" * 32).stderr
    assert luigi("SchemaVerify", store=facts, key="11" * 31).code == TASK_FAILED


def test_ctrl_c_ends_with_a_line_that_says_where_the_chunk_stopped(facts: Any, settings: Any, luigi: Any) -> None:
    process = luigi.start("Report", settings=settings(facts, small=True, pacing={"batch_pause_seconds": 30}))
    end = time.monotonic() + 60
    while facts.count("am_fact_attestation_log") == 0:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "interrupted. It stopped at 4 with 4 rows written; run the same command again, it continues" in stderr
    assert "Traceback" not in stderr


def test_ctrl_c_ends_a_dry_run_with_a_line_too(
    facts: Any, settings: Any, paths: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(facts)
    where = paths(config, dry_run=True)
    plan_backfill(config, where, max_rows=None, created_at=now_text())

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: told.append(kind))
    monkeypatch.setattr(attempt, "rehearse_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        attempt.run_chunk(config, where, 1, progress=lambda _: None)
    assert "chunk 1: interrupted. Nothing was written; run the same command again." in caplog.text
    for error in (KeyboardInterrupt(), ValueError()):
        sys.excepthook(type(error), error, None)
    assert told == [ValueError]


def test_a_key_that_was_rotated_is_warned_of_before_it_signs(facts: Any, settings: Any, luigi: Any) -> None:
    key = "11" * 32
    signer = Signer(key_name="provenance-backfill/sample", seed=bytes.fromhex(key))
    row = {"fact_id": f"key-rotation/{signer.key_id.hex()}/00112233\x1b", "attester": "x", "signature_hex": "ab" * 128}
    facts.insert("am_fact_attestation_log", [row])
    warned = luigi("SchemaVerify", store=facts, key=key)
    assert warned.code == 0 and "WAS ROTATED to 00112233\\x1b with log row 1" in warned.stderr
    assert "ROTATED" not in luigi("SchemaVerify", store=facts, key="22" * 32).stderr


def test_a_marker_of_another_plan_and_a_replaced_database_are_refused(
    facts: Any, settings: Any, paths: Any, run: Any, luigi: Any
) -> None:
    config = settings(facts, small=True)
    run(config)
    plan_backfill(config, paths(config, "run-2"), max_rows=None, created_at=now_text())
    shutil.copytree(paths(config).marker(1).parent, paths(config, "run-2").marker(1).parent)
    foreign = luigi("BackfillChunk", "--chunk", "1", settings=config, run_id="run-2")
    facts.execute("DELETE FROM am_backfill_chunk")
    facts.execute("DELETE FROM am_backfill_run")
    replaced = luigi("Report", settings=config)
    for finished, said in ((foreign, "belongs to plan"), (replaced, "the database was replaced or restored since")):
        assert said in finished.stderr
        assert "Use a new --run-id" in finished.stderr
        assert "Traceback" not in finished.output
        assert finished.code in (TASK_FAILED, SCHEDULING_ERROR)
    assert len(facts.log()) == 24
