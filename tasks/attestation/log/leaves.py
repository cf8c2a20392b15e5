"""The leaves of the sealed log: the bytes of one row of the attestation log, and their hashes.

A leaf is canonical JSON, by the same rule as the payload, of the seven members

    attestation_id, attester, fact_id, notes, payload_sha256, signature_hex, signed_at

A column of another storage class than text or NULL is an object with one member, so that no two rows share a leaf:

    {"$blob": hex}        {"$integer": decimal}
    {"$text": hex}        text that is not UTF-8
    {"$real": hex}        the 8 bytes of the binary64, big-endian

`leaf_data` says how a leaf is spelt. The same for many rows at once (`_LEAF` and the compiled hasher that fills it in,
`LeafMaker`) is held to it by test_many_at_once_are_what_each_is_alone, and it to docs/attestation-log.md, which says
the same for those who write a verifier.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import repeat
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple, TypeAlias

from tasks.attestation.fast.batch_hashing import DIGEST, HASH_BYTES, Template, hash_rows, split_hashes
from tasks.attestation.log.merkle import leaf_hash
from tasks.attestation.signature_column import PLACEHOLDER_HEX, SIGNATURE, SIGNATURE_BYTES, signature_hex
from tasks.core.values import NotUtf8

NO_DIGEST: Final = bytes(HASH_BYTES)
"""Stands in a tile where a leaf's payload_sha256 is null."""

MARK_BYTES: Final = 8
"""How much of each leaf hash a tile keeps: enough to name the leaf that does not fit."""

TILE_LEAVES: Final = 4096

Value: TypeAlias = "int | float | str | bytes | None"
"""A column as stored. Text that is not UTF-8 comes as NotUtf8."""

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
    """Leaves in order: attestation ids, and side by side payload digests (NO_DIGEST for none) and hashes."""

    attestation_ids: list[int]
    digests: bytes
    hashes: bytes


class LatestRow(NamedTuple):
    """The latest row of the log of one fact, with that fact's metadata row; None throughout where there is none."""

    attestation_id: int
    fact_id: Value
    signature_hex: Value
    ed25519_sig: Value
    confidence_lower: Value
    confidence_upper: Value
    extracted_at: Value
    fact_id_in_metadata: Value
    source_doc: Value
    verified_by: Value


class AttestedRow(NamedTuple):
    """A row of the log with the metadata row of its fact, every column as stored; None throughout where there is none.

    `is_latest` is asked for placeholders only: whether no later row of the log is about the same fact.
    """

    attestation_id: int
    attester: Value
    fact_id: Value
    notes: Value
    signature_hex: Value
    signed_at: Value
    confidence_lower: Value
    confidence_upper: Value
    extracted_at: Value
    fact_id_in_metadata: Value
    source_doc: Value
    verified_by: Value
    ed25519_sig: Value
    is_latest: int | None


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


def leaf_data(row: LogRow, digest: bytes) -> bytes:
    """The bytes of one leaf: the one place that says how it is spelt. `_LEAF` spells the plain ones faster.

    `digest` is that of the signed payload, or NO_DIGEST for null.
    """
    attestation_id, attester, fact_id, notes, signature_hex, signed_at = row
    word = "null" if digest == NO_DIGEST else f'"{digest.hex()}"'
    return (
        f'{{"attestation_id":{attestation_id},"attester":{spell(attester)},"fact_id":{spell(fact_id)}'
        f',"notes":{spell(notes)},"payload_sha256":{word},"signature_hex":{spell(signature_hex)}'
        f',"signed_at":{spell(signed_at)}}}'
    ).encode()


def payload_of(row: PayloadRow) -> bytes | None:
    """The payload that a metadata row spells; None where a column is of another type than a payload's."""
    lower, upper, extracted_at, fact_id, source_doc, verified_by = row
    if not (_is_bound(lower) and _is_bound(upper) and type(extracted_at) is str and type(fact_id) is str):
        return None
    if not all(value is None or type(value) is str for value in (source_doc, verified_by)):
        return None
    return (
        f'{{"confidence_lower":{_number(lower)},"confidence_upper":{_number(upper)}'
        f',"extracted_at":{spell(extracted_at)},"fact_id":{spell(fact_id)}'
        f',"source_doc":{spell(source_doc)},"verified_by":{spell(verified_by)}}}'
    ).encode()


def _is_bound(value: Value) -> bool:
    return value is None or type(value) is float


def _number(bound: Value) -> str:
    text = repr(bound)
    return _NUMBERS.get(text, text)


def sealed_digest(row: AttestedRow) -> bytes:
    """The payload digest that a row gets when it is sealed now, or NO_DIGEST.

    A metadata row is what the log row attested if it holds the same signature. All placeholders are alike, so with
    one only the latest row of a fact can be what stands in the metadata.
    """
    held = signature_hex(row.ed25519_sig) if type(row.ed25519_sig) is bytes else None
    if held is None or held != row.signature_hex or row.fact_id_in_metadata != row.fact_id:
        return NO_DIGEST
    if row.signature_hex == PLACEHOLDER_HEX and not row.is_latest:
        return NO_DIGEST
    payload = payload_of(PayloadRow(*row[6:12]))
    return NO_DIGEST if payload is None else sha256(payload).digest()


# --- many at once -----------------------------------------------------------------------------------
#
# The same as above, several times faster, for rows that hold what they should. Where one does not, one of its columns
# raises TypeError, and all of them go the plain way.

