"""Rotating a key: the log itself says which key follows which, signed by both.

The row that is appended: tasks/attestation/log/rotation_record.py.

The registry stays the authority: the row proves that whoever held the old key agreed, and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.log.rotation_record import RotationRecord, RotationRow, parse
from tasks.attestation.public_keys import KeyRegistry, RegisteredKey, Use, entry_for
from tasks.attestation.signer import Signer
from tasks.contract.mends import refuse_without_notes
from tasks.core.errors import NOTHING_WRITTEN, KeyRegistryError, SigningKeyError
from tasks.job.commands import keygen_command
from tasks.job.key_uses import refuse_other_store
from tasks.job.settings import Settings
from tasks.stores.open import open_store


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


def refuse_unfit(old: Signer, new: Signer, use: Use, registry: KeyRegistry) -> None:
    """Raise KeyRegistryError if the registry could not say afterwards that the new key follows the old one."""
    where = registry.source
    for key in registry.keys:
        if key.key.public_key == new.public_key:
            raise KeyRegistryError(
                f"the new key is in {where} already, as {key.name} for {key.use}, and a key is for one thing only",
                where="rotate",
                hint=f"Make another: {keygen_command(new.key_name, use)}",
                written=NOTHING_WRITTEN,
            )
    registered = next((key for key in registry.keys if key.key.public_key == old.public_key), None)
    if registered is not None and (registered.use, registered.state) != (use, "active"):
        raise KeyRegistryError(
            f"{where} has the old key {registered.key_id} as {registered.state} for {registered.use}",
            where="rotate",
            seen=f"expected active for {use}: only a key that is trusted can hand over",
            written=NOTHING_WRITTEN,
        )


def rotate(settings: Settings, old: Signer, new: Signer, *, now: str) -> Rotation:
    """Append the rotation to the log. Nothing else is written.

    Raises SigningKeyError if both are one key, DriftError if the log has no column for notes.
    """
    if old.public_key == new.public_key:
        raise SigningKeyError(
            "the new key is the old one, and nothing would follow it",
            where="rotate",
            hint="Make another",
            written=NOTHING_WRITTEN,
        )
    keys = VerifierKey(old.key_name, old.public_key), VerifierKey(new.key_name, new.public_key)
    record = RotationRecord(*keys, now)
    message = record.notes.encode()
    with open_store(settings).sealed_log(purpose="rotate") as session:
        refuse_other_store(session.opened, old, new)
        refuse_without_notes(session.binding.log, kept="a rotation")
        appended = session.append_rotation(
            fact_id=record.fact_id,
            attester=settings.derivation.attester,
            signature_hex=(old.sign(message) + new.sign(message)).hex(),
            notes=record.notes,
            now=now,
        )
        last = session.last_checkpoint()
        sealed, behind = (last.tree_size, last.last_attestation_id + 1) if last else (0, -(2**63))
        return Rotation(appended, sealed + session.count_rows(behind, appended) - 1, sealed, *keys)


def rotation_findings(
    rows: Sequence[RotationRow], registry: KeyRegistry, leaf_of: Callable[[int], int | None]
) -> Iterator[Finding]:
    """What is wrong with the rotations in the log, by registered keys only."""
    known = {str(key.key) for key in registry.keys}
    for row in rows:
        told = parse(row)
        objection = told if isinstance(told, str) else told.unknown(known) or told.unsigned()
        if objection:
            leaf = leaf_of(row.attestation_id)
            yield Finding(Verdict.ROTATION_INVALID, objection, leaf, row.attestation_id, str(row.fact_id))


def successor(rows: Sequence[RotationRow], registry: KeyRegistry, public_key: bytes) -> tuple[int, VerifierKey] | None:
    """The first rotation away from that key to a registered one that both have signed: (attestation id, the new key).

    The old key need not be registered: whoever asks holds it.
    """
    known = {str(key.key) for key in registry.keys}
    for row in rows:
        told = parse(row)
        if isinstance(told, str) or told.record.old.public_key != public_key or str(told.record.new) not in known:
            continue
        if told.unsigned() is None:
            return row.attestation_id, told.record.new
    return None
