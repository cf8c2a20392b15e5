"""What stands in `ed25519_sig`: the one rule by which the column is read, and the parts that it is made of.

    placeholder   64 zero bytes. Unsigned, and never valid
    signed        8 bytes version + 64 bytes signature, not all of them zero + 8 bytes key id

Anything else is malformed: no BLOB, another length or version, a signature of zeros. Whether a signature verifies is
another question: ed25519.py.

The same in SQL: tasks/stores/sqlite/sql/signature_column.py, which a property test holds to `parse`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tasks.core.values import storage_class

SIGNATURE_BYTES: Final = 64
KEY_ID_BYTES: Final = 8

VERSION: Final = b"\x01" + bytes(7)
"""The first eight bytes of a signed column."""

PLACEHOLDER: Final = bytes(SIGNATURE_BYTES)
"""What stands in the column when no key is configured. It means unsigned, and is never valid."""

PLACEHOLDER_HEX: Final = PLACEHOLDER.hex()
"""The same in `signature_hex`."""

SIGNATURE: Final = slice(len(VERSION), len(VERSION) + SIGNATURE_BYTES)
"""Where the signature stands in a signed column."""

SIGNED_BYTES: Final = len(VERSION) + SIGNATURE_BYTES + KEY_ID_BYTES


class SignatureColumn(NamedTuple):
    """A well-formed column: its signature, 64 bytes, and the id of the key that made it; None for a placeholder."""

    signature: bytes
    key_id: bytes | None

    @property
    def is_placeholder(self) -> bool:
        return self.key_id is None


_PLACEHOLDER = SignatureColumn(PLACEHOLDER, None)


def parse(column: object) -> SignatureColumn | str:
    """The parts of a column as stored, or why it is malformed: seen against expected. Never raises.

    Text that is not UTF-8 comes as NotUtf8, and is no BLOB.
    """
    if type(column) is not bytes:
        return f"{storage_class(column)}, expected a BLOB"
    if len(column) == SIGNED_BYTES and column[: SIGNATURE.start] == VERSION:
        signature = column[SIGNATURE]
        return SignatureColumn(signature, column[SIGNATURE.stop :]) if any(signature) else "a signature of zero bytes"
    if column == PLACEHOLDER:
        return _PLACEHOLDER
    if len(column) == len(PLACEHOLDER):
        return "64 bytes that are not all zero: a signature needs its version and key id around it"
    if len(column) != SIGNED_BYTES:
        return f"{len(column)} bytes, expected {SIGNED_BYTES}, or {len(PLACEHOLDER)} zero bytes"
    return f"version {column[: len(VERSION)].hex()}, expected {VERSION.hex()}"


def build(signature: bytes, key_id: bytes) -> bytes:
    """The column for a signature and the id of the key that made it."""
    return VERSION + signature + key_id


def where_the_signature_stands(column: bytes) -> bytes:
    """All of 64 bytes, else the 64 behind the version: of a column that need not be well-formed. What is compared with
    the log's `signature_hex`.
    """
    return column if len(column) == SIGNATURE_BYTES else column[SIGNATURE]


def signature_hex(column: bytes) -> str:
    """What the log says of a column that is a placeholder or was made by a Signer."""
    return where_the_signature_stands(column).hex()


def is_signature_present(column: object) -> bool:
    """Whether there is anything but zeros where a signature stands. It says nothing about its being valid."""
    if not isinstance(column, bytes):
        return False
    return any(column[SIGNATURE] if len(column) == SIGNED_BYTES else column)
