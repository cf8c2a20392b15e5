"""A proof stands alone: it is checked with two public keys, and every byte of it counts."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.attestation.log import notes
from tasks.attestation.log.checkpoints import Checkpoint, InclusionProof
from tasks.attestation.log.merkle import leaf_hash
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.log.proofs import Checked, check_proof, encode_extra
from tasks.attestation.signer import Signer
from tasks.cli.main import main
from tasks.core.errors import ProofError
from tasks.sealed_log.prove import prove

ROOT = Path(__file__).parents[2]
ROWS = VerifierKey("provenance-backfill/sample", Signer(key_name="a", seed=bytes(range(32))).public_key)
LOG = VerifierKey("provenance-backfill/sample-log", Signer(key_name="a", seed=bytes(range(32, 64))).public_key)
OTHER = VerifierKey("somebody/else", Signer(key_name="a", seed=bytes(range(100, 132))).public_key)


def second_check(proof: bytes) -> bool:
    second: Any = sys.modules["second_opinion"]
    return bool(second.check(proof, second.Key(str(ROWS), "rows"), second.Key(str(LOG), "checkpoints")))


def test_every_signed_fact_can_be_proven_and_checked_without_the_database(sealed: Any) -> None:
    facts = [row[0] for row in sealed.execute("SELECT fact_id FROM am_fact_metadata WHERE length(ed25519_sig) = 80")]
    proofs = {fact: prove(sealed.settings, fact) for fact in facts}
    sealed.path.unlink()
    for fact, proof in proofs.items():
        checked = check_proof(proof, [ROWS], [LOG])
        assert (checked.holds, checked.fact_id, checked.inclusion) == (True, fact, "proven"), checked
        assert second_check(proof)


def test_every_leaf_of_a_larger_log_can_be_proven(store: Any) -> None:
    for number in range(70):
        store.attest(str(number))
        if number % 13 == 0:
            store.seal()
    store.seal()
    assert all(check_proof(prove(store.settings, str(n)), [ROWS], [LOG]).holds for n in range(70))


def test_a_placeholder_is_proven_to_be_unsigned(sealed: Any) -> None:
    checked = check_proof(prove(sealed.settings, "unsigned-1"), [ROWS], [LOG])
    assert (checked.holds, checked.signature, checked.inclusion) == (False, "unsigned", "proven")
    assert not second_check(prove(sealed.settings, "unsigned-1"))


def test_keys_decide(sealed: Any) -> None:
    proof = prove(sealed.settings, "5")
    assert check_proof(proof, [OTHER], [LOG]).signature == "unknown_key"
    assert check_proof(proof, [ROWS], [OTHER]).inclusion == "not_proven"
    without = check_proof(proof, [ROWS], [])
    assert (without.holds, without.fails, without.inclusion) == (False, False, "checkpoint_not_verified")
    assert (without.as_json()["held"], without.as_json()["not_checked"]) == (["signature"], ["log"])
    assert without.words().startswith("NOT WHOLLY CHECKED: the signature holds, the log was not checked: ")
    assert "NOT VERIFIED" in without.words()
    assert check_proof(proof, [ROWS], [LOG]).as_json()["held"] == ["signature", "log"]


def test_a_size_that_was_forged_is_never_said_to_hold_without_the_key_of_the_log(sealed: Any) -> None:
    """The last leaf of a log of 3 is the last of 4 as well, if nobody signs the size."""
    proof = prove(sealed.settings, "3")
    other = Signer(key_name="stranger", seed=bytes(32))
    head, _, note = proof.partition(b"\n\n")
    stranger = notes.sign(note.decode().partition("\n\n")[0] + "\n", other).encode()
    checked = check_proof(head + b"\n\n" + stranger, [ROWS], [])
    assert not checked.holds and "holds:" not in checked.words()
    assert check_proof(head + b"\n\n" + stranger, [ROWS], [LOG]).fails


@pytest.mark.parametrize("member", ["ed25519_sig", "leaf", "payload"])
@pytest.mark.parametrize("value", [17, None, [], {}, True, "zz", "[]", "17", "{}", '{"fact_id": 5}', "[" * 100_000])
def test_a_proof_of_the_wrong_types_is_told_of_in_our_words(sealed: Any, member: str, value: Any) -> None:
    proof = prove(sealed.settings, "5")
    checked = check_proof(with_extra(proof, extra_of(proof) | {member: value}), [ROWS], [LOG])
    assert checked.signature == "malformed" and checked.fails
    assert re.fullmatch(r"no proof of an attestation: (its|the|leaf) [\w, ]+", checked.detail), checked.detail


@pytest.mark.parametrize("extra", [[], 17, None, "text"])
def test_an_extra_that_is_no_object_is_told_of_in_our_words(sealed: Any, extra: Any) -> None:
    checked = check_proof(with_extra(prove(sealed.settings, "5"), extra), [ROWS], [LOG])
    assert checked.detail == "no proof of an attestation: its extra is no JSON object"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_breaks_a_proof(sealed_once: Any, at: int, bit: int) -> None:
    proof = prove(sealed_once.settings, "5")
    at %= len(proof)
    flipped = proof[:at] + bytes([proof[at] ^ (1 << bit)]) + proof[at + 1 :]
    assert not check_proof(flipped, [ROWS], [LOG]).holds
    assert not second_check(flipped)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (b"\nindex 9\n", b"\nindex 09\n"),
        (b"\nindex 9\n", b"\nindex +9\n"),
        (b"\nindex 9\n", b"\n9\n"),
        (b"\nextra ", b"\n"),
    ],
)
def test_a_proof_has_one_spelling(sealed: Any, line: bytes, instead: bytes) -> None:
    proof = next(p for p in (prove(sealed.settings, str(n)) for n in range(18)) if b"\nindex 9\n" in p)
    other = proof.replace(line, instead, 1)
    assert other != proof and second_check(proof)
    assert not check_proof(other, [ROWS], [LOG]).holds
    assert not second_check(other)


@pytest.mark.parametrize("member", ["leaf", "payload", "ed25519_sig"])
def test_parts_of_two_proofs_do_not_make_one(sealed: Any, member: str) -> None:
    one, other = prove(sealed.settings, "5"), prove(sealed.settings, "6")
    mixed = with_extra(one, {**extra_of(one), member: extra_of(other)[member]})
    assert not check_proof(mixed, [ROWS], [LOG]).holds
    assert not second_check(mixed)


def test_a_record_that_was_altered_consistently_is_not_in_the_log(sealed: Any) -> None:
    """Payload, leaf and signature fit each other, signed by the row's own key: only the log tells."""
    proof = prove(sealed.settings, "5")
    extra = extra_of(proof)
    payload = extra["payload"].replace("0.45", "0.40")
    signer = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))
    blob = signer.blob(payload.encode())
    leaf = json.loads(extra["leaf"])
    leaf |= {"payload_sha256": sha256(payload.encode()).hexdigest(), "signature_hex": blob[8:72].hex()}
    text = json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    forged = with_extra(proof, {"ed25519_sig": blob.hex(), "leaf": text, "payload": payload})
    checked = check_proof(forged, [ROWS], [LOG])
    assert (checked.signature, checked.inclusion, checked.holds) == ("valid", "not_proven", False)
    assert not second_check(forged)


