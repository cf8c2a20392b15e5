"""The leaves of the sealed log: the bytes of one row of the attestation log, and their hashes.

A leaf is canonical JSON, by the same rule as the payload, of the seven members

    attestation_id, attester, fact_id, notes, payload_sha256, signature_hex, signed_at

A column of another storage class than text or NULL is an object with one member, so that no two rows share a leaf:

    {"$blob": hex}   {"$integer": decimal}   {"$real": hex of the 8 bytes, big-endian}   {"$text": hex of what is not UTF-8}

docs/attestation.md says the same for those who write a verifier.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Final, NamedTuple, TypeAlias

from tasks.attestation.merkle import HASH_BYTES
from tasks.engine.derivation import NotUtf8

NO_DIGEST: Final = bytes(HASH_BYTES)
"""Stands in a tile where a leaf's payload_sha256 is null."""

MARK_BYTES: Final = 8
"""How much of each leaf hash a tile keeps: enough to name the leaf that does not fit."""

TILE_LEAVES: Final = 4096

Value: TypeAlias = "int | float | str | bytes | None"
"""A column as stored. Text that is not UTF-8 comes as NotUtf8."""

Row: TypeAlias = "tuple[int, str, str]"
"""(attestation_id, what stands before the value of payload_sha256, what stands after it)."""

AttestedRow: TypeAlias = "tuple[int, str, str, float | None, float | None, str | None]"
"""A Row with the bounds of its metadata row and the rest of that payload; the last is None where there is no payload."""

_NUMBERS = {"None": "null", "nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class LogRow(NamedTuple):
    """One row of the attestation log, every column as stored. A column that the store does not have is None."""

    attestation_id: int
    attester: Value
    fact_id: Value
    notes: Value
    signature_hex: Value
    signed_at: Value


class PayloadRow(NamedTuple):
    """The columns of a metadata row that a payload is made of, as stored."""

    confidence_lower: Value
    confidence_upper: Value
    extracted_at: Value
    fact_id: Value
    source_doc: Value
    verified_by: Value


class Leaves(NamedTuple):
    """Leaves in order: their attestation ids, payload digests (NO_DIGEST for none) and leaf hashes."""

    attestation_ids: list[int]
    digests: list[bytes]
    hashes: list[bytes]


def spell(value: Value) -> str:
    """One column in canonical JSON. No two values are spelt alike."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, NotUtf8):
        return f'{{"$text":"{value.hex()}"}}'
    if isinstance(value, bytes):
        return f'{{"$blob":"{value.hex()}"}}'
    if isinstance(value, float):
        return f'{{"$real":"{struct.pack(">d", value).hex()}"}}'
    return f'{{"$integer":"{value}"}}'


def row_of(row: LogRow) -> Row:
    """The two halves of a leaf, from the columns."""
    before = f',"attester":{spell(row.attester)},"fact_id":{spell(row.fact_id)},"notes":{spell(row.notes)}'
    after = f',"signature_hex":{spell(row.signature_hex)},"signed_at":{spell(row.signed_at)}}}'
    return row.attestation_id, f'{before},"payload_sha256":', after


def attested_row_of(row: LogRow, payload: PayloadRow) -> AttestedRow:
    """A row and its payload, from the columns."""
    return (*row_of(row), *payload_parts_of(payload))


def payload_parts_of(row: PayloadRow) -> tuple[float | None, float | None, str | None]:
    """Bounds and the rest of the payload; the rest is None where a column is of another type than a payload's."""
    lower, upper, extracted_at, fact_id, source_doc, verified_by = row
    if not _is_bound(lower) or not _is_bound(upper) or type(extracted_at) is not str or type(fact_id) is not str:
        return None, None, None
    if not all(value is None or type(value) is str for value in (source_doc, verified_by)):
        return None, None, None
    tail = (
        f',"extracted_at":{encode_basestring(extracted_at)},"fact_id":{encode_basestring(fact_id)}'
        f',"source_doc":{spell(source_doc)},"verified_by":{spell(verified_by)}}}'
    )
    return lower, upper, tail  # type: ignore[return-value]  # _is_bound has seen to it


def _is_bound(value: Value) -> bool:
    return value is None or type(value) is float


class Bands(dict["tuple[float | None, float | None]", str]):
    """(lower, upper) to the beginning of a payload. Remembers, for there are few bands and many rows.

    Zero is not remembered: 0.0 and -0.0 are equal to a dict, and spelt differently.
    """

    def __missing__(self, band: tuple[float | None, float | None]) -> str:
        lower, upper = (_NUMBERS.get(repr(bound), repr(bound)) for bound in band)
        text = f'{{"confidence_lower":{lower},"confidence_upper":{upper}'
        if 0.0 not in band:
            self[band] = text
        return text


def payload_text(lower: float | None, upper: float | None, tail: str) -> str:
    """A payload from its parts."""
    return Bands()[lower, upper] + tail


def leaf_data(row: Row, digest: bytes) -> bytes:
    """The bytes of one leaf. `digest` is that of the signed payload, or NO_DIGEST."""
    attestation_id, before, after = row
    return f'{{"attestation_id":{attestation_id}{before}{_word(digest)}{after}'.encode()


def _word(digest: bytes) -> str:
    return "null" if digest == NO_DIGEST else f'"{digest.hex()}"'


def new_leaves(rows: Iterable[AttestedRow]) -> Leaves:
    """The leaves that rows get when they are sealed: the digest is that of the payload as it stands now."""
    ids, digests, hashes = [], [], []
    bands = Bands()
    for attestation_id, before, after, lower, upper, tail in rows:
        if tail is None:
            digest, word = NO_DIGEST, "null"
        else:
            hashed = sha256((bands[lower, upper] + tail).encode())
            digest, word = hashed.digest(), f'"{hashed.hexdigest()}"'
        leaf = f'\0{{"attestation_id":{attestation_id}{before}{word}{after}'  # \0: the leaf's prefix in RFC 6962
        ids.append(attestation_id)
        digests.append(digest)
        hashes.append(sha256(leaf.encode()).digest())
    return Leaves(ids, digests, hashes)


def sealed_hashes(rows: Sequence[Row], digests: bytes) -> list[bytes]:
    """The leaf hashes of rows whose payload digests were kept, 32 bytes each in `digests`."""
    hashes, at = [], 0
    for attestation_id, before, after in rows:
        digest = digests[at : at + HASH_BYTES]
        word = "null" if digest == NO_DIGEST else f'"{digest.hex()}"'
        leaf = f'\0{{"attestation_id":{attestation_id}{before}{word}{after}'
        hashes.append(sha256(leaf.encode()).digest())
        at += HASH_BYTES
    return hashes
