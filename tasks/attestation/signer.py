"""Ed25519 signatures over payloads, and the key that makes them.

What they are put into: signature_column.py. The private key is held by one Signer and shown by nothing: no message, no
`repr`, no pickle, and no traceback, even one that prints local variables.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from tasks.attestation.fast.batch_signing import SignAll, batch_signing
from tasks.attestation.key_bindings import KeyBinding, binding_in_file, binding_in_variable
from tasks.attestation.signature_column import KEY_ID_BYTES, SIGNATURE_BYTES, build
from tasks.core.errors import NOTHING_WRITTEN, SigningKeyError
from tasks.core.files import is_ours, opened_file, opened_folder

_SEED_DIGITS = 64
_ED25519_TYPE = b"\x01"  # https://c2sp.org/signed-note, signature types
_LONGEST_KEY_FILE = 4096  # bytes


class _Secret(bytes):
    """Key bytes that no `repr` shows, so that a traceback with local variables does not either."""

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


def is_key_name(name: str) -> bool:
    """Whether a signed note can carry the name: not empty, no Unicode spaces, no controls, no plus."""
    if not name or "+" in name or any(character.isspace() for character in name):
        return False
    return not any(character < " " or "\ud800" <= character <= "\udfff" for character in name)


def key_id(key_name: str, public_key: bytes) -> bytes:
    """The 8 bytes that name a key; the first 4 are its C2SP signed-note key id.

    They begin SHA-256(key name + newline + 0x01 + public key): https://c2sp.org/signed-note.
    Raises SigningKeyError for a key name that no signed note could carry.
    """
    if not is_key_name(key_name):
        raise SigningKeyError(
            f'key name {key_name!r} cannot stand in a signed note. Expected a name without blanks, controls and "+"',
            where="signing key",
            written=NOTHING_WRITTEN,
        )
    named_key = key_name.encode() + b"\n" + _ED25519_TYPE + public_key
    return hashlib.sha256(named_key).digest()[:KEY_ID_BYTES]


class Signer:
    """Signs payloads with one private key; shows its name and key id, never the key.

    `sign(payload)` gives the bare signature, 64 bytes; `blob(payload)` gives the 80 bytes of
    `ed25519_sig`, and `blobs(payloads)` those of many, in their order and in less time. All are deterministic
    (RFC 8032). In a loop, fetch the function once. With `compiled`, `blobs` uses the compiled signer where there is
    one: batch_signing.py tells of that and of what it raises. `blobs_by` names who makes them. `binding` is what is
    said beside the key of what it may sign: whoever takes a signer for a store looks at it first, key_uses.py.

    Raises SigningKeyError for an unusable key name, ValueError for a seed that is not 32 bytes.
    """

    __slots__ = ("binding", "blob", "blobs", "blobs_by", "key_id", "key_name", "public_key", "sign")

    key_name: str
    key_id: bytes
    public_key: bytes
    sign: Callable[[bytes], bytes]
    blob: Callable[[bytes], bytes]
    blobs: Callable[[Sequence[bytes]], list[bytes]]
    blobs_by: str
    binding: KeyBinding | None

    def __init__(self, *, key_name: str, seed: bytes, compiled: bool = True, binding: KeyBinding | None = None) -> None:
        self.key_name, self.key_id = key_name, b""  # a traceback out of here calls repr
        self.binding = binding
        self.public_key, secret_key = _key_pair(seed)
        self.key_id = key_id(key_name, self.public_key)
        many = batch_signing(secret_key, compiled=compiled)
        self.sign, self.blob, self.blobs = _signing_functions(secret_key, self.key_id, many.sign_all)
        self.blobs_by = many.by

    def __repr__(self) -> str:
        return f"Signer(key_name={self.key_name!r}, key_id={self.key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Signer holds a private key: it is neither pickled nor copied")


def _key_pair(seed: bytes) -> tuple[bytes, _Secret]:
    public_key, secret_key = crypto_sign_seed_keypair(seed)
    return public_key, _Secret(secret_key)


def _signing_functions(
    secret_key: _Secret, signed_by: bytes, sign_all: SignAll
) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes], Callable[[Sequence[bytes]], list[bytes]]]:
    """`sign`, `blob` and `blobs` over one key, which is reached through them alone."""

    def sign(payload: bytes) -> bytes:
        return crypto_sign(payload, secret_key)[:SIGNATURE_BYTES]

    def blob(payload: bytes) -> bytes:
        return build(sign(payload), signed_by)

    def blobs(payloads: Sequence[bytes]) -> list[bytes]:
        return [build(signature, signed_by) for signature in sign_all(payloads)]

    return sign, blob, blobs


def load_signer(
    *,
    key_name: str,
    key_env: str | None,
    key_file: Path | None,
    environ: Mapping[str, str],
    called: str = "signing key",
    compiled: bool = True,
) -> Signer | None:
    """The signer that the job file asks for; None only if no key is configured.

    A key is configured if `environ` holds the variable `key_env`, even empty, or if `key_file` is
    given. It is a seed of 32 bytes, in hex. The file may have blanks around it, and may be open to
    its owner only. What stands beside the key of what it may sign comes with the signer: key_bindings.py.

    Raises SigningKeyError if the key is missing, unreadable, malformed or configured twice, with a
    message that shows nothing of the key.
    """
    found = _find_key(key_env, key_file, environ)
    del environ  # it holds the key: keep it out of the locals of whatever is raised from here
    if found is None:
        return None
    if isinstance(found, str):
        raise SigningKeyError(found, where=called, written=NOTHING_WRITTEN)
    return Signer(key_name=key_name, seed=found.seed, compiled=compiled, binding=found.binding)


# The functions below hold key text among their locals. So they return what is wrong, and never raise.


@dataclass(frozen=True)
class _Key:
    seed: _Secret
    binding: KeyBinding | None


def _find_key(key_env: str | None, key_file: Path | None, environ: Mapping[str, str]) -> _Key | str | None:
    """The one key that is configured; what is wrong with it; or None if none is."""
    variable = key_env if key_env is not None and key_env in environ else None
    if variable is not None and key_file is not None:
        return (
            f"two keys are configured, {variable} and the file {key_file}, expected one: "
            "unset the variable or remove the key_file of the job file"
        )
    if variable is not None:
        return _key_of(_seed_of(environ[variable], where=variable), binding_in_variable(environ, variable))
    if key_file is not None:
        return _key_in_file(key_file)
    return None


def _key_of(seed: _Secret | str, binding: KeyBinding | str | None) -> _Key | str:
    if isinstance(seed, str):
        return seed
    return binding if isinstance(binding, str) else _Key(seed, binding)


def _seed_of(text: str, *, where: str) -> _Secret | str:
    """The seed written in hex, or what is wrong with it."""
    if not text or text.isspace():
        return f"{where} is empty, expected {_SEED_DIGITS} hex digits"
    others = len(re.sub("[0-9a-fA-F]", "", text))
    if others:
        return (
            f"{where} has characters that are not hex digits ({others} of {len(text)}), "
            f"expected {_SEED_DIGITS} hex digits and nothing else"
        )
    if len(text) != _SEED_DIGITS:
        return f"{where} has {len(text)} hex digits, expected {_SEED_DIGITS}"
    return _Secret.fromhex(text)


def _key_in_file(path: Path) -> _Key | str:
    """The key in a private file, or what is wrong with the file or its content."""
    try:
        with opened_folder(path.parent, root=path.parent, sticky=True):  # nobody else may have a hand in it
            if not is_ours(os.lstat(path)):  # a link, too: in a folder like /tmp nobody replaces one of ours
                return f"{path} belongs to another user, expected this one or root"
            with opened_file(path, root=None) as file:
                objection = _objection(path, os.fstat(file.fileno()))
                return objection or _key_in(file.read(_LONGEST_KEY_FILE), path=str(path))
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = getattr(error, "strerror", None) or error
        return f"{path} cannot be read ({reason}), expected {_SEED_DIGITS} hex digits in a file of mode 0600"


def _key_in(content: bytes, *, path: str) -> _Key | str:
    """The key on the first line that is not blank, and what the lines below say."""
    first, _, rest = content.strip().partition(b"\n")
    return _key_of(_seed_of(first.strip().decode("latin-1"), where=path), binding_in_file(rest, path))


def _objection(path: Path, status: os.stat_result) -> str | None:
    """Why an open file is not read for a key, or None."""
    if not is_ours(status):
        return f"{path} belongs to another user, expected this one or root"
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        return f"{path} has mode {mode:04o}, expected 0600 or stricter: chmod 600 {path}"
    if status.st_size > _LONGEST_KEY_FILE:
        return f"{path} has {status.st_size} bytes, expected {_SEED_DIGITS} hex digits"
    return None
