"""Checking Ed25519 signatures, by one rule that is written down.

A signature R + S over a message M is valid under a public key A, if and only if

    1. it is 64 bytes that are not all zero, and the key is 32 bytes (decided before any cryptography);
    2. S, little-endian, is less than the group order L;
    3. R is no encoding of a point of low order;
    4. A is the canonical encoding of a point on the curve, and that point is not of low order;
    5. R is, to the byte, the encoding of [S]B - [k]A, where k = SHA-512(R + A + M) over the bytes as given.

Step 5 is the equation without the cofactor. It leaves no place for an R that is not canonical.
Steps 2 to 5 are what libsodium does as PyNaCl 1.6.2 carries it (1.0.20-stable). RFC 8032, section
5.1.7, asks for less: it has no step 3, lets keys of low order pass, and allows the equation times 8.

By this rule alone, a key with a component of low order is not refused. No honest key has one, and
what verifies under it differs from one verifier to the next. So the keys that are loaded go through
`refuse_low_order` first, which knows them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from tasks.attestation.signature_column import PLACEHOLDER, SIGNATURE_BYTES
from tasks.core.errors import PublicKeyError

PUBLIC_KEY_BYTES: Final = 32

_P = 2**255 - 19
_Y_OF_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_LOW_ORDER: Final = frozenset(
    (y | sign << 255).to_bytes(PUBLIC_KEY_BYTES, "little")
    for y in (0, 1, _P - 1, _P, _P + 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8)
    for sign in (0, 1)
)
"""All 14 encodings of the 8 points of low order, canonical or not: the list in C2SP's CCTV, ed25519."""


def is_low_order(public_key: bytes) -> bool:
    """Whether 32 bytes encode, canonically or not, a point whose order divides 8.

    To a verifier that lets such a key pass, one signature is valid for many messages, or for all.
    """
    return public_key in _LOW_ORDER


def refuse_low_order(public_key: bytes) -> None:
    """Let through only a key of prime order: the canonical encoding of a point that [L] takes to zero.

    Raises PublicKeyError for any other length, for what is no point or not canonical, for the points
    of low order, and for points with a component of low order. Costs about one verification. Sound
    from PyNaCl 1.6.2: before, libsodium let some of the last kind pass (CVE-2025-69277).
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise PublicKeyError(f"{len(public_key)} bytes", where="public key", seen=f"expected {PUBLIC_KEY_BYTES}")
    if is_low_order(public_key):
        raise PublicKeyError(
            "a point of low order, under which anyone can sign",
            where=f"public key {public_key.hex()}",
            hint="No key pair has it: get the key again from its owner",
        )
    if not crypto_core_ed25519_is_valid_point(public_key):
        raise PublicKeyError(
            "not the canonical encoding of a point of prime order",
            where=f"public key {public_key.hex()}",
            hint="No key pair has it: get the key again from its owner",
        )


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is valid, by the rule above. Never raises for bytes of any length."""
    return verifier(public_key)(message, signature)


def verifier(public_key: bytes) -> Callable[[bytes, bytes], bool]:
    """The function `(message, signature) -> bool` for many signatures under one key.

    It never raises for bytes of any length. A key of another length than 32 bytes verifies nothing.
    """
    if len(public_key) != PUBLIC_KEY_BYTES:
        return lambda message, signature: False

    def verify_one(message: bytes, signature: bytes) -> bool:
        if len(signature) != SIGNATURE_BYTES or signature == PLACEHOLDER:
            return False
        try:
            crypto_sign_open(signature + message, public_key)
        except BadSignatureError:
            return False
        return True

    return verify_one
