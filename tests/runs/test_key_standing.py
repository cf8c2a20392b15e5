"""A key that was superseded or revoked signs nothing, whenever it is asked to: by the registry or by the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, RegisteredKey, entry_for
from tasks.attestation.signer import Signer
from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import crash_points
from tasks.core.clock import now_text
from tasks.core.durable import read_json
from tasks.core.errors import KeyRegistryError, SigningKeyError
from tasks.job.paths import sign_paths
from tasks.rows.sign_pending import plan_signing
from tasks.rows.sign_pending import run_chunk as sign_chunk
from tasks.runs.gate import gate_schema
from tasks.sealed_log.rotate import refuse_unfit, rotate
from tasks.sealed_log.seal import seal_log

TODAY = now_text()[:10]
NOW = "2026-05-12T01:23:45.000Z"
ROWS_VARIABLE, LOG_VARIABLE = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
OLD, NEW = (Signer(key_name="provenance-backfill/sample", seed=bytes([byte]) * 32) for byte in (0x5E, 0x6F))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes([0x33]) * 32)

Registry = Callable[..., Path]


class Stop(Exception):
    """Stands for whatever ends a process."""


def entry(signer: Signer, use: Any = "rows", **changes: Any) -> RegisteredKey:
    key = VerifierKey(changes.pop("name", signer.key_name), signer.public_key)
    return entry_for(key, use).model_copy(update=changes)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """`registry(*entries)` is config/keys.yaml of the folder in which everything runs here."""
    (tmp_path / "here" / "config").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")

    def write(*entries: RegisteredKey, path: str = "config/keys.yaml") -> Path:
        Path(path).write_text(
            "keys: []\n" if not entries else "keys:\n" + "".join(one.as_yaml() for one in entries), encoding="utf-8"
        )
        return Path(path)

    return write


@pytest.fixture
def ready(store: Any, settings: Any, paths: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """(store, settings, paths): three chunks, planned, the gate passed, and the old key configured."""
    monkeypatch.setenv(ROWS_VARIABLE, "5e" * 32)
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in range(1, 26))
    config = settings(made, small=True)
    gate_schema(config, paths(config))
    plan_backfill(config, paths(config), max_rows=None, created_at=f"{TODAY}T00:00:00.000Z")
    return made, config, paths(config)


def attempt(config: Any, where: Any, chunk: int) -> None:
    run_chunk(config, where, chunk, progress=lambda _: None)


ENDED = {
    "superseded": {"state": "superseded", "until_leaf": 0},
    "revoked": {"state": "revoked"},
    "revoked from a leaf on": {"state": "revoked", "revoked_at_leaf": 1000},
}


@pytest.mark.parametrize("name", [OLD.key_name, "another/name"])
@pytest.mark.parametrize("ended", ENDED)
def test_a_key_whose_public_key_the_registry_calls_ended_signs_no_chunk(
    ended: str, name: str, ready: Any, registry: Registry, dump: Any
) -> None:
    made, config, where = ready
    attempt(config, where, 1)
    registry(entry(OLD, name=name, **ENDED[ended]))
    before = dump(made.path)
    with pytest.raises(
        SigningKeyError, match=rf"keys.yaml calls its public key {ended.split()[0]}.*Nothing was written"
    ):
        attempt(config, where, 2)
    with pytest.raises(SigningKeyError, match="such a key signs nothing"):
        gate_schema(config, where)
    assert dump(made.path) == before


def test_a_key_that_the_registry_calls_active_or_does_not_know_signs(ready: Any, registry: Registry) -> None:
    made, config, where = ready
    registry(entry(NEW, state="revoked"))
    attempt(config, where, 1)
    registry(entry(OLD))
    attempt(config, where, 2)
    assert made.count("am_fact_metadata") == 20


def test_where_no_registry_is_at_hand_that_beside_the_job_file_counts(
    ready: Any, registry: Registry, tmp_path: Path
) -> None:
    _, config, where = ready
    beside = config.model_copy(update={"job_file": str(tmp_path / "backfill.yaml")})
    registry(entry(OLD, state="revoked"), path=str(tmp_path / "keys.yaml"))
    with pytest.raises(SigningKeyError, match="calls its public key revoked"):
        attempt(beside, where, 1)


def test_a_registry_that_cannot_be_read_stops_what_would_sign(ready: Any, registry: Registry) -> None:
    made, config, where = ready
    registry().write_text("keys: 7\n", encoding="utf-8")
    with pytest.raises(KeyRegistryError, match="expected the one key"):
        attempt(config, where, 1)
    assert made.count("am_fact_metadata") == 0


@pytest.mark.parametrize("ended", ENDED)
def test_a_key_for_checkpoints_that_was_ended_seals_nothing_and_lets_no_chunk_write(
    ended: str, ready: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch, dump: Any
) -> None:
    made, config, where = ready
    attempt(config, where, 1)
    monkeypatch.setenv(LOG_VARIABLE, "33" * 32)
    registry(entry(OLD), entry(LOG, "checkpoints", **ENDED[ended]))
    before = dump(made.path)
    with pytest.raises(SigningKeyError, match=r"sealing key: .*such a key signs nothing"):
        seal_log(config, run_id=None)
    with pytest.raises(SigningKeyError, match=r"sealing key: .*such a key signs nothing"):
        attempt(config, where, 2)
    assert dump(made.path) == before and not list(Path(config.state_dir).rglob("*.checkpoint"))


def test_a_key_that_was_ended_signs_no_placeholder(
    ready: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch, dump: Any
) -> None:
    made, config, where = ready
    monkeypatch.delenv(ROWS_VARIABLE)
    attempt(config, where, 1)
    monkeypatch.setenv(ROWS_VARIABLE, "5e" * 32)
    signing = sign_paths(config.state_dir, "run-1")
    plan_signing(config, signing)
    registry(entry(OLD, state="revoked"))
    before = dump(made.path)
    with pytest.raises(SigningKeyError, match="such a key signs nothing"):
        sign_chunk(config, signing, 1, progress=lambda _: None)
    with pytest.raises(SigningKeyError, match="such a key signs nothing"):
        plan_signing(config, sign_paths(config.state_dir, "run-2"))
    assert dump(made.path) == before


# -- a run that was interrupted -----------------------------------------------------------------------


def blobs(made: Any) -> list[str]:
    """Who signed each metadata row, by the row itself."""
    return [blob[72:].hex() for (blob,) in made.rows("SELECT ed25519_sig FROM am_fact_metadata")]


def test_a_run_goes_on_with_the_key_that_follows_and_says_which_signed_what(
    ready: Any, registry: Registry, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted within a chunk: its marker tells of both keys, as do the report and the ledger's batches."""
    made, config, where = ready
    registry(entry(OLD))
    attempt(config, where, 3)

    def stop(name: str) -> None:
        if name == "before the write lock" and made.count("am_fact_metadata") == 9:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(crash_points, "reach", stop)
        attempt(config, where, 1)
    done = rotate(config, OLD, NEW, now=NOW)
    registry(*done.entries("rows", None))
    with pytest.raises(SigningKeyError):
        attempt(config, where, 1)
    monkeypatch.setenv(ROWS_VARIABLE, "6f" * 32)
    report = run(config)
    old, new = OLD.key_id.hex(), NEW.key_id.hex()
    expected = {"signed": 25, "placeholder": 0, "key_id": new, "key_ids": {old: 9, new: 16}}
    assert report["signatures"] == expected
    assert Counter(blobs(made)) == Counter(expected["key_ids"])
    by_chunk = {chunk["chunk"]: chunk["signatures"]["key_ids"] for chunk in report["chunks"]}
    assert by_chunk == {1: {old: 4, new: 6}, 2: {new: 10}, 3: {old: 5}}
    assert (read_json(where.marker(1), root=Path(config.state_dir)) or {})["signatures"]["key_ids"] == by_chunk[1]
    assert f"signed with keys {old} (9 rows), {new} (16 rows)" in where.report_markdown.read_text(encoding="utf-8")
    where.marker(1).unlink()
    assert run(config)["signatures"] == expected


