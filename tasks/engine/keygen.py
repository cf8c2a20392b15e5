"""Making keys, and showing the public part of those that are configured."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tasks.attestation.keyring import Use
from tasks.attestation.notes import VerifierKey
from tasks.attestation.signing import Signer, load_signer
from tasks.engine import files
from tasks.engine.errors import SigningKeyError
from tasks.engine.settings import Settings
from tasks.engine.terminal import holds_key

_SEED_BYTES = 32


def generate(path: Path, key_name: str) -> VerifierKey:
    """Put a new private key into a new file of mode 0600, and give its public part.

    The seed comes from the operating system's generator. Raises SigningKeyError if the file exists, or cannot be
    written; PublicKeyError or SigningKeyError for a key name that no signed note can carry, before any file is made.
    """
    if holds_key(key_name) or holds_key(str(path)):
        raise SigningKeyError(
            "keygen: 64 hex digits, which may be a private key, where a name or a path belongs. They are not shown. "
            "Give another. There is no new key."
        )
    VerifierKey(key_name, Signer(key_name=key_name, seed=bytes(_SEED_BYTES)).public_key)  # is the name usable?
    seed = secrets.token_bytes(_SEED_BYTES)
    try:
        with files.new_file(path, root=path.parent, sticky=True) as new:
            new.file.write(seed.hex().encode() + b"\n")
            new.sync()
            if not new.link():
                raise SigningKeyError(f"{path}: exists, and a key is never overwritten. Give another path.")
            files.sync_folder(new.folder)
    except OSError as error:
        raise SigningKeyError(f"{path}: cannot be written: {error.strerror}. There is no new key.") from None
    return VerifierKey(key_name, Signer(key_name=key_name, seed=seed).public_key)


def configured(settings: Settings, use: Use) -> VerifierKey:
    """The public part of the key that the job file configures. Raises SigningKeyError if there is none."""
    section = settings.signing if use == "rows" else settings.sealing
    signer = load_signer(
        key_name=section.key_name,
        key_env=section.key_env,
        key_file=Path(section.key_file) if section.key_file else None,
        environ=os.environ,
    )
    if signer is None:
        raise SigningKeyError(f"signing key: {section.key_env} is not set, and {settings.job_file} names no key_file.")
    return VerifierKey(signer.key_name, signer.public_key)
