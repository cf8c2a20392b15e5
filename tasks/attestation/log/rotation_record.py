"""The record of a key rotation: a row of the log by which the holders of two keys say that one follows the other.

    fact_id         key-rotation/<old key id>/<new key id>
    signature_hex   the old key's signature and the new key's, 256 hex digits, both over `notes`
    notes           {"new_vkey":…,"old_vkey":…,"rotated_at":…,"type":"key-rotation"}

By the rule of the payload: sorted keys, no spaces, non-ASCII as it is. Any other spelling is no such record. Such a row
is about no fact: there is no metadata row beside it.
"""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass
from typing import Final, NamedTuple

from tasks.attestation.ed25519 import verify
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.signature_column import SIGNATURE_BYTES
from tasks.core.errors import PublicKeyError

_TYPE: Final = "key-rotation"

PREFIX: Final = f"{_TYPE}/"
"""What the fact id of every rotation begins with, and of nothing else."""

BEHIND_PREFIX: Final = PREFIX[:-1] + chr(ord(PREFIX[-1]) + 1)
"""The least text that sorts, by code point, behind all that begin with the prefix."""


class RotationRow(NamedTuple):
    """Such a row as the log holds it: columns of any storage class, text that is not UTF-8 as NotUtf8."""

    attestation_id: int
    fact_id: object
    signature_hex: object
    notes: object


def is_rotation(fact_id: object) -> bool:
    """Whether a fact id of the log is a rotation's, be it a sound one or not."""
    return isinstance(fact_id, str) and fact_id.startswith(PREFIX)


def told_key_ids(fact_id: object) -> tuple[str, str]:
    """The ids of the old and the new key that a rotation's fact id names, empty where it names none. Not verified."""
    _, old, new = [*str(fact_id).split("/"), "", ""][:3]
    return old, new


@dataclass(frozen=True)
class RotationRecord:
    """What both keys sign, and the row that it makes."""

    old: VerifierKey
    new: VerifierKey
    rotated_at: str

    @property
    def fact_id(self) -> str:
        return f"{PREFIX}{self.old.key_id.hex()}/{self.new.key_id.hex()}"

    @property
    def notes(self) -> str:
        """What both keys sign, as UTF-8."""
        fields = {
            "new_vkey": str(self.new), "old_vkey": str(self.old), "rotated_at": self.rotated_at, "type": _TYPE,
        }  # fmt: skip
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True)
class LoggedRotation:
    """A rotation as a row of the log tells it. Nothing in it is verified."""

    record: RotationRecord
    signatures: bytes

    def unknown(self, known: Set[str]) -> str | None:
        """Which of the two keys is not among those verifier keys, in words."""
        names = [key.name for key in (self.record.old, self.record.new) if str(key) not in known]
        return f"{' and '.join(names)} is not registered with this public key" if names else None

    def unsigned(self) -> str | None:
        """Who of the two has not signed it, in words."""
        message = self.record.notes.encode()
        by_old, by_new = self.signatures[:SIGNATURE_BYTES], self.signatures[SIGNATURE_BYTES:]
        if len(by_new) != SIGNATURE_BYTES or not verify(self.record.old.public_key, message, by_old):
            return f"{self.record.old.name} has not signed it"
        if not verify(self.record.new.public_key, message, by_new):
            return f"{self.record.new.name} has not signed it"
        return None


def parse(row: RotationRow) -> LoggedRotation | str:
    """The rotation that a row tells of, spelt exactly as `RotationRecord` spells it, or why the row is none."""
    try:
        fields = json.loads(str(row.notes))
        old, new = VerifierKey.parse(str(fields["old_vkey"])), VerifierKey.parse(str(fields["new_vkey"]))
        record = RotationRecord(old, new, fields["rotated_at"])
        signatures, notes = bytes.fromhex(str(row.signature_hex)), record.notes
    except (ValueError, KeyError, TypeError, RecursionError, PublicKeyError):
        return "its notes are no record of a rotation"
    if row.notes != notes or row.fact_id != record.fact_id:
        return "its fact_id and its notes are not of one rotation"
    return LoggedRotation(record, signatures)