def test_a_dry_run_tells_of_its_key_and_that_another_one_signed(
    store: Any, settings: Any, run: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROWS_VARIABLE, "5e" * 32)
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in range(1, 26))
    config = settings(made, small=True)
    foreseen = run(config, dry_run=True)
    old, new = OLD.key_id.hex(), NEW.key_id.hex()
    assert foreseen["signatures"] == {"signed": 25, "placeholder": 0, "key_id": old, "key_ids": {old: 25}}
    monkeypatch.setenv(ROWS_VARIABLE, "6f" * 32)
    report = run(config)
    assert report["signatures"]["key_ids"] == {new: 25}
    assert report["dry_run"]["differences"] == [f"signed with key {new}, the dry run had key {old}"]


# -- a rotation in the log ---------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["by the registry", "by the log alone"])
def test_a_live_run_after_a_dry_run_of_the_same_id_does_not_sign_with_a_key_that_was_rotated_between(
    told: str, store: Any, settings: Any, run: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch, paths: Any
) -> None:
    monkeypatch.setenv(ROWS_VARIABLE, "5e" * 32)
    made = store()
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in range(1, 26))
    config = settings(made, small=True)
    registry(entry(OLD))
    run(config, dry_run=True)
    live = paths(config)
    done = rotate(config, OLD, NEW, now=NOW)
    registry(*done.entries("rows", None)) if told == "by the registry" else registry(entry(OLD), entry(NEW))
    plan_backfill(config, live, max_rows=None, created_at=f"{TODAY}T00:00:00.000Z")
    with pytest.raises(SigningKeyError, match=r"superseded|was rotated to .* with log row 1"):
        attempt(config, live, 1)
    with pytest.raises(SigningKeyError):
        run(config)
    assert made.count("am_fact_metadata") == 0 and made.count("am_backfill_run") == 0
    monkeypatch.setenv(ROWS_VARIABLE, "6f" * 32)
    assert run(config)["signatures"]["signed"] == 25


