"""Making keys, and showing the public part of those that are configured."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from tasks.attestation.key_bindings import KeyBinding, binding_in_file
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import Use
from tasks.attestation.signer import Signer, load_signer
from tasks.core import files
from tasks.core.errors import SigningKeyError
from tasks.core.terminal import holds_key
from tasks.job.settings import Settings

_SEED_BYTES = 32


def generate(
    path: Path, key_name: str, *, use: Use = "rows", stores: Sequence[str] = (), logs: Sequence[str] = ()
) -> tuple[VerifierKey, KeyBinding | None]:
    """Put a new private key into a new file of mode 0600, what it may sign below it, and give its public part and that.

    The seed comes from the operating system's generator. Raises SigningKeyError if the file exists, or cannot be
    written; PublicKeyError or SigningKeyError for a key name that no signed note can carry, and for a binding that the
    key could never be used with, before any file is made.
    """
    if any(map(holds_key, (key_name, str(path), *stores, *logs))):
        raise SigningKeyError(
            "64 hex digits, which may be a private key, where a name or a path belongs. They are not shown",
            where="keygen",
            hint="Give another",
            written="There is no new key",
        )
    VerifierKey(key_name, Signer(key_name=key_name, seed=bytes(_SEED_BYTES)).public_key)  # is the name usable?
    below = _binding_lines(use, stores, logs)
    binding = binding_in_file(below.encode(), str(path))
    if isinstance(binding, str):
        raise SigningKeyError(str(binding), where="keygen", written="There is no new key")
    seed = secrets.token_bytes(_SEED_BYTES)
    try:
        with files.new_file(path, root=path.parent, sticky=True) as new:
            new.file.write(seed.hex().encode() + b"\n" + below.encode())
            new.sync()
            if not new.link():
                raise SigningKeyError(
                    "exists, and a key is never overwritten", where=str(path), hint="Give another path"
                )
            files.sync_folder(new.folder)
    except OSError as error:
        raise SigningKeyError(
            "cannot be written", where=str(path), seen=error.strerror, written="There is no new key"
        ) from None
    return VerifierKey(key_name, Signer(key_name=key_name, seed=seed).public_key), binding


def _binding_lines(use: Use, stores: Sequence[str], logs: Sequence[str]) -> str:
    """What stands below the key. A store is named as it lies on the disk, behind all links."""
    if (stores or logs) and not (stores if use == "rows" else logs):
        wanted = (
            "--store: a key for rows signs for a store" if use == "rows" else "--log: one for checkpoints for a log"
        )
        raise SigningKeyError(f"expected {wanted}", where="keygen", written="There is no new key")
    for store in stores:
        if not store or Path(store).is_dir():
            raise SigningKeyError(
                f"--store {store!r}: expected the path of a database", where="keygen", written="There is no new key"
            )
    lines = [*(f"store: {os.path.realpath(store)}" for store in stores), *(f"log: {log}" for log in logs)]
    if any(not line.isprintable() for line in lines):
        raise SigningKeyError(
            "a store or a log has characters that do not show", where="keygen", written="There is no new key"
        )
    return "".join(f"{line}\n" for line in lines)


def configured(settings: Settings, use: Use) -> tuple[VerifierKey, KeyBinding | None]:
    """The public part of the key that the job file configures, and what stands beside it of what it may sign.

    Raises SigningKeyError if there is none.
    """
    section = settings.signing if use == "rows" else settings.sealing
    signer = load_signer(
        key_name=section.key_name,
        key_env=section.key_env,
        key_file=Path(section.key_file) if section.key_file else None,
        environ=os.environ,
    )
    if signer is None:
        raise SigningKeyError(
            f"{section.key_env} is not set, and {settings.job_file} names no key_file", where="signing key"
        )
    return VerifierKey(signer.key_name, signer.public_key), signer.binding
