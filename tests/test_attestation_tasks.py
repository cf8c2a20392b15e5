"""VerifyAttestations and SignPending on the real command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import entry_for
from tasks.attestation.signer import Signer

SEED = bytes(range(100, 132))
FAILED = 30


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    signer = Signer(key_name="provenance-backfill/sample", seed=SEED)
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + entry_for(VerifierKey(signer.key_name, signer.public_key), "rows").as_yaml())
    return path


@pytest.fixture
def unsigned(store: Any, settings: Any, run: Any) -> Any:
    """(store, settings) of 45 facts with placeholders: five chunks."""
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a/{n}", "created_at": "2026-05-01"} for n in range(1, 46))
    loaded = settings(made, small=True)
    run(loaded)
    return made, loaded


@pytest.mark.parametrize("seed", [bytes(range(32, 64)), None])
def test_what_was_signed_late_is_sealed_at_once_where_there_is_a_key(
    unsigned: Any, luigi: Any, monkeypatch: pytest.MonkeyPatch, seed: bytes | None
) -> None:
    store, settings = unsigned
    if seed:
        monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", seed.hex())
    signed = luigi("SignPending", "--run-id", "v", "--workers", "2", settings=settings, key=SEED.hex())
    assert signed.code == 0, signed.output
    folder = Path(settings.state_dir) / "v" / "sign"
    sealed = json.loads((folder / "sign.json").read_text(encoding="utf-8"))["sealed"]
    assert (sealed["state"], sealed["unsealed_rows"]) == (("sealed", 0) if seed else ("no_key", 90))
    said = "log: sealed, 90 leaves (90 new)" if seed else "log: UNSEALED, no key for checkpoints is configured: 90 rows"
    assert said in signed.stdout and said in (folder / "sign.md").read_text(encoding="utf-8")
    assert store.rows("SELECT max(tree_size) FROM am_attestation_checkpoint") == [(90 if seed else None,)]


def test_from_placeholders_to_signatures_and_back_to_an_alarm(unsigned: Any, keys: Path, luigi: Any) -> None:
    store, settings = unsigned
    of_run = ("--run-id", "v", "--workers", "2")
    verify = ("VerifyAttestations", *of_run, "--keys", str(keys))

    found = luigi(*verify, settings=settings)
    assert found.code == FAILED
    assert "NOT all rows are valid: unsigned 45 of 45." in found.output
    assert luigi(*verify, "--allow-unsigned", "true", settings=settings).code == 0

    refused = luigi("SignPending", *of_run, settings=settings)
    assert refused.code == FAILED
    assert "without a key nothing can be signed. Nothing was written." in refused.output
    assert "Traceback" not in refused.output

    signed = luigi("SignPending", *of_run, settings=settings, key=SEED.hex())
    assert signed.code == 0, signed.output
    assert "signing v: 45 of 45 pending rows signed" in signed.stdout
    assert luigi("SignPending", *of_run, settings=settings, key=SEED.hex()).code == 0
    assert store.count("am_fact_attestation_log") == 90

    found = luigi(*verify, settings=settings)
    assert found.code == 0, found.output
    assert "All 45 rows are valid." in found.stdout

    store.execute("UPDATE am_fact_metadata SET source_doc = 'https://evil' WHERE fact_id = '7'")
    found = luigi(*verify, settings=settings)
    assert found.code == FAILED
    report = json.loads((Path(settings.state_dir) / "v" / "verify" / "verify.json").read_text(encoding="utf-8"))
    assert [(fact["fact_id"], fact["state"]) for fact in report["facts"]] == [("7", "invalid")]


def test_a_registry_that_is_missing_fails_with_one_message(unsigned: Any, luigi: Any) -> None:
    _, settings = unsigned
    found = luigi("VerifyAttestations", "--keys", "no/such.yaml", settings=settings)
    assert found.code != 0
    assert "no/such.yaml: there is no such registry of keys" in found.output
    assert "Traceback" not in found.output