def test_a_rotation_of_the_key_for_checkpoints_ends_it_too(
    ready: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config, where = ready
    monkeypatch.setenv(LOG_VARIABLE, "33" * 32)
    attempt(config, where, 1)
    follows = Signer(key_name=LOG.key_name, seed=bytes([0x44]) * 32)
    rotate(config, LOG, follows, now=NOW)
    registry(entry(LOG, "checkpoints"), entry(follows, "checkpoints"))
    with pytest.raises(SigningKeyError, match=r"sealing key: .* was rotated"):
        seal_log(config, run_id=None)
    monkeypatch.setenv(LOG_VARIABLE, "44" * 32)
    assert seal_log(config, run_id=None).tree_size == 11


FORGED = {
    "by nobody": ("ab" * 128, "notes"),
    "by the new key alone": ("substr(signature_hex, 129) || substr(signature_hex, 129)", "notes"),
    "over other words": ("signature_hex", "replace(notes, '2026', '2025')"),
    "with no notes": ("signature_hex", "NULL"),
    "with notes that nest without end": ("signature_hex", f"'{'[' * 100_000}'"),
}


@pytest.mark.parametrize("forged", [*FORGED, "to a key that nobody registered"])
def test_a_row_that_only_says_that_a_key_was_rotated_is_warned_of_and_stops_nothing(
    forged: str, ready: Any, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    made, config, where = ready
    rotate(config, OLD, NEW, now=NOW)
    if forged in FORGED:
        signature, notes = FORGED[forged]
        signature = f"'{signature}'" if forged == "by nobody" else signature
        made.execute(f"UPDATE am_fact_attestation_log SET signature_hex = {signature}, notes = {notes}")
        registry(entry(OLD), entry(NEW))
    else:
        registry(entry(OLD))
    attempt(config, where, 1)
    assert f"WAS ROTATED to {NEW.key_id.hex()} with log row 1" in caplog.text
    assert made.count("am_fact_metadata") == 10


def test_a_key_that_was_ended_under_another_name_hands_nothing_over() -> None:
    registry = KeyRegistry((entry(OLD, name="another/name", state="revoked"),))
    with pytest.raises(KeyRegistryError, match="only a key that is trusted can hand over"):
        refuse_unfit(OLD, NEW, "rows", registry)
