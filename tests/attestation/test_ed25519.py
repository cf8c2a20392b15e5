"""Signatures are checked by the rule that the module states, step by step."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

from tasks.attestation import ed25519
from tasks.attestation.ed25519 import is_low_order, refuse_low_order, verifier, verify
from tasks.attestation.signature_column import PLACEHOLDER
from tasks.attestation.signer import Signer
from tasks.core.errors import PublicKeyError

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
SIGNER = Signer(key_name="example.org/rows", seed=bytes(range(32)))
KEY = SIGNER.public_key
MESSAGE = b"a record"

LOW_ORDER = [
    bytes.fromhex(one)
    for one in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    )
]
IDENTITY = LOW_ORDER[2]
ORDER_2 = LOW_ORDER[8]


# Signatures made by hand, all of which satisfy the equation at least when it is taken times 8.


def encoded(scalar: int) -> bytes:
    return scalar.to_bytes(32, "little")


def times_base(scalar: int) -> bytes:
    return crypto_scalarmult_ed25519_base_noclamp(encoded(scalar % L))


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L


def signature_with(*, key: bytes, secret: int, r: bytes, nonce: int, message: bytes) -> bytes:
    """R + S with S = nonce + k * secret, whatever points the bytes of `key` and `r` stand for."""
    return r + encoded((nonce + challenge(r, key, message) * secret) % L)


def mixed_key(secret: int) -> bytes:
    """A key with a component of order 2."""
    return crypto_core_ed25519_add(times_base(secret), ORDER_2)


def message_with(parity: int, r: bytes, key: bytes) -> bytes:
    return next(m for m in map(encoded, range(100)) if challenge(r, key, m) % 2 == parity)


# --- valid ------------------------------------------------------------------------------------------

# RFC 8032, section 7.1: tests 1, 2, 3 and SHA(abc).
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_are_valid_and_with_one_bit_changed_they_are_not(
    key: str, message: str, signature: str
) -> None:
    public_key, text, blob = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    refuse_low_order(public_key)
    assert verify(public_key, text, blob)
    assert not verify(public_key, text + b"\x00", blob)
    for at in range(0, 512, 7):
        damaged = (int.from_bytes(blob, "big") ^ 1 << at).to_bytes(64, "big")
        assert not verify(public_key, text, damaged)


def test_one_verifier_serves_many_signatures() -> None:
    check = verifier(KEY)
    messages = [b"", b"one", b"another" * 1000]
    assert all(check(message, SIGNER.sign(message)) for message in messages)
    assert not any(check(message + b"!", SIGNER.sign(message)) for message in messages)


# --- step 1: the bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 96])
def test_a_signature_of_another_length_is_not_valid(length: int) -> None:
    signature = (SIGNER.sign(MESSAGE) + bytes(32))[:length]
    assert not verify(KEY, MESSAGE, signature)


def test_a_signature_does_not_borrow_bytes_from_its_message() -> None:
    signature = SIGNER.sign(MESSAGE)
    assert not verify(KEY, signature[60:] + MESSAGE, signature[:60])


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_under_a_key_of_another_length_nothing_is_valid(length: int) -> None:
    key = (KEY + KEY)[:length]
    assert not verify(key, MESSAGE, SIGNER.sign(MESSAGE))


def test_the_placeholder_is_refused_before_any_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that accepts anything shows who decides."""
    monkeypatch.setattr(ed25519, "crypto_sign_open", lambda signed, key: signed)
    assert verify(KEY, MESSAGE, bytes(63) + b"\x01")
    for key in (KEY, *LOW_ORDER):
        assert not verify(key, MESSAGE, PLACEHOLDER)


# --- steps 2 to 5 -----------------------------------------------------------------------------------


def test_s_is_less_than_the_group_order() -> None:
    signature = SIGNER.sign(MESSAGE)
    s = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 15):
        assert not verify(KEY, MESSAGE, signature[:32] + encoded(s + multiple * L))


@pytest.mark.parametrize("r", LOW_ORDER)
def test_r_is_no_point_of_low_order(r: bytes) -> None:
    secret = 12345
    signature = signature_with(key=times_base(secret), secret=secret, r=r, nonce=0, message=MESSAGE)
    assert not verify(times_base(secret), MESSAGE, signature)


