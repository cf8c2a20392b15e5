"""A command that a message prints runs as it is printed, against the database that the message is about."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import DriftError, ProofError
from tasks.explain import lookup
from tasks.job.commands import audit_command, keygen_command, luigi_command, provenance_command
from tasks.job.paths import checkpoint_folder
from tasks.job.settings import load_settings
from tasks.runs.gate import gate_schema
from tasks.sealed_log.prove import prove

ROOT = Path(__file__).parents[2]


def printed(message: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"`([^`]+)`", message)))


def run_as_printed(command: str, folder: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """In a shell of its own, which knows nothing of the variables of the process that printed it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AUTONOMATH", "PROVENANCE"))}
    return subprocess.run(
        command, shell=True, cwd=folder, env={**clean, "PATH": path, **environ}, text=True, capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "a job; of mine"
    folder.mkdir()
    path = folder / "job file.yaml"
    path.write_text("database: ${MY_DATABASE}\nstate_dir: ${MY_STATE:-nowhere}\n", encoding="utf-8")
    return path


def test_the_mend_of_drift_runs_as_printed_against_the_same_database(
    store: Any, paths: Any, job: Path, tmp_path: Path
) -> None:
    made = store(lambda schema: schema.sidecar_missing())
    environ = {"MY_DATABASE": str(made.path), "MY_STATE": str(tmp_path / "the state")}
    settings = load_settings(job, environ)
    with pytest.raises(DriftError) as drift:
        gate_schema(settings, paths(settings))
    (command,) = printed(str(drift.value))
    done = run_as_printed(command)
    assert done.returncode == 0, done.stdout + done.stderr
    gate_schema(settings, paths(settings))


def test_a_fact_that_is_not_sealed_is_sealed_by_the_command_that_says_so(
    store: Any, settings: Any, run: Any, signing_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store()
    made.add_source(1, "https://example.test/1")
    made.add_facts([{"id": 1, "source_id": 1}])
    config = settings(made)
    run(config)
    with pytest.raises(ProofError, match="is not sealed yet") as refused:
        prove(config, "1")
    (command,) = printed(str(refused.value))
    done = run_as_printed(command, PROVENANCE_CHECKPOINT_PRIVATE_KEY=bytes(range(32)).hex())
    assert done.returncode == 0, done.stdout + done.stderr
    assert prove(config, "1")


def test_a_key_is_made_by_the_command_that_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for made in ("keys/rows.key", "keys/rows-2.key"):
        (command,) = printed(keygen_command("example.org/a b;".replace(" ", "-"), "rows"))
        done = run_as_printed(command, tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / made).exists()


def test_an_audit_names_the_largest_checkpoint_that_lies_there_and_no_command_where_none_does(
    store: Any, settings: Any
) -> None:
    config = settings(store())
    assert printed(audit_command(config)) == []
    folder = checkpoint_folder(config.state_dir, config.sealing.origin)
    folder.mkdir(parents=True)
    for size in (3, 20):
        (folder / f"{size:020d}.checkpoint").touch()
    assert f"--checkpoint {folder}/{20:020d}.checkpoint --job {config.job_file}`" in audit_command(config)


def test_no_database_that_may_hold_a_password_is_printed(job: Path) -> None:
    settings = load_settings(job, {"MY_DATABASE": "postgresql://u:hush@h/d", "MY_STATE": "s"})
    for command in (luigi_command(settings, "Report"), provenance_command(settings, "seal")):
        assert "hush" not in command and "MY_STATE=s " in command


def test_tables_that_could_be_meant_are_listed_the_likeliest_first_and_counted(
    store: Any, settings: Any, paths: Any
) -> None:
    made = store(
        lambda schema: schema.rename_table("am_entity_facts", "zz_wissen").then(
            *(f"CREATE TABLE t{number:03d} (id INTEGER PRIMARY KEY)" for number in range(30))
        )
    )
    config = settings(made)
    with pytest.raises(DriftError) as drift:
        gate_schema(config, paths(config))
    listed = re.search(r"the likeliest first: (.+?)\. Set tables\.facts\.name\.", str(drift.value))
    assert listed is not None
    names = listed[1].split(", ")
    assert names[0] == "zz_wissen"
    assert len(names) == 12 and names[-1].endswith(" more")
    shown = len(names) - 1 + 1
    assert int(names[-1].split()[-2]) == 31 - shown


@pytest.mark.parametrize("asks", ["with its connection", "with a path alone"])
def test_the_mend_that_a_lookup_logs_runs_as_printed_against_the_same_database(
    asks: str, store: Any, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = store(lambda schema: schema.sidecar_missing())
    monkeypatch.setenv("MY_DATABASE", str(made.path))
    monkeypatch.setenv("MY_STATE", str(tmp_path / "the state"))
    with closing(sqlite3.connect(made.path)) as connection:
        lookup(["1"], job=job, connection=connection if asks == "with its connection" else None)
    (command,) = printed(caplog.messages[0])
    assert f"MY_DATABASE={made.path} " in command and str(job) in command
    done = run_as_printed(command)
    assert str(made.path) in done.stdout + done.stderr


def test_the_mend_of_a_lookup_elsewhere_is_about_that_database_or_says_what_to_do_first(
    store: Any, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = store(lambda schema: schema.sidecar_missing())
    other = settings(store(name="other.db"))
    variable = tmp_path / "variable.yaml"
    variable.write_text("database: ${AUTONOMATH_DB_PATH:-var/none.db}\nstate_dir: nowhere\n", encoding="utf-8")
    lookup(["1"], job=variable, database=made.path)
    lookup(["1"], job=other.job_file, database=made.path)
    (command,) = printed(caplog.messages[0])
    assert f"AUTONOMATH_DB_PATH={made.path} " in command and "But first" not in caplog.messages[0]
    assert f"But first let the key database of {other.job_file} name {made.path}" in caplog.messages[1]