_LEAF: Template = (
    '\0{"attestation_id":', 0, ',"attester":', 1, ',"fact_id":', 2, ',"notes":', 3,
    ',"payload_sha256":', DIGEST, ',"signature_hex":', 4, ',"signed_at":', 5, "}",
)  # fmt: skip
"""`leaf_data` of a LogRow whose columns are all text or NULL, behind the zero that leaf hashes begin with.

A second spelling of the same: test_many_at_once_are_what_each_is_alone fails if it is another one.
"""

_ESCAPED = (ord('"'), ord("\\"), *range(0x20))
_BOUNDS = {float, type(None)}


class _Quoted(dict["str | None", str]):
    """A text or NULL to JSON, remembered."""

    def __missing__(self, value: str | None) -> str:
        text = self[value] = encode_basestring(value)  # type: ignore[arg-type]  # None is there from the start
        return text


class _Bands(dict["tuple[Value, Value]", str]):
    """(lower, upper) to the beginning of a payload, remembered. Each is a binary64 or None.

    Equal keys must be spelt alike: so 0.0, which is equal to -0.0, is not remembered.
    """

    def __missing__(self, band: tuple[Value, Value]) -> str:
        text = f'{{"confidence_lower":{_number(band[0])},"confidence_upper":{_number(band[1])}'
        if 0.0 not in band:
            self[band] = text
        return text


def leaf_hashes(rows: Sequence[tuple[Any, ...]], digests: bytes) -> bytes:
    """The leaf hashes of rows, side by side, given their payload digests, side by side.

    A row is a LogRow, or a tuple that begins with its columns.
    """
    try:
        return hash_rows(_LEAF, rows, digests)
    except (TypeError, OverflowError):  # the latter: an id beyond 64 bits
        some = zip(rows, split_hashes(digests), strict=True)
        return b"".join([leaf_hash(leaf_data(LogRow(*row[:6]), digest)) for row, digest in some])


def marks_of(hashes: bytes) -> bytes:
    """The first MARK_BYTES of each of the leaf hashes, side by side."""
    return memoryview(hashes).cast("Q")[:: HASH_BYTES // MARK_BYTES].tobytes() if hashes else b""


class LeafMaker:
    """Makes leaves of rows that are not sealed yet, many at once. Remembers how texts and bands that come again are
    spelt: a few MB at most.
    """

    _REMEMBERED = 50_000

    def __init__(self) -> None:
        self._bands, self._quoted = _Bands(), _Quoted({None: "null"})

    def leaves(self, rows: Sequence[AttestedRow]) -> Leaves:
        """The leaves that rows get when they are sealed now. Takes plain tuples too."""
        self._forget()
        try:
            digests = b"".join(_digests(rows, self._bands, self._quoted)) if rows else b""
        except TypeError:
            digests = b"".join([sealed_digest(AttestedRow(*row)) for row in rows])
        return Leaves([row[0] for row in rows], digests, leaf_hashes(rows, digests))

    def _forget(self) -> None:
        if len(self._bands) > self._REMEMBERED:
            self._bands.clear()
        if len(self._quoted) > self._REMEMBERED:
            self._quoted = _Quoted({None: "null"})


def _digests(rows: Sequence[AttestedRow], bands: _Bands, quoted: _Quoted) -> list[bytes]:
    """`sealed_digest` of each row."""
    (
        _, _, fact_ids, _, signatures, _,
        lowers, uppers, extracted_at, fact_ids_in_metadata, source_docs, verified_by, blobs, latest,
    ) = zip(*rows, strict=True)  # fmt: skip
    if not {*map(type, lowers), *map(type, uppers)} <= _BOUNDS or {*map(type, blobs)} != {bytes}:
        raise TypeError("a bound that is no binary64, or a signature that is no BLOB")
    in_metadata = [(blob if len(blob) == SIGNATURE_BYTES else blob[SIGNATURE]).hex() for blob in blobs]
    return [
        sha256(f'{band},"extracted_at":"{at}","fact_id":"{name}","source_doc":{source_doc}{verifier}'.encode()).digest()
        if held == signature and fact_id_in_metadata == fact_id and is_latest != 0
        else NO_DIGEST
        for held, signature, fact_id_in_metadata, fact_id, is_latest, band, at, name, source_doc, verifier in zip(
            in_metadata, signatures, fact_ids_in_metadata, fact_ids, latest,
            map(bands.__getitem__, zip(lowers, uppers, strict=True)),
            _between_quotes(extracted_at), _between_quotes(fact_ids),
            ["null" if doc is None else encode_basestring(doc) for doc in source_docs],
            _framed(',"verified_by":', verified_by, "}", quoted),
            strict=True,
        )
    ]  # fmt: skip


def _framed(before: str, column: Sequence[str | None], after: str, quoted: _Quoted) -> Iterable[str]:
    """Each text or NULL in JSON, between what stands around it. Most columns of a batch hold one value."""
    if column.count(column[0]) == len(column):
        return repeat(f"{before}{quoted[column[0]]}{after}", len(column))
    return [f"{before}{quoted[value]}{after}" for value in column]


def _between_quotes(column: Sequence[str]) -> Sequence[str]:
    """Each text as it stands between the quotes of JSON. Raises TypeError for what is no text."""
    together = "".join(column).encode()
    if any(byte in together for byte in _ESCAPED):  # faster than to quote each of them
        return [encode_basestring(text)[1:-1] for text in column]
    return column
