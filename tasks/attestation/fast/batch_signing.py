"""Signatures over many payloads with one key, as fast as they are to be had.

Ed25519 is deterministic (RFC 8032), so whoever signs, the bytes are the same:

    _batch_signer_ifma   for x86-64 with AVX-512 IFMA; about a sixth of PyNaCl's time
    _batch_signer_avx2   for x86-64 with AVX2; about two fifths of it
    PyNaCl               everywhere else, and always for a single payload

The first two are compiled from `native/` when the project is installed with a C compiler at hand. Of every SLICE
signatures of theirs one is made by PyNaCl as well and compared, before any is given out: the first of the first SLICE,
the second of the second, and so on, so that a large batch looks into every lane of the registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final, NamedTuple, TypeAlias

from nacl.bindings import crypto_sign

from tasks.attestation.signature_column import SIGNATURE_BYTES
from tasks.core.errors import SignerError

COMPILED: Final = ("_batch_signer_ifma", "_batch_signer_avx2")
"""The compiled signers, the fastest first."""

CompiledSign: TypeAlias = Callable[[bytes, Sequence[bytes]], list[bytes]]
"""`sign(secret_key, payloads)` of a compiled signer."""


class CompiledSigner(NamedTuple):
    """One of COMPILED that this processor can run."""

    name: str
    sign: CompiledSign


def find_compiled(names: Sequence[str] = COMPILED) -> CompiledSigner | None:
    """The first of these compiled signers that was built and that this processor can run."""
    for name in names:
        with suppress(ImportError, AttributeError):  # AttributeError: built from an older source
            return CompiledSigner(name, import_module(f"tasks.attestation.fast.{name}").sign)
    return None


compiled_signer = find_compiled()

SLICE: Final = 512
"""Signatures for each comparison. A signal waits for one slice at most."""

SignAll: TypeAlias = Callable[[Sequence[bytes]], list[bytes]]
"""Payloads to their bare signatures of 64 bytes, in the same order."""


class BatchSigning(NamedTuple):
    """How many payloads are signed with one key; `by` names who does it."""

    sign_all: SignAll
    by: str


def batch_signing(secret_key: bytes, *, compiled: bool) -> BatchSigning:
    """How to sign many payloads with `secret_key`: the seed and its public key, 64 bytes.

    With `compiled`, by the compiled signer if there is one. It raises SignerError, and gives no signature, if the
    compiled signer and PyNaCl disagree.
    """
    if compiled and compiled_signer is not None:
        return BatchSigning(_compared(compiled_signer.sign, secret_key), compiled_signer.name)
    return BatchSigning(lambda payloads: [_sign(payload, secret_key) for payload in payloads], "PyNaCl")


def _sign(payload: bytes, secret_key: bytes) -> bytes:
    return crypto_sign(payload, secret_key)[:SIGNATURE_BYTES]


def _compared(sign: CompiledSign, secret_key: bytes) -> SignAll:
    def sign_all(payloads: Sequence[bytes]) -> list[bytes]:
        signatures = list[bytes]()
        for number, start in enumerate(range(0, len(payloads), SLICE)):
            some = payloads[start : start + SLICE]
            signed = sign(secret_key, some)
            at = number % len(some)
            if signed[at] != _sign(some[at], secret_key):
                raise SignerError(
                    f"the compiled signer and PyNaCl give two signatures over one payload of {len(some[at])} bytes",
                    where="signing",
                    hint="Set signing.compiled: false in the job file",
                    written="Nothing of this batch was written",
                )
            signatures += signed
        return signatures

    return sign_all