def extra_of(proof: bytes) -> dict[str, str]:
    extra: dict[str, str] = json.loads(base64.b64decode(proof.split(b"\n")[1][6:]))
    return extra


def with_extra(proof: bytes, extra: dict[str, str]) -> bytes:
    lines = proof.split(b"\n")
    spelt = json.dumps(extra, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    lines[1] = b"extra " + base64.b64encode(spelt.encode())
    return b"\n".join(lines)


@given(data=st.binary(max_size=300) | st.text(max_size=300).map(lambda t: f"c2sp.org/tlog-proof@v1\n{t}".encode()))
def test_garbage_is_no_proof_and_never_an_error(data: bytes) -> None:
    assert not check_proof(data, [ROWS], [LOG]).holds


def test_what_cannot_be_proven_is_refused_with_the_reason(sealed: Any) -> None:
    with pytest.raises(ProofError, match="nothing was attested"):
        prove(sealed.settings, "never-heard-of")
    sealed.attest("late")
    with pytest.raises(ProofError, match="not sealed yet"):
        prove(sealed.settings, "late")
    sealed.execute("UPDATE am_fact_metadata SET confidence_lower = 0.1 WHERE fact_id = '5'")
    with pytest.raises(ProofError, match="not what was sealed"):
        prove(sealed.settings, "5")
    sealed.execute("UPDATE am_fact_attestation_log SET notes = 'x' WHERE fact_id = '6'")
    with pytest.raises(ProofError, match="does not lead to the root"):
        prove(sealed.settings, "6")
    sealed.execute("UPDATE am_attestation_tile SET subtree_roots = x'00' WHERE first_leaf = 15")
    with pytest.raises(ProofError, match="tiles of the log are damaged"):
        prove(sealed.settings, "4")


def test_the_commands_prove_and_check(sealed: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMATH_DB_PATH", str(sealed.path))
    monkeypatch.setenv("PROVENANCE_STATE_DIR", str(sealed.folder / "state"))
    monkeypatch.chdir(sealed.folder)
    job = [
        "--job",
        str(
            next(p for p in __import__("pathlib").Path(__file__).parents if (p / "config").exists())
            / "config/backfill.yaml"
        ),
    ]
    run, proof = CliRunner(), str(tmp_path / "5.tlog-proof")
    assert run.invoke(main, ["prove", "5", "--output", proof, *job]).exit_code == 0
    assert run.invoke(main, ["prove", "nobody", *job]).exit_code == 3
    assert "nothing was attested" in run.invoke(main, ["prove", "\udcff", *job]).output
    unwritable = run.invoke(main, ["prove", "5", "--output", f"{proof}/5", *job])
    assert unwritable.exit_code == 3 and "cannot be written: Not a directory. There is no proof." in unwritable.output
    twice = run.invoke(main, ["check", proof, "--key", str(ROWS), "--log-key", str(ROWS)])
    assert twice.exit_code == 3 and "is given for rows and for checkpoints" in twice.output
    partly = run.invoke(main, ["check", proof, "--key", str(ROWS), "--json"])
    assert partly.exit_code == 3
    assert json.loads(partly.output)["holds"] is False and json.loads(partly.output)["not_checked"] == ["log"]
    assert run.invoke(main, ["check", proof, "--key", str(ROWS), "--log-key", str(LOG)]).exit_code == 0
    both = run.invoke(main, ["check", proof, "--key", str(ROWS), "--log-key", str(LOG), "--json"])
    assert json.loads(both.output)["inclusion"] == "proven"
    assert run.invoke(main, ["check", proof, "--key", str(OTHER)]).exit_code == 1
    checkpoint = str(sorted((sealed.folder / "state").rglob("*.checkpoint"))[-1])
    keys = ["--key", str(ROWS), "--log-key", str(LOG)]
    audit = ["audit", "--checkpoint", checkpoint, *keys, *job]
    assert run.invoke(main, [*audit, "--key", str(LOG)]).exit_code == 3
    assert run.invoke(main, [*audit, "--root-only"]).exit_code == 0
    assert run.invoke(main, [*audit, "--allow-unsigned"]).exit_code == 0
    assert run.invoke(main, audit).exit_code == 1
    sealed.execute("DELETE FROM am_fact_attestation_log WHERE attestation_id = 6")
    result = run.invoke(main, [*audit, "--json"])
    assert result.exit_code == 1 and json.loads(result.output)["verdict"] == "row_missing"
    sealed.attest("late")
    assert run.invoke(main, ["seal", *job]).exit_code == 3  # nothing is sealed over the row that was deleted


# --- a log that lies: whoever holds its key can put any leaf in it ------------------------------------


PAYLOAD = (
    '{"confidence_lower":null,"confidence_upper":null,"extracted_at":"x","fact_id":"5","source_doc":null,'
    '"verified_by":"y"}'
)


def lying_log(*, blob: bytes, payload: str = PAYLOAD, **leaf: Any) -> bytes:
    """A proof from a log of one leaf, properly signed, in which `leaf` can be anything."""
    fields = {
        "attestation_id": 1, "attester": "y", "fact_id": "5", "notes": None, "signed_at": "z",
        "payload_sha256": sha256(payload.encode()).hexdigest(),
        "signature_hex": (blob if len(blob) == 64 else blob[8:72]).hex(), **leaf,
    }  # fmt: skip
    data = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signer = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
    checkpoint = notes.sign(Checkpoint("provenance-backfill/sample-log", 1, leaf_hash(data)).text, signer).encode()
    return InclusionProof(0, (), checkpoint, encode_extra(blob=blob, leaf=data, payload=payload.encode())).encode()


def signed(payload: str = PAYLOAD, *, seed: int = 0, name: str = "provenance-backfill/sample") -> bytes:
    return Signer(key_name=name, seed=bytes(range(seed, seed + 32))).blob(payload.encode())


def test_what_is_true_of_a_lying_log_holds() -> None:
    proof = lying_log(blob=signed())
    assert check_proof(proof, [ROWS], [LOG]).holds and second_check(proof)


LIES = {
    "another fact": lying_log(blob=signed(), fact_id="6"),
    "another payload": lying_log(blob=signed(), payload_sha256="00" * 32),
    "no payload": lying_log(blob=signed(), payload_sha256=None),
    "another signature": lying_log(blob=signed(), signature_hex="ab" * 64),
    "another key's signature": lying_log(
        blob=signed(seed=100, name="somebody/else"), signature_hex=signed()[8:72].hex()
    ),
    "a signature of something else": lying_log(blob=signed("something else")),
    "another version": lying_log(blob=b"\x02" + signed()[1:]),
    "a placeholder in a signature's clothes": lying_log(blob=signed()[:8] + bytes(64) + signed()[72:]),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_of_a_log_makes_a_proof_hold(lie: str) -> None:
    assert not check_proof(LIES[lie], [ROWS, OTHER], [LOG]).holds
    assert not second_check(LIES[lie])


def test_an_unsigned_row_is_no_proof_of_what_it_does_not_say() -> None:
    proof = lying_log(blob=bytes(64), payload_sha256="00" * 32)
    assert check_proof(proof, [ROWS], [LOG]).signature == "malformed"


EVIL = "\x1b[2J\nverdict: clean\x9b8m\u202e"


def prints_as_lines(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_nothing_of_a_proof_reaches_the_terminal_raw_or_as_if_it_held() -> None:
    checked = Checked("invalid", "not_proven", f"why {EVIL}", EVIL, {"fact_id": EVIL}, 0, 1, EVIL, EVIL)
    words = checked.words()
    assert prints_as_lines(words)
    lines = words.split("\n")
    assert len(lines) == 4 and lines[0].startswith("DOES NOT HOLD: why")
    assert all("the proof says, do not rely on it: " in line for line in lines[1:3])
    holds = replace(checked, signature="valid", inclusion="proven").words()
    assert prints_as_lines(holds) and "do not rely on it" not in holds


def test_an_audit_prints_nothing_of_the_database_raw(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMATH_DB_PATH", str(store.path))
    monkeypatch.setenv("PROVENANCE_STATE_DIR", str(store.folder / "state"))
    monkeypatch.chdir(ROOT)
    store.attest(EVIL)
    store.seal()
    store.execute("UPDATE am_fact_metadata SET source_doc = 'https://elsewhere.test/'")
    checkpoint = str(sorted((store.folder / "state").rglob("*.checkpoint"))[-1])
    audit = ["audit", "--checkpoint", checkpoint, "--key", str(ROWS), "--log-key", str(LOG)]

    result = CliRunner().invoke(main, audit)

    assert result.exit_code == 1 and "metadata_edited" in result.output
    assert prints_as_lines(result.output)
    assert CliRunner().invoke(main, [*audit, "--root-only", "--sample", "5"]).exit_code == 2
