"""Rotating a key: the log itself says which key follows which, signed by both.

The row that is appended:

    fact_id         key-rotation/<old key id>/<new key id>
    signature_hex   the old key's signature and the new key's, 256 hex digits, both over `notes`
    notes           {"new_vkey":…,"old_vkey":…,"rotated_at":…,"type":"key-rotation"}

The registry stays the authority: the row proves that whoever held the old key agreed, and when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from tasks.attestation.ed25519 import verify
from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, RegisteredKey, Use, entry_for
from tasks.attestation.signer import Signer
from tasks.core.errors import DriftError, KeyRegistryError, PublicKeyError, SigningKeyError
from tasks.job.commands import keygen_command
from tasks.job.key_uses import refuse_other_file
from tasks.job.settings import Settings
from tasks.stores.open import open_store

PREFIX = "key-rotation/"
_TYPE = "key-rotation"


@dataclass(frozen=True)
class Rotation:
    """One rotation as it was logged. `leaf` is the number that its row has, or will have, in the sealed log.

    `sealed` is how many leaves were sealed then.
    """

    attestation_id: int
    leaf: int
    sealed: int
    old: VerifierKey
    new: VerifierKey

    def entries(self, use: Use, old: RegisteredKey | None) -> tuple[RegisteredKey, RegisteredKey]:
        """What the registry must say now: the old key superseded, the new one active from the leaf behind.

        A new key for checkpoints begins with the first leaf that is not sealed: either key may seal the rows up to the
        rotation, for that depends on when the new one is put in its place.
        """
        before = old or entry_for(self.old, use)
        superseded = before.model_copy(update={"state": "superseded", "until_leaf": self.leaf})
        first = self.leaf + 1 if use == "rows" else self.sealed
        return superseded, entry_for(self.new, use, from_leaf=first, binding=before.binding(""))


def record(old: VerifierKey, new: VerifierKey, rotated_at: str) -> str:
    """What both keys sign."""
    fields = {"new_vkey": str(new), "old_vkey": str(old), "rotated_at": rotated_at, "type": _TYPE}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def refuse_unfit(old: Signer, new: Signer, use: Use, registry: KeyRegistry) -> None:
    """Raise KeyRegistryError if the registry could not say afterwards that the new key follows the old one."""
    where, nothing = registry.source, "Nothing was written."
    for key in registry.keys:
        if key.key.public_key == new.public_key:
            raise KeyRegistryError(
                f"rotate: the new key is in {where} already, as {key.name} for {key.use}, and a key is for one thing "
                f"only. Make another: {keygen_command(new.key_name, use)}. {nothing}"
            )
    registered = next((key for key in registry.keys if key.key.public_key == old.public_key), None)
    if registered is not None and (registered.use, registered.state) != (use, "active"):
        raise KeyRegistryError(
            f"rotate: {where} has the old key {registered.key_id} as {registered.state} for {registered.use}, expected "
            f"active for {use}: only a key that is trusted can hand over. {nothing}"
        )


def rotate(settings: Settings, old: Signer, new: Signer, *, now: str) -> Rotation:
    """Append the rotation to the log. Nothing else is written.

    Raises SigningKeyError if both are one key, DriftError if the log has no column for notes.
    """
    if old.public_key == new.public_key:
        raise SigningKeyError(
            "rotate: the new key is the old one, and nothing would follow it. Make another. Nothing was written."
        )
    keys = VerifierKey(old.key_name, old.public_key), VerifierKey(new.key_name, new.public_key)
    notes = record(*keys, now)
    with open_store(settings).sealed_log(purpose="rotate") as session:
        refuse_other_file(session.file, old, new)
        log = session.binding.log
        if log.notes is None:
            raise DriftError(
                f'{log.table}: no column "notes", and a rotation is recorded there. Add it: ALTER TABLE {log.table} '
                f"ADD COLUMN notes TEXT. Nothing was written."
            )
        appended = session.append_rotation(
            fact_id=f"{PREFIX}{old.key_id.hex()}/{new.key_id.hex()}",
            attester=settings.derivation.attester,
            signature_hex=(old.sign(notes.encode()) + new.sign(notes.encode())).hex(),
            notes=notes,
            now=now,
        )
        last = session.last_checkpoint()
        sealed, behind = (last.tree_size, last.last_attestation_id + 1) if last else (0, -(2**63))
        return Rotation(appended, sealed + session.count_rows(behind, appended) - 1, sealed, *keys)


RotationRow = tuple[int, object, object, object]
"""As the log holds it: attestation id, fact id, signature and notes, of any storage class."""


def rotation_findings(
    rows: Sequence[RotationRow],
    registry: KeyRegistry,
    leaf_of: Callable[[int], int | None],
) -> Iterator[Finding]:
    """What is wrong with the rotations in the log, by registered keys only."""
    known = {str(key.key) for key in registry.keys}
    for attestation_id, *row in rows:
        record = _read(*row)
        objection = record if isinstance(record, str) else record.unknown(known) or record.unsigned()
        if objection:
            leaf = leaf_of(attestation_id)
            yield Finding(Verdict.ROTATION_INVALID, objection, leaf, attestation_id, str(row[0]))


def successor(rows: Sequence[RotationRow], registry: KeyRegistry, public_key: bytes) -> tuple[int, VerifierKey] | None:
    """The first rotation away from that key to a registered one that both have signed: (attestation id, the new key).

    The old key need not be registered: whoever asks holds it.
    """
    known = {str(key.key) for key in registry.keys}
    for attestation_id, *row in rows:
        record = _read(*row)
        if isinstance(record, str) or record.old.public_key != public_key or str(record.new) not in known:
            continue
        if record.unsigned() is None:
            return attestation_id, record.new
    return None


@dataclass(frozen=True)
class _Record:
    """A rotation as a row of the log tells it. Nothing in it is verified."""

    old: VerifierKey
    new: VerifierKey
    message: bytes
    signatures: bytes

    def unknown(self, known: Set[str]) -> str | None:
        names = [key.name for key in (self.old, self.new) if str(key) not in known]
        return f"{' and '.join(names)} is not registered with this public key" if names else None

    def unsigned(self) -> str | None:
        """Who of the two has not signed it."""
        if len(self.signatures) != 128 or not verify(self.old.public_key, self.message, self.signatures[:64]):
            return f"{self.old.name} has not signed it"
        return (
            None
            if verify(self.new.public_key, self.message, self.signatures[64:])
            else (f"{self.new.name} has not signed it")
        )


def _read(fact_id: object, signature_hex: object, notes: object) -> _Record | str:
    """The record, or why the row is none."""
    try:
        fields = json.loads(str(notes))
        old, new = VerifierKey.parse(str(fields["old_vkey"])), VerifierKey.parse(str(fields["new_vkey"]))
        signatures = bytes.fromhex(str(signature_hex))
        expected = record(old, new, fields["rotated_at"])
    except (ValueError, KeyError, TypeError, RecursionError, PublicKeyError):
        return "its notes are no record of a rotation"
    if notes != expected or fact_id != f"{PREFIX}{old.key_id.hex()}/{new.key_id.hex()}":
        return "its fact_id and its notes are not of one rotation"
    return _Record(old, new, expected.encode(), signatures)
