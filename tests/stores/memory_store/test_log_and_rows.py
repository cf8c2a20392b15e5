"""Audits, signing and explanation on a store that was written from the protocols alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.memory_facts import OLD, REGISTRY, ROWS, audited, sign_pending, sound
from support.memory_store.state import State

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import entry_for
from tasks.attestation.signer import Signer
from tasks.core.errors import SealError, SigningKeyError
from tasks.rows.explain import explain, lookup_facts
from tasks.sealed_log.rotate import rotate
from tasks.sealed_log.seal import seal_log
from tasks.stores.open import open_store

NEXT = Signer(key_name="provenance-backfill/next", seed=bytes(range(7, 39)))


def test_what_was_sealed_is_proven_and_audited_clean(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(30)), job()
    sealed = run(settings)["sealed"]
    assert (sealed["state"], sealed["tree_size"], sealed["unsealed_rows"]) == ("sealed", 30, 0)
    report = audited(settings)
    assert (report.verdict, report.root, report.metadata_rows) == ("clean", sealed["root"], 30)
    assert report.signatures == ({"valid": 30} if signed else {"unsigned": 30})
    assert database.state.tiles[0].attestation_ids == tuple(range(1, 31))


def test_ids_of_the_log_may_have_gaps(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(30)), job()
    database.state.id_step = 3
    report = run(settings)
    assert (report["rows"]["inserted"], report["sealed"]["tree_size"]) == (30, 30)
    assert database.state.tiles[0].attestation_ids == tuple(range(3, 91, 3))
    assert audited(settings).clean


def tampered(state: State, how: str) -> None:
    if how == "row_edited":
        state.log[9] = state.log[9]._replace(attester="another")
    elif how == "row_missing":
        del state.log[9]
    elif how == "metadata_edited":
        state.metadata["9"] = state.metadata["9"]._replace(source_doc="https://another.test")
    elif how == "metadata_missing":
        del state.metadata["9"]
    else:
        state.metadata["new"] = state.metadata["9"]._replace(fact_id="new")


@pytest.mark.parametrize(
    "how", ["row_edited", "row_missing", "metadata_edited", "metadata_missing", "metadata_unlogged"]
)
def test_an_audit_names_what_was_tampered_with(how: str, memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(30)), job()
    run(settings)
    tampered(database.state, how)
    assert how in {finding.verdict.value for finding in audited(settings).findings}


def test_a_key_that_was_rotated_in_the_log_signs_no_more(
    memory: Any, job: Any, run: Any, seals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = memory(sound(12)), job()
    run(settings)
    rotation = rotate(settings, ROWS, NEXT, now=OLD)
    assert (rotation.attestation_id, rotation.leaf) == (13, 12)
    assert database.state.log[13].fact_id == f"key-rotation/{ROWS.key_id.hex()}/{NEXT.key_id.hex()}"
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    known = Path(settings.job_file).with_name("keys.yaml")
    entries = (entry_for(VerifierKey(one.key_name, one.public_key), "rows") for one in (ROWS, NEXT))
    known.write_text("keys:\n" + "".join(one.as_yaml() for one in entries), encoding="utf-8")
    monkeypatch.chdir(known.parent)
    with pytest.raises(SigningKeyError, match="was rotated to"):
        run(settings, "run-2")


def test_the_sealer_goes_on_from_no_other_log(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(30)), job()
    run(settings)
    del database.state.log[9]
    with pytest.raises(SealError, match=r"rows .* to 30 of the attestation log: 29, but 30 were sealed"):
        seal_log(settings, run_id="run-2")


def test_placeholders_are_signed_once_there_is_a_key(
    memory: Any, job: Any, run: Any, seals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = memory(sound(12)), job()
    run(settings)
    database.state.metadata["5"] = database.state.metadata["5"]._replace(source_doc="https://another.test")
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    assert sign_pending(settings) == {"pending": 12, "signed": 11, "refused": 1}
    assert [one.reject.reason for one in database.state.rejects] == ["payload_differs"]
    assert {name for name, run in database.state.runs.items() if run.kind == "sign"} == {"sign-pending:run-1"}
    assert audited(settings).signatures == {"valid": 11, "unsigned": 1}


def test_a_fact_is_explained_with_all_that_is_known_of_it(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(12)), job()
    run(settings)
    with open_store(settings).attestations() as reader:
        told = explain(reader, REGISTRY, "3")
        [fact] = lookup_facts(reader, ["3", "nobody"])
    assert told is not None
    assert (told.finding is None) is signed
    assert [row.attestation_id for row in told.chain] == [3]
    assert (fact["source_doc"], fact["ed25519_sig_present"]) == ("https://例え.jp/0", signed)
    assert open_store(settings).look_up(database, ["3"])["3"].attestation_count == 1
