"""What a fact is, and what becomes of it: the values that every room hands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

TOO_LONG: Final = "too_long"
KEY_NOT_TEXT_OR_INTEGER: Final = "key_not_text_or_integer"
KEY_READS_LIKE_ANOTHER: Final = "key_reads_like_another"
NOT_UTF8: Final = "not_utf8"
SOURCE_NOT_TEXT: Final = "source_not_text"
CREATED_AT_UNPARSEABLE: Final = "created_at_unparseable"
CONFIDENCE_OUT_OF_RANGE: Final = "confidence_out_of_range"
REFUSED_BY_DATABASE: Final = "refused_by_database"

REASONS: Final = (
    TOO_LONG,
    KEY_NOT_TEXT_OR_INTEGER,
    KEY_READS_LIKE_ANOTHER,
    NOT_UTF8,
    SOURCE_NOT_TEXT,
    CREATED_AT_UNPARSEABLE,
    CONFIDENCE_OUT_OF_RANGE,
)
"""Every reason that a fact's own values can give. Of several that hold, the first in this order is given."""

Value: TypeAlias = "int | float | str | bytes | TooLong | None"
"""One value as a store gives it. Text that is not UTF-8 comes as NotUtf8, and what must not be read as TooLong."""

FactRow: TypeAlias = tuple[Value, Value, Value, Value, Value, int]
"""The fields of a Fact, as a plain tuple in the same order."""

ATTESTED: Final = 2
"""What a fact that the log knows has in `Fact.has_metadata` beside the 1 or 0."""

READS_LIKE_ANOTHER: Final = 4
"""What a text key such as '7' has there too, beside another fact whose key is the integer 7: both are fact "7"."""

FOLLOWS: Final = 8
"""What a fact has there too if its attestation follows every change of it, be it that its source is gone."""


class NotUtf8(bytes):
    """The bytes of a value that the database calls text but that is not UTF-8."""


_CLASSES = {str: "text", float: "a REAL", int: "an integer", bytes: "a BLOB", NotUtf8: "not UTF-8", type(None): "NULL"}


def storage_class(value: object) -> str:
    """The storage class of a value as the database gave it, in words."""
    return _CLASSES.get(type(value), "of an odd type")


@dataclass(frozen=True)
class TooLong:
    """Stands for text or a BLOB of so many bytes: the store did not read it, because it is longer than it may be."""

    length: int


class Fact(NamedTuple):
    """One residual fact: the values as the database holds them.

    `own_url` is the fact's own source URL, `source_url` that of the source it refers to; a column
    that this store does not have is None. `has_metadata` is 1 if there is a metadata row (its
    `source_doc` is NULL, or the fact would not be residual), else 0.
    """

    key: Value
    own_url: Value
    source_url: Value
    created_at: Value
    confidence: Value
    has_metadata: int


class Record(NamedTuple):
    """What is attested about one fact. Both bounds are None, or 0.0 <= lower <= upper <= 1.0."""

    fact_id: str
    source_doc: str | None
    extracted_at: str
    confidence_lower: float | None
    confidence_upper: float | None


class Reject(NamedTuple):
    """Why a fact cannot be attested honestly: one of REASONS, and what was seen."""

    fact_id: str
    reason: str
    detail: str


class UnreadableFact(NamedTuple):
    """A residual fact whose values the database cannot give, or whose row it would not take: rejected as it is."""

    key: int | float | str | bytes | None
    reject: Reject


Band: TypeAlias = tuple[float | None, float | None]
