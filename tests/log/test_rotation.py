"""A rotation is one row of the log, signed by both keys, and the audit checks it by registered keys only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tasks.attestation.keyring import KeyRegistry, entry_for, load_registry
from tasks.attestation.notes import VerifierKey
from tasks.attestation.signing import Signer
from tasks.cli import main
from tasks.engine.auditing import AuditOrder, audit
from tasks.engine.errors import DriftError, SigningKeyError
from tasks.engine.rotation import rotate

OLD = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))
NEW = Signer(key_name="provenance-backfill/sample", seed=bytes(range(200, 232)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
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


def test_the_command_rotates_and_writes_the_registry(
    sealed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMATH_DB_PATH", str(sealed.path))
    monkeypatch.setenv("PROVENANCE_STATE_DIR", str(sealed.folder / "state"))
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(32)).hex())
    monkeypatch.setenv("NEW_KEY", bytes(range(200, 232)).hex())
    keys = tmp_path / "keys.yaml"
    entries = [entry_for(OLD_KEY, "rows"), entry_for(LOG_KEY, "checkpoints")]
    keys.write_text("# ours\nkeys:\n" + "".join(entry.as_yaml() for entry in entries))
    command = ["rotate", "--new-key-env", "NEW_KEY", "--write", "--keys", str(keys), "--json"]
    result = CliRunner().invoke(main, [*command, "--job", str(ROOT / "config" / "backfill.yaml")])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["leaf"] == 23
    found = load_registry(keys).find(OLD.key_id.hex())
    assert found is not None and found.state == "superseded"
    assert yaml.safe_load(keys.read_text())["keys"][-1]["vkey"] == str(NEW_KEY)
    assert keys.read_text().startswith("# ours\n")
