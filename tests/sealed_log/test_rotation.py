"""A rotation is one row of the log, signed by both keys, and the audit checks it by registered keys only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for, load_registry
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder
from tasks.cli.main import main
from tasks.core.errors import DriftError, SigningKeyError
from tasks.sealed_log.rotate import rotate

OLD = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))
NEW = Signer(key_name="provenance-backfill/sample", seed=bytes(range(200, 232)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
NEW_LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(200, 232)))
OLD_KEY, NEW_KEY, LOG_KEY = (VerifierKey(s.key_name, s.public_key) for s in (OLD, NEW, LOG))
NOW = "2026-05-12T01:23:45.000Z"
ROOT = Path(__file__).parents[2]


def test_a_rotation_is_logged_sealed_and_clean(sealed: Any) -> None:
    done = rotate(sealed.settings, OLD, NEW, now=NOW)
    assert done.leaf == 23
    sealed.seal()
    registry = KeyRegistry((*done.entries("rows", None), entry_for(LOG_KEY, "checkpoints")))
    report = audit(sealed.settings, registry, AuditOrder(checkpoint=sealed.checkpoints[-1], allow_unsigned=True))
    assert report.clean, report.findings
    old, new = done.entries("rows", None)
    assert (old.state, old.until_leaf, new.state, new.from_leaf) == ("superseded", 23, "active", 24)


def test_both_opinions_agree_on_rotations(sealed: Any, agree: Any) -> None:
    rotate(sealed.settings, OLD, NEW, now=NOW)
    sealed.seal()
    fact = f"key-rotation/{OLD.key_id.hex()}/{NEW.key_id.hex()}"
    assert agree(sealed) == {("rotation_invalid", 23, fact)}  # the new key is not in the tests' registry


@pytest.mark.parametrize("halves", ["substr(s, 129) || substr(s, 129)", "substr(s, 1, 128) || substr(s, 1, 128)"])
def test_a_rotation_that_one_key_did_not_sign_is_named(sealed: Any, halves: str) -> None:
    rotate(sealed.settings, OLD, NEW, now=NOW)
    sealed.execute(
        f"UPDATE am_fact_attestation_log SET signature_hex = {halves.replace('s,', 'signature_hex,')} "
        "WHERE fact_id LIKE 'key-rotation/%'"
    )
    keys = (entry_for(OLD_KEY, "rows"), entry_for(NEW_KEY, "rows"), entry_for(LOG_KEY, "checkpoints"))
    order = AuditOrder(checkpoint=sealed.checkpoints[-1], allow_unsigned=True)
    report = audit(sealed.settings, KeyRegistry(keys), order)
    assert [f.verdict.value for f in report.findings] == ["rotation_invalid"]


def test_a_key_does_not_follow_itself(sealed: Any) -> None:
    with pytest.raises(SigningKeyError, match="the old one"):
        rotate(sealed.settings, OLD, OLD, now=NOW)


def test_a_log_without_notes_is_refused_by_name(store: Any) -> None:
    store.execute("ALTER TABLE am_fact_attestation_log DROP COLUMN notes")
    with pytest.raises(DriftError, match='no column "notes"'):
        rotate(store.settings, OLD, NEW, now=NOW)
    store.attest("1")
    assert store.seal().tree_size == 1 and store.audit().clean


@pytest.mark.parametrize("late", [False, True])
def test_either_key_may_seal_up_to_the_rotation_of_the_key_for_checkpoints(
    sealed: Any, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    sealed.attest("before")
    done = rotate(sealed.settings, LOG, NEW_LOG, now=NOW)
    registry = KeyRegistry((entry_for(OLD_KEY, "rows"), *done.entries("checkpoints", None)))
    if late:
        sealed.seal()
        sealed.attest("after")
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(200, 232)).hex())
    sealed.seal()
    for checkpoint in sealed.checkpoints:
        report = audit(sealed.settings, registry, AuditOrder(checkpoint=checkpoint, allow_unsigned=True))
        assert report.clean, report.findings


Rotate = Callable[..., Result]


@pytest.fixture
def registry_file(tmp_path: Path) -> Path:
    """A registry of both keys."""
    path = tmp_path / "keys.yaml"
    entries = [entry_for(OLD_KEY, "rows"), entry_for(LOG_KEY, "checkpoints")]
    path.write_text("# ours\nkeys:\n" + "".join(entry.as_yaml() for entry in entries))
    return path


@pytest.fixture
def run_rotate(sealed: Any, registry_file: Path, monkeypatch: pytest.MonkeyPatch) -> Rotate:
    """`run_rotate(*options, seed=…)` runs `provenance rotate --write` to the key of that seed."""
    monkeypatch.setenv("AUTONOMATH_DB_PATH", str(sealed.path))
    monkeypatch.setenv("PROVENANCE_STATE_DIR", str(sealed.folder / "state"))
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(32)).hex())

    def run(*options: str, seed: bytes = bytes(range(200, 232))) -> Result:
        monkeypatch.setenv("NEW_KEY", seed.hex())
        command = ["rotate", "--new-key-env", "NEW_KEY", "--write", "--keys", str(registry_file), *options]
        return CliRunner().invoke(main, [*command, "--job", str(ROOT / "config" / "backfill.yaml")])

    return run


def test_the_command_rotates_and_writes_the_registry(run_rotate: Rotate, registry_file: Path) -> None:
    result = run_rotate("--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["leaf"] == 23
    found = load_registry(registry_file).find(OLD.key_id.hex())
    assert found is not None and found.state == "superseded"
    assert yaml.safe_load(registry_file.read_text())["keys"][-1]["vkey"] == str(NEW_KEY)
    assert registry_file.read_text().startswith("# ours\n")


@pytest.mark.parametrize("use", ["rows", "checkpoints"])
@pytest.mark.parametrize("is_registered", [True, False])
def test_a_key_of_the_other_use_does_not_follow(
    sealed: Any, run_rotate: Rotate, registry_file: Path, use: str, is_registered: bool
) -> None:
    registry_file.write_text(registry_file.read_text() if is_registered else "keys: []\n")
    before = sealed.path.read_bytes(), registry_file.read_text()
    other = range(32, 64) if use == "rows" else range(32)
    result = run_rotate("--use", use, "--new-key-name", "test/other", seed=bytes(other))
    assert result.exit_code == 3 and "for one thing only" in result.output
    assert (sealed.path.read_bytes(), registry_file.read_text()) == before


def test_a_key_that_was_registered_before_does_not_follow(sealed: Any, run_rotate: Rotate, registry_file: Path) -> None:
    registry_file.write_text(registry_file.read_text() + entry_for(NEW_KEY, "rows").as_yaml())
    before = sealed.path.read_bytes()
    result = run_rotate()
    assert result.exit_code == 3 and f"already, as {NEW_KEY.name} for rows" in result.output
    assert sealed.path.read_bytes() == before


def test_a_revoked_key_hands_nothing_over(sealed: Any, run_rotate: Rotate, registry_file: Path) -> None:
    registry_file.write_text(registry_file.read_text().replace("state: active", "state: revoked", 1))
    before = sealed.path.read_bytes()
    result = run_rotate()
    assert result.exit_code == 3 and "as revoked for rows, expected active" in result.output
    assert sealed.path.read_bytes() == before


def test_a_registry_that_cannot_be_written_leaves_its_entries_on_the_terminal(
    sealed: Any, run_rotate: Rotate, registry_file: Path
) -> None:
    registry_file.write_text(registry_file.read_text().replace("from_leaf: 0", "from_leaf: 1000", 1))
    before = registry_file.read_text()
    result = run_rotate()
    assert result.exit_code == 3 and "The rotation IS in the log, at attestation" in result.output
    assert str(NEW_KEY) in result.output and registry_file.read_text() == before
    assert [path.name for path in registry_file.parent.glob("*keys*")] == ["keys.yaml"]
