"""A signature column is a placeholder, signed or malformed, and each malformed one says what is seen and expected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.attestation.signature_column import (
    PLACEHOLDER,
    PLACEHOLDER_HEX,
    SIGNED_BYTES,
    VERSION,
    SignatureColumn,
    build,
    parse,
    signature_hex,
)
from tasks.core.values import NotUtf8

KEY_ID = b"key id 8"


@given(st.binary(min_size=64, max_size=64).filter(any), st.binary(min_size=8, max_size=8))
def test_a_signed_column_is_read_as_it_was_built(signature: bytes, key_id: bytes) -> None:
    column = build(signature, key_id)
    assert parse(column) == SignatureColumn(signature, key_id)
    assert signature_hex(column) == signature.hex()


def test_the_placeholder_has_no_key() -> None:
    found = parse(PLACEHOLDER)
    assert isinstance(found, SignatureColumn) and found.is_placeholder
    assert signature_hex(PLACEHOLDER) == found.signature.hex() == PLACEHOLDER_HEX


@pytest.mark.parametrize(
    ("column", "objection"),
    [
        (None, "NULL, expected a BLOB"),
        ("\0" * 64, "text, expected a BLOB"),
        (NotUtf8(bytes(64)), "not UTF-8, expected a BLOB"),
        (7, "an integer, expected a BLOB"),
        (0.5, "a REAL, expected a BLOB"),
        (b"", "0 bytes, expected 80, or 64 zero bytes"),
        (bytes(63), "63 bytes, expected 80, or 64 zero bytes"),
        (bytes(63) + b"\1", "64 bytes that are not all zero: a signature needs its version and key id around it"),
        (build(b"\1" * 64, KEY_ID)[:-1], "79 bytes, expected 80, or 64 zero bytes"),
        (build(b"\1" * 64, KEY_ID) + b"\0", "81 bytes, expected 80, or 64 zero bytes"),
        (b"\2" + build(b"\1" * 64, KEY_ID)[1:], "version 0200000000000000, expected 0100000000000000"),
        (bytes(80), "version 0000000000000000, expected 0100000000000000"),
        (build(bytes(64), KEY_ID), "a signature of zero bytes"),
    ],
)
def test_anything_else_is_malformed_and_says_why(column: Any, objection: str) -> None:
    assert parse(column) == objection


@given(st.binary(max_size=96))
def test_nothing_is_read_as_signed_but_what_was_built(column: bytes) -> None:
    found = parse(column)
    if isinstance(found, SignatureColumn) and found.key_id is not None:
        assert column == build(*found) and len(column) == SIGNED_BYTES and column.startswith(VERSION)
