"""docs/attestation.md shows what the program makes, to the byte."""

from __future__ import annotations

from pathlib import Path

from tasks.attestation.log import checkpoints, notes
from tasks.attestation.log.checkpoints import Checkpoint, InclusionProof
from tasks.attestation.log.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from tasks.attestation.log.merkle_proofs import consistency_proof, inclusion_proof
from tasks.attestation.log.notes import Note, VerifierKey, sign
from tasks.attestation.payload import encode
from tasks.attestation.signature_column import VERSION
from tasks.attestation.signer import Signer
from tasks.core.values import Record

PAGE = (Path(__file__).parents[2] / "docs" / "attestation.md").read_text(encoding="utf-8")
BLOCKS = [block.partition("\n")[2] for block in PAGE.split("```")[1::2]]
"""The fenced blocks, less their first line."""

ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))
CHECKPOINTS = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
KEY = VerifierKey(CHECKPOINTS.key_name, CHECKPOINTS.public_key)
HASHES = [leaf_hash(f"leaf {number}".encode()) for number in range(3)]


def some(start: int, end: int) -> list[bytes]:
    return HASHES[start:end]


def tree() -> Frontier:
    frontier = Frontier()
    frontier.extend(HASHES)
    return frontier


def test_the_keys_are_those_of_the_seeds() -> None:
    vkeys = [str(VerifierKey(signer.key_name, signer.public_key)) for signer in (ROWS, CHECKPOINTS)]
    assert "".join(f"{vkey}\n" for vkey in vkeys) in BLOCKS
    assert f"| key id | `{ROWS.key_id.hex()}` | begins `{CHECKPOINTS.key_id[:4].hex()}` |" in PAGE
    assert f"| public key | `{ROWS.public_key.hex()}` | `{CHECKPOINTS.public_key.hex()}` |" in PAGE


def test_the_row_is_signed_as_shown() -> None:
    record = Record("17", "https://example.org/法令", "2026-05-11T12:36:49.000Z", 0.45, 0.55)
    payload = encode(record, "etl_prov_backfill_v2")
    assert f"{payload.decode()}\n" in BLOCKS
    assert f"These {len(payload)} bytes are signed" in PAGE
    for what, part in ("version", VERSION), ("signature", ROWS.sign(payload)), ("key id", ROWS.key_id):
        assert f"| {what} | `{part.hex()}` |" in PAGE
    assert f"{ROWS.sign(payload).hex()}\n" in BLOCKS


def test_the_tree_is_the_one_shown() -> None:
    shown = {
        **{f"leaf hash {number}": one for number, one in enumerate(HASHES)},
        "node over leaves 0 and 1": node_hash(HASHES[0], HASHES[1]),
        "root": tree().root(),
        "empty root": EMPTY_ROOT,
    }
    for what, value in shown.items():
        assert f"| {what} | `{value.hex()}` |" in PAGE
    assert f"{tree().to_bytes().hex()}\n" in BLOCKS
    assert inclusion_proof(1, 3, some) == [HASHES[0], HASHES[2]]
    assert consistency_proof(1, 3, some) == [HASHES[1], HASHES[2]]


def test_the_checkpoint_and_the_proof_are_those_shown() -> None:
    signed = sign(Checkpoint(CHECKPOINTS.key_name, 3, tree().root()).text, CHECKPOINTS).encode()
    proof = InclusionProof(1, tuple(inclusion_proof(1, 3, some)), signed)
    assert signed.decode() in BLOCKS
    assert proof.encode().decode() in BLOCKS
    assert proof.verify(HASHES[1], [KEY]).size == 3


def test_the_limits_are_those_stated() -> None:
    assert f"more than {notes.MAX_NOTE_BYTES:,} bytes" in PAGE
    assert f"signature line or more than {notes.MAX_SIGNATURES}," in PAGE
    assert f"at most {checkpoints.MAX_PROOF_BYTES:,} bytes" in PAGE
    assert checkpoints.MAX_SIZE == 2**63 - 1


def test_the_page_says_of_every_edge_case_flag_what_becomes_of_it() -> None:
    from_the_vectors = (
        *("low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R", "low_order_residue"),
        *("low_order_component_A", "low_order_component_R", "reencoded_k"),
    )
    assert all(f"`{flag}`" in PAGE for flag in from_the_vectors)


def test_the_shown_checkpoint_is_a_note_to_the_letter() -> None:
    (shown,) = [block for block in BLOCKS if block.startswith("provenance-backfill/sample-log\n3\n")]
    assert notes.verify(Note.parse(shown.encode()), [KEY]) == (KEY,)
