"""What SQL says of an `ed25519_sig`: the twin of tasks/attestation/signature_column.py, held to it by a property test.

It picks the rows that are to be looked at; what each of them is worth, Python decides.
"""

from __future__ import annotations

from tasks.attestation.signature_column import KEY_ID_BYTES, PLACEHOLDER, SIGNED_BYTES

PLACEHOLDER_BLOB = f"zeroblob({len(PLACEHOLDER)})"


def is_placeholder(column: str) -> str:
    """Whether a column is exactly the placeholder; NULL for a column that is NULL."""
    return f"{column} = {PLACEHOLDER_BLOB}"


def may_be_signed(column: str) -> str:
    """Whether a column has the class and the length of a signed one: true of every signed one, and of a malformed one
    of another version.
    """
    return f"typeof({column}) = 'blob' AND length({column}) = {SIGNED_BYTES}"


def key_id(column: str) -> str:
    """The id of the key that made a signed column, as a BLOB."""
    return f"substr({column}, {SIGNED_BYTES - KEY_ID_BYTES + 1})"
