"""`--immutable`: a copy is read as a file that nothing writes to, where the auditor says so and only there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import entry_for
from tasks.cli.main import main
from tasks.job.signers import log_signer_of, signer_of

COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "audit": lambda copy: ["audit", "--checkpoint", str(max(copy.parent.parent.rglob("*.checkpoint")))],
    "verify": lambda copy: ["verify"],
    "explain": lambda copy: ["explain", "1"],
    "prove": lambda copy: ["prove", "1"],
}


@pytest.fixture
def copy(store: Any, settings: Any, run: Any, signing_key: str, monkeypatch: Any, tmp_path: Path) -> Path:
    """A copy of a sealed store, alone in a folder, with a job file and a registry beside it."""
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a/{n}", "created_at": "2026-05-01"} for n in range(1, 4))
    loaded = settings(made, small=True)
    run(loaded)
    folder = tmp_path / "copy"
    folder.mkdir()
    shutil.copy(made.path, folder / "copy.db")
    job = {"database": str(folder / "copy.db"), "state_dir": str(tmp_path / "state")}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    signers = ((signer_of(loaded), "rows"), (log_signer_of(loaded), "checkpoints"))
    entries = [entry_for(VerifierKey(s.key_name, s.public_key), use).as_yaml() for s, use in signers]  # type: ignore
    (tmp_path / "keys.yaml").write_text("keys:\n" + "".join(entries))
    return folder / "copy.db"


def ask(copy: Path, command: str, *options: str) -> Result:
    folder = copy.parent.parent
    keys = [] if command == "prove" else ["--keys", str(folder / "keys.yaml")]
    arguments = [*COMMANDS[command](copy), "--job", str(folder / "job.yaml"), *keys, *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_immutable_copy_is_read_and_nothing_is_left_beside_it(command: str, copy: Path) -> None:
    result = ask(copy, command, "--immutable")
    assert result.exit_code == 0, result.output
    assert [file.name for file in copy.parent.iterdir()] == ["copy.db"]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_word_a_copy_is_read_as_a_database_that_others_may_write_to(command: str, copy: Path) -> None:
    result = ask(copy, command)
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in copy.parent.iterdir()) == ["copy.db", "copy.db-shm", "copy.db-wal"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_copy_with_a_log_beside_it_is_not_read_without_it(command: str, copy: Path) -> None:
    Path(f"{copy}-wal").write_bytes(b"what was committed last")
    result = ask(copy, command, "--immutable")
    assert result.exit_code == 3
    assert "holds transactions that belong to it" in result.stderr


def test_a_job_file_cannot_say_it(copy: Path) -> None:
    job = copy.parent.parent / "job.yaml"
    job.write_text(job.read_text() + "immutable: true\n")
    result = ask(copy, "verify")
    assert result.exit_code == 3
    assert 'unknown key "immutable"' in result.stderr
