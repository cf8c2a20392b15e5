"""May a key still sign? Asked whenever the gate is passed, and whenever a chunk, a seal or a re-signing begins.

A key signs nothing if

    the registry    calls its public key `superseded` or `revoked`, under whatever name and for whatever use
    the log         holds a rotation away from it that both keys signed, to a key that is registered

A row of the log that only says so is a warning: whoever writes to the database could stop every run with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tasks.attestation.log.rotation_record import RotationRow, told_key_ids
from tasks.attestation.public_keys import DEFAULT_REGISTRY, KeyRegistry, load_registry
from tasks.attestation.signer import Signer
from tasks.core.errors import DriftError, SigningKeyError
from tasks.core.terminal import printable
from tasks.job.settings import Settings
from tasks.sealed_log.rotate import successor
from tasks.stores.open import open_store

logger = logging.getLogger("luigi-interface")


def registry_path(settings: Settings) -> Path:
    """`config/keys.yaml` of this folder; where there is none, `keys.yaml` beside the job file."""
    here = Path(DEFAULT_REGISTRY)
    return here if here.exists() or not settings.job_file else Path(settings.job_file).parent / here.name


def registry_of(settings: Settings) -> KeyRegistry:
    """The registered keys; none where there is no registry. Raises KeyRegistryError if it is not what it should be."""
    path = registry_path(settings)
    return load_registry(path) if path.exists() else KeyRegistry((), str(path))


def refuse_ended_keys(settings: Settings, *, rows: Signer | None, checkpoints: Signer | None) -> None:
    """Raise SigningKeyError if one of the keys was superseded or revoked. Writes nothing, signs nothing.

    Raises KeyRegistryError, DatabaseError or LockedError too.
    """
    signers = [(called, one) for called, one in (("signing key", rows), ("sealing key", checkpoints)) if one]
    if not signers:
        return
    registry = registry_of(settings)
    for called, signer in signers:
        _refuse_ended(called, signer, registry)
    rotations = _rotations(settings)
    for called, signer in signers:
        _refuse_rotated(called, signer, registry, rotations)


def _refuse_ended(called: str, signer: Signer, registry: KeyRegistry) -> None:
    for entry in registry.keys:
        if entry.state != "active" and entry.key.public_key == signer.public_key:
            raise SigningKeyError(
                f"{registry.source} calls its public key {entry.state} ({entry.name}, {entry.key_id})",
                where=called,
                seen="expected active: such a key signs nothing",
                hint=_MEND,
                written=_STAYS,
            )


def _refuse_rotated(called: str, signer: Signer, registry: KeyRegistry, rotations: Sequence[RotationRow]) -> None:
    """What is signed with a key after its rotation is revoked for ever: nothing is, and a mere word is told of."""
    found = successor(rotations, registry, signer.public_key)
    if found is not None:
        attestation_id, new = found
        raise SigningKeyError(
            f"{signer.key_name} ({signer.key_id.hex()}) was rotated to {new.name} "
            f"({new.key_id.hex()}) with log row {attestation_id}, and both keys signed that: the old "
            "one signs nothing any more",
            where=called,
            hint=_MEND,
            written=_STAYS,
        )
    for row in rotations:
        old, new_id = told_key_ids(row.fact_id)
        if old == signer.key_id.hex():
            logger.warning(
                "signing: THE KEY %s (%s) WAS ROTATED to %s with log row %d, which no two registered keys bear out: if "
                "it is so, what it signs from there on counts as revoked. Register both keys, and put the new one "
                "where the job file looks for it.",
                old, signer.key_name, printable(new_id), row.attestation_id,
            )  # fmt: skip


_MEND = "Put the key that follows it where the job file looks for it, and run the same command again"
_STAYS = "Nothing was written; what was committed before stays"


def _rotations(settings: Settings) -> Sequence[RotationRow]:
    """Empty where no log could be sealed: none could tell of a rotation then."""
    try:
        with open_store(settings).sealed_log(purpose="read") as session:
            return session.rotations()
    except DriftError:
        return ()
