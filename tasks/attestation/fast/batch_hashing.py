"""SHA-256 over many messages, over many rows, and over perfect Merkle trees, as fast as it is to be had.

`_batch_hasher` is compiled from `native/` when the project is installed with a C compiler on x86-64; it runs where the
processor has SHA instructions, and takes about a fifth of the time. Elsewhere hashlib does the same. It is used only if
it agrees with hashlib when it is loaded, on rows of every length up to four blocks and with every character of ASCII.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib import import_module
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

HASH_BYTES: Final = 32

DIGEST: Final = -1
"""Stands in a template for the digest of a row."""

Template: TypeAlias = "tuple[str | int, ...]"
"""How a row is spelt: a text stands for itself, a number for that column of the row, DIGEST for its digest."""

Rows: TypeAlias = Sequence[tuple[Any, ...]]

_NODE = b"\x01"
_FOUR_BLOCKS = 256


def split_hashes(together: bytes) -> list[bytes]:
    """Hashes that stand side by side."""
    return [together[at : at + HASH_BYTES] for at in range(0, len(together), HASH_BYTES)]


def plain_hash_each(messages: Sequence[bytes]) -> bytes:
    """`hash_each` by hashlib."""
    return b"".join([sha256(message).digest() for message in messages])


def plain_hash_rows(template: Template, rows: Rows, digests: bytes) -> bytes:
    """`hash_rows` by hashlib."""
    if len(digests) != HASH_BYTES * len(rows):
        raise ValueError(f"{len(digests)} bytes of digests, expected {HASH_BYTES * len(rows)}")
    hashes = []
    for row, digest in zip(rows, split_hashes(digests), strict=True):
        text = "".join([part if isinstance(part, str) else _spelt(part, row, digest) for part in template])
        hashes.append(sha256(text.encode()).digest())
    return b"".join(hashes)


def _spelt(column: int, row: tuple[Any, ...], digest: bytes) -> str:
    if column == DIGEST:
        return f'"{digest.hex()}"' if any(digest) else "null"
    value = row[column]
    if column and value is None:
        return "null"
    if type(value) is not (str if column else int):
        raise TypeError(f"column {column} is of type {type(value).__name__}")
    return encode_basestring(str(value)) if column else str(value)


def plain_perfect_root(hashes: bytes) -> bytes:
    """`perfect_root` by hashlib."""
    leaves, rest = divmod(len(hashes), HASH_BYTES)
    if rest or leaves < 1 or leaves & (leaves - 1):
        raise ValueError(f"{len(hashes)} bytes, expected 32 for each of a power of two of leaves")
    level = split_hashes(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


def find_compiled() -> Any:
    """The compiled hasher, or None if it was not built, cannot run here, or does not agree with hashlib."""
    try:
        found: Any = import_module("tasks.attestation.fast._batch_hasher")
        return found if _agrees(found) else None
    except Exception:  # whatever a build from another source raises: hashlib is there
        return None


def _agrees(found: Any) -> bool:
    template: Template = ("\0{", 0, ":", 1, "法", 2, DIGEST)
    ascii_text = "".join(map(chr, range(128)))
    rows = [(length - 99, "x" * length, None if length % 2 else ascii_text) for length in range(_FOUR_BLOCKS)]
    digests = bytes(HASH_BYTES) + b"".join([sha256(b"%d" % number).digest() for number in range(1, len(rows))])
    hashes = plain_hash_rows(template, rows, digests)
    messages = [text.encode() for _, text, _ in rows]
    return bool(
        found.hash_each(messages) == plain_hash_each(messages)
        and found.hash_rows(template, rows, digests) == hashes
        and found.perfect_root(hashes) == plain_perfect_root(hashes)
    )


_compiled = find_compiled()

hash_each: Callable[[Sequence[bytes]], bytes] = _compiled.hash_each if _compiled else plain_hash_each
"""The SHA-256 of each message, side by side."""

hash_rows: Callable[[Template, Rows, bytes], bytes] = _compiled.hash_rows if _compiled else plain_hash_rows
"""(template, rows, digests) -> the SHA-256 of each row, side by side. `digests` has 32 bytes for each row.

Column 0 of a row is an int, spelt in decimal digits; any other is a str, in quotes and escaped as JSON does, or None,
spelt null. A digest is spelt in hexadecimal digits and quotes, or null if it is zeros. All as UTF-8.

Raises TypeError for a value of another type, also of a subclass; UnicodeEncodeError for a lone surrogate; ValueError
for another number of digests. An int beyond 64 bits may be refused with OverflowError.
"""

perfect_root: Callable[[bytes], bytes] = _compiled.perfect_root if _compiled else plain_perfect_root
"""The root, by RFC 6962, over leaf hashes side by side. Raises ValueError unless their number is a power of two."""