@pytest.mark.parametrize("key", LOW_ORDER)
def test_under_a_key_of_low_order_nothing_is_valid(key: bytes) -> None:
    """[S]B - [k]A is R for every message if A is zero, and for some if its order is 2, 4 or 8."""
    r = times_base(1)
    assert not any(verify(key, encoded(number), r + encoded(1)) for number in range(40))


def test_the_equation_is_taken_without_the_cofactor() -> None:
    secret, nonce = 12345, 67890
    key, r = times_base(secret), times_base(nonce)
    assert verify(key, MESSAGE, signature_with(key=key, secret=secret, r=r, nonce=nonce, message=MESSAGE))
    mixed_r = crypto_core_ed25519_add(r, ORDER_2)
    signature = signature_with(key=key, secret=secret, r=mixed_r, nonce=nonce, message=MESSAGE)
    assert not verify(key, MESSAGE, signature)


def test_a_key_with_a_component_of_low_order_depends_on_the_message_and_is_not_loaded() -> None:
    secret, nonce = 12345, 67890
    key, r = mixed_key(secret), times_base(nonce)
    for parity, verdict in ((0, True), (1, False)):
        message = message_with(parity, r, key)
        signature = signature_with(key=key, secret=secret, r=r, nonce=nonce, message=message)
        assert verify(key, message, signature) is verdict
    with pytest.raises(PublicKeyError, match="prime order"):
        refuse_low_order(key)


# --- loading keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", LOW_ORDER)
def test_a_key_of_low_order_is_refused_however_it_is_encoded(key: bytes) -> None:
    assert is_low_order(key)
    with pytest.raises(PublicKeyError, match=f"public key {key.hex()}: a point of low order"):
        refuse_low_order(key)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(PublicKeyError, match=f"{length} bytes, expected 32"):
        refuse_low_order(bytes(length))


@pytest.mark.parametrize("key", [encoded(2), encoded(P + 3), encoded(P + 4), b"\xff" * 32])
def test_bytes_that_are_no_point_or_not_canonical_are_refused_as_a_key(key: bytes) -> None:
    with pytest.raises(PublicKeyError, match="prime order"):
        refuse_low_order(key)


@pytest.mark.parametrize("seed", range(20))
def test_an_honest_key_is_let_through(seed: int) -> None:
    key = Signer(key_name="k", seed=encoded(seed)).public_key
    assert not is_low_order(key)
    refuse_low_order(key)


# --- vectors ----------------------------------------------------------------------------------------

REFUSED = {
    "low_order_A": "step 4",
    "low_order_R": "step 3",
    "non_canonical_A": "step 4",
    "non_canonical_R": "steps 3 and 5: all of those in the vectors are of low order too",
    "low_order_residue": "step 5: only [8] makes the two sides equal",
}
"""The flags that settle a verdict: one of these, and the signature is not valid."""
WITHOUT_EFFECT = {
    "low_order_component_A": "valid where the components of R and [k]A cancel out",
    "low_order_component_R": "the same",
    "reencoded_k": "stands with a non-canonical A or R only, which is refused for that",
}


def test_the_published_edge_cases_get_the_verdict_of_their_flags(published: Callable[[str], Any]) -> None:
    verdicts: Counter[bool] = Counter()
    for case in published("ed25519_edge_cases.json")["vectors"]:
        flags = set(case["flags"] or ())
        assert flags <= REFUSED.keys() | WITHOUT_EFFECT.keys()
        verdict = verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
        assert verdict is not bool(flags & REFUSED.keys()), case
        verdicts[verdict] += 1
    assert verdicts == {True: 43, False: 871}


def test_of_the_published_keys_those_of_prime_order_alone_are_loaded(published: Callable[[str], Any]) -> None:
    """So of 914 signatures just one counts: the one without a flag."""
    valid = []
    for case in published("ed25519_edge_cases.json")["vectors"]:
        key, flags = bytes.fromhex(case["key"]), set(case["flags"] or ())
        assert is_low_order(key) is ("low_order_A" in flags)
        try:
            refuse_low_order(key)
        except PublicKeyError:
            assert flags & {"low_order_A", "low_order_component_A"}
            continue
        assert not flags & {"low_order_A", "low_order_component_A", "non_canonical_A"}
        if verify(key, case["msg"].encode(), bytes.fromhex(case["sig"])):
            valid.append(case["flags"])
    assert valid == [None]
