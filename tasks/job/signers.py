"""The signers that a job file configures: of rows, and of the log's checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.attestation.signer import Signer, load_signer
from tasks.core.errors import NOTHING_WRITTEN, SigningKeyError
from tasks.job.commands import keygen_command
from tasks.job.key_uses import refuse_other_use
from tasks.job.settings import Settings


def signer_of(settings: Settings) -> Signer | None:
    """The signer that the job file names, or None if no key is configured and none is required.

    Raises SigningKeyError if a key is configured but missing, unreadable or malformed, or bound to another store.
    """
    signing = settings.signing
    signer = load_signer(
        key_name=signing.key_name,
        key_env=signing.key_env,
        key_file=Path(signing.key_file) if signing.key_file else None,
        environ=os.environ,
        compiled=signing.compiled,
    )
    if signer is not None:
        refuse_other_use(signer, "rows", settings)
    elif signing.required:
        raise SigningKeyError(
            f"signing.required is true in {settings.job_file}, but {signing.key_env} is not set and "
            "there is no key_file",
            where="signing key",
            written=NOTHING_WRITTEN,
        )
    return signer


def log_signer_of(settings: Settings) -> Signer | None:
    """The signer of checkpoints that the job file names, or None if none is configured.

    Raises SigningKeyError if a key is configured but unusable, bound to another log or store, or the key of the rows.
    """
    sealing = settings.sealing
    signer = load_signer(
        key_name=sealing.key_name,
        key_env=sealing.key_env,
        key_file=Path(sealing.key_file) if sealing.key_file else None,
        environ=os.environ,
        called="sealing key",
    )
    if signer is not None:
        refuse_other_use(signer, "checkpoints", settings)
    rows = signer_of(settings) if signer else None
    if signer and rows and rows.public_key == signer.public_key:
        raise SigningKeyError(
            f"{sealing.key_env or sealing.key_file} is the key that signs rows. Checkpoints need a "
            f"key of their own: {keygen_command(sealing.key_name, 'checkpoints')}",
            where="sealing key",
            written=NOTHING_WRITTEN,
        )
    return signer
