"""A proof that stands alone: what was attested about one fact, by whom, and that the sealed log holds it.

A C2SP tlog-proof whose `extra` is canonical JSON (the payload's rule) of three members:

    ed25519_sig   the 80 bytes of the row in lower-case hex
    leaf          the leaf's data as a text, which is itself JSON
    payload       the payload as a text, which is itself JSON

`check` needs two public keys and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

from tasks.attestation.ed25519 import verify
from tasks.attestation.log.checkpoints import Checkpoint, InclusionProof
from tasks.attestation.log.merkle import leaf_hash
from tasks.attestation.log.merkle_proofs import verify_inclusion
from tasks.attestation.log.notes import Note, VerifierKey
from tasks.attestation.signature_column import parse, signature_hex
from tasks.core.errors import NoteError
from tasks.core.terminal import printable

_LEAF = {"attestation_id", "attester", "fact_id", "notes", "payload_sha256", "signature_hex", "signed_at"}
_PAYLOAD = {"confidence_lower", "confidence_upper", "extracted_at", "fact_id", "source_doc", "verified_by"}

SignatureVerdict = Literal["valid", "unsigned", "invalid", "unknown_key", "malformed"]
InclusionVerdict = Literal["proven", "checkpoint_not_verified", "not_proven"]


@dataclass(frozen=True)
class Checked:
    """What a proof shows. `holds` is a whole yes: the signature, and that the log that was signed holds it."""

    signature: SignatureVerdict
    inclusion: InclusionVerdict
    detail: str
    fact_id: str | None = None
    record: dict[str, Any] | None = None
    leaf: int | None = None
    tree_size: int | None = None
    origin: str | None = None
    signed_at: str | None = None

    @property
    def holds(self) -> bool:
        return self.signature == "valid" and self.inclusion == "proven"

    @property
    def held(self) -> list[str]:
        """What was checked and is so: the signature, the log."""
        so = {"signature": self.signature == "valid", "log": self.inclusion == "proven"}
        return [part for part, is_so in so.items() if is_so]

    @property
    def not_checked(self) -> list[str]:
        """What could not be checked for want of a key."""
        return ["log"] if self.inclusion == "checkpoint_not_verified" else []

    @property
    def fails(self) -> bool:
        """Whether something was checked and is not so. If nothing is, and not all was checked, there is no answer."""
        return self.signature != "valid" or self.inclusion == "not_proven"

    def as_json(self) -> dict[str, Any]:
        return {"holds": self.holds, "held": self.held, "not_checked": self.not_checked, **asdict(self)}

    def _verdict(self) -> str:
        if self.holds:
            return "holds"
        return "DOES NOT HOLD" if self.fails else "NOT WHOLLY CHECKED: the signature holds, the log was not checked"

    def words(self) -> str:
        """For people. Nothing from the proof is printed raw, and what does not hold is not told as if it did."""
        lines = [f"{self._verdict()}: {self.detail}"]
        if self.record is not None:
            warned = "the proof says, do not rely on it: "
            says = warned if self.fails else ""
            lines.append(f"  {says}fact {self.fact_id}: {json.dumps(self.record, ensure_ascii=False)}")
            says = "" if self.holds else warned
            lines.append(f"  {says}leaf {self.leaf} of {self.tree_size} in {self.origin}, signed at {self.signed_at}")
        return "\n".join(map(printable, [*lines, f"  signature: {self.signature}; in the log: {self.inclusion}"]))


def encode_extra(*, blob: bytes, leaf: bytes, payload: bytes) -> bytes:
    """What goes along with the inclusion proof."""
    members = {"ed25519_sig": blob.hex(), "leaf": leaf.decode(), "payload": payload.decode()}
    return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_proof(data: bytes, row_keys: Sequence[VerifierKey], log_keys: Sequence[VerifierKey]) -> Checked:
    """Check a proof by these keys. Never raises for what stands in `data`.

    1. Read it; the leaf and the payload must be one attestation.
    2. The signature is decided on its bytes, then verified over the payload by the key that its id names.
    3. The leaf must be in the tree of the checkpoint, and the checkpoint signed by a key for checkpoints.
    """
    try:
        proof = InclusionProof.parse(data)
        blob, leaf_data, payload = _members(proof.extra)
        leaf, record = _object(leaf_data, "its leaf"), _object(payload, "its payload")
        _refuse_two_attestations(leaf, record, blob, payload)
    except NoteError as error:
        return Checked("malformed", "not_proven", f"no proof of an attestation: {error}")
    signature, said = _signature(blob, payload, row_keys)
    inclusion, also = _inclusion(proof, leaf_hash(leaf_data), log_keys)
    checkpoint = Checkpoint.parse(Note.parse(proof.checkpoint).text)
    return Checked(
        signature, inclusion, f"{said}; {also}", record["fact_id"], record, proof.index, checkpoint.size,
        checkpoint.origin, leaf["signed_at"],
    )  # fmt: skip


def _members(extra: bytes | None) -> tuple[bytes, bytes, bytes]:
    members = _object(extra or b"null", "its extra")
    if set(members) != {"ed25519_sig", "leaf", "payload"}:
        raise NoteError("its extra has not the members ed25519_sig, leaf and payload")
    for name, text in members.items():
        if not isinstance(text, str):
            raise NoteError(f"the member {name} of its extra is no text")
    try:
        blob, leaf, payload = (
            bytes.fromhex(members["ed25519_sig"]), members["leaf"].encode(), members["payload"].encode()
        )  # fmt: skip
    except ValueError:
        raise NoteError("its extra holds what is neither hex digits nor text") from None
    if encode_extra(blob=blob, leaf=leaf, payload=payload) != extra:
        raise NoteError("its extra is not spelt as it must be")
    return blob, leaf, payload


def _object(data: bytes, called: str) -> dict[str, Any]:
    """The JSON object in some bytes. Raises NoteError."""
    try:
        found = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise NoteError(f"{called} cannot be read as JSON") from None
    if not isinstance(found, dict):
        raise NoteError(f"{called} is no JSON object")
    return found


def _refuse_two_attestations(leaf: dict[str, Any], record: dict[str, Any], blob: bytes, payload: bytes) -> None:
    """The leaf names the payload by its digest, so what the payload says is what the log holds."""
    if not isinstance(leaf.get("fact_id"), str) or not isinstance(record.get("fact_id"), str):
        raise NoteError("leaf or payload name no fact")
    if set(leaf) != _LEAF or set(record) != _PAYLOAD:
        raise NoteError("leaf or payload have other members than they must")
    if leaf["payload_sha256"] != sha256(payload).hexdigest():
        raise NoteError("the leaf is not of this payload")
    if leaf["fact_id"] != record["fact_id"]:
        raise NoteError("leaf and payload are of two facts")
    if leaf["signature_hex"] != signature_hex(blob):
        raise NoteError("the leaf holds another signature")


def _signature(blob: bytes, payload: bytes, keys: Sequence[VerifierKey]) -> tuple[SignatureVerdict, str]:
    column = parse(blob)
    if isinstance(column, str):
        return "malformed", "ed25519_sig is malformed"
    if column.key_id is None:
        return "unsigned", "a placeholder, which is no signature"
    key = next((key for key in keys if key.key_id == column.key_id), None)
    if key is None:
        return "unknown_key", f"signed with key {column.key_id.hex()}, which was not given"
    if not verify(key.public_key, payload, column.signature):
        return "invalid", f"the signature does not verify under {key.name}"
    return "valid", f"signed by {key.name}"


def _inclusion(proof: InclusionProof, leaf: bytes, keys: Sequence[VerifierKey]) -> tuple[InclusionVerdict, str]:
    if keys:
        try:
            proof.verify(leaf, keys)
        except NoteError as error:
            return "not_proven", str(error).rstrip(".")
        return "proven", "the log holds it"
    checkpoint = Checkpoint.parse(Note.parse(proof.checkpoint).text)
    if not verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        return "not_proven", "the leaf is not in the tree of the checkpoint"
    return "checkpoint_not_verified", "WHO SIGNED THE CHECKPOINT WAS NOT VERIFIED: give its key with --log-key"
