"""Plan, dry run, backfill, seal and report on a store that was written from the protocols alone."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import luigi
from support import memory_store
from support.memory_facts import ATTESTED_BEFORE, EXPECTED, ODD, URL, WRITTEN, audited, sound
from support.memory_store.state import StoredFact

from tasks import Report
from tasks.job.paths import RunPaths


def test_the_store_in_memory_is_written_from_the_protocols_alone() -> None:
    modules = [*Path(memory_store.__path__[0]).glob("*.py")]
    assert len(modules) > 5
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith(("apsw", "sqlite3", "tasks.stores.sqlite"))], module


def test_a_whole_run_attests_every_fact_once(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory([*sound(30), *ODD], ATTESTED_BEFORE), job()
    report = run(settings)
    assert report["rows"] == {"eligible": 47, **EXPECTED}
    assert report["signatures"]["signed" if signed else "placeholder"] == WRITTEN
    assert report["remaining"] == 10
    metadata, log = database.state.metadata, database.state.log.values()
    assert len(log) == WRITTEN
    assert metadata.keys() - {entry.fact_id for entry in log} == {"47", "48"}
    for entry in log:
        blob = metadata[entry.fact_id].ed25519_sig
        assert (blob[8:72] if signed else blob).hex() == entry.signature_hex


def test_a_dry_run_leaves_the_store_as_it_was_and_foretells_the_run(
    memory: Any, job: Any, run: Any, signed: bool
) -> None:
    database, settings = memory([*sound(30), *ODD], ATTESTED_BEFORE), job(rehearsal={"compare": "content"})
    before = database.state
    dry = run(settings, dry_run=True)
    assert database.state is before
    assert dry["rows"] == {"eligible": 47, **EXPECTED}
    live = run(settings)
    assert live["dry_run"]["matches"] is True
    assert live["dry_run"]["not_compared"] == []


def test_running_again_on_what_is_done_writes_nothing(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(30)), job()
    run(settings)
    done = database.state
    assert run(settings)["rows"]["inserted"] == 30
    again = run(settings, "run-2")
    assert again["rows"] == {"eligible": 30, "inserted": 0, "updated": 0, "unchanged": 30, "rejected": 0}
    assert database.state == done


def test_runs_with_a_budget_take_turns_until_nothing_is_left(memory: Any, job: Any, run: Any, seals: None) -> None:
    database, settings = memory(sound(20)), job()
    turns = []
    for number in range(4):
        known = set(database.state.metadata)
        run(settings, f"run-{number}", max_rows=7)
        turns.append(database.state.metadata.keys() - known)
        if number == 0:
            database.state.facts.append(StoredFact(-1, "https://arrived.test"))
    assert turns == [set(map(str, range(1, 8))), set(map(str, range(8, 15))), {*map(str, range(15, 21)), "-1"}, set()]


def test_a_fact_that_changed_is_attested_anew_where_the_job_file_says_so(
    memory: Any, job: Any, run: Any, signed: bool
) -> None:
    database, settings = memory(sound(12)), job(derivation={"on_change": "reattest"})
    run(settings)
    database.state.facts[3] = database.state.facts[3]._replace(own_url="https://moved.test")
    assert run(settings, "run-2")["rows"]["updated"] == 1
    assert database.state.metadata["4"].source_doc == "https://moved.test"
    assert json.loads(database.state.log[13].notes) == {"supersedes": 4, "type": "update"}
    assert audited(settings).clean


def test_a_row_that_is_not_as_it_was_logged_is_left_as_evidence(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(12)), job()
    run(settings)
    del database.state.metadata["4"]
    assert run(settings, "run-2")["rejects"] == {"not_as_logged": 1}
    assert "4" not in database.state.metadata
    run(settings, "run-3", because="the row was lost")
    assert json.loads(database.state.log[13].notes)["because"] == "the row was lost"


def test_the_tasks_run_on_it_by_its_url(memory: Any, job: Any, signed: bool) -> None:
    database, settings = memory([*sound(30), *ODD], ATTESTED_BEFORE), job()
    asked = {"job": settings.job_file, "run_id": "run-1"}
    for mode in (True, False):
        assert luigi.build([Report(**asked, dry_run=mode)], local_scheduler=True, log_level="ERROR")
    assert len(database.state.log) == WRITTEN
    report = json.loads(RunPaths(Path(settings.state_dir), "run-1", False).report.read_text(encoding="utf-8"))
    assert (report["database"], report["dry_run"]["matches"]) == (URL, True)


WITHOUT = """
import sys
sys.modules["apsw"] = None
from pathlib import Path
from support.memory_store.session import MemorySession
from support.memory_store.state import Database, StoredFact
from support.memory_store.store import SCHEME, kept, memory_store
from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.job.paths import RunPaths
from tasks.job.settings import load_settings
from tasks.reporting.close import close_run
from tasks.runs.gate import gate_schema
from tasks.sealed_log.seal import seal_run
from tasks.stores.open import KINDS

settings = load_settings(Path(sys.argv[1]))
KINDS[SCHEME] = memory_store
kept[settings.database] = database = Database(settings.database)
database.state.facts += [StoredFact(number, f"https://example.test/{number}") for number in range(25)]
for dry_run in (True, False):
    paths = RunPaths(Path(settings.state_dir), "run-1", dry_run)
    gate_schema(settings, paths)
    for chunk in plan_backfill(settings, paths, max_rows=None, created_at=now_text()).chunks:
        run_chunk(settings, paths, chunk.chunk, progress=lambda _: None)
    seal_run(settings, paths)
    print(close_run(settings, paths))
print(len(database.state.log), "logged")
"""


def test_no_room_needs_the_library_of_a_store_that_is_not_opened(job: Any, seals: None) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(memory_store.__path__[0]).parents[1])}
    command = [sys.executable, "-c", WITHOUT, job().job_file]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("25 logged\n"), done.stderr
