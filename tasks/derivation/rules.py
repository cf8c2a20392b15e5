"""From the raw values of one fact to the record that is attested, or to the reason why not.

    key                    -> fact_id
    own_url, source_url    -> source_doc
    created_at             -> extracted_at
    confidence             -> confidence_lower, confidence_upper

`derive` states the rules, one fact at a time. `derive_batch` does the same for millions: it takes a
shortcut for facts without any oddity, and hands every other fact to `derive`. What changes here has to change in
its twin in SQL too, tasks/stores/sqlite/sql/plain.py, which settles plain facts without reading them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.core.blank import is_blank
from tasks.core.values import (
    CONFIDENCE_OUT_OF_RANGE,
    CREATED_AT_UNPARSEABLE,
    FOLLOWS,
    KEY_NOT_TEXT_OR_INTEGER,
    KEY_READS_LIKE_ANOTHER,
    NOT_UTF8,
    READS_LIKE_ANOTHER,
    REFUSED_BY_DATABASE,
    SOURCE_NOT_TEXT,
    TOO_LONG,
    Band,
    Fact,
    NotUtf8,
    Record,
    Reject,
    TooLong,
    Value,
)
from tasks.derivation.times import TICKS, CreatedAtAs, hint_for, parse_created_at, parse_unix_time

_DETAIL_LENGTH = 120

_NUMBER = re.compile(
    r"[ \t\n\r\f\v]*[+-]?"
    r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)"
    r"[ \t\n\r\f\v]*",
    re.ASCII | re.IGNORECASE,  # without ASCII, IGNORECASE takes a dotless i for an i
)


UNKNOWN_BAND: Band = (None, None)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the derivation needs to know besides the fact.

    `confidence_width` is half the width of the band, in [0, 1]. `default_extracted_at` stands in
    for a missing `created_at`; it is used verbatim, so it is ISO-8601 UTC with milliseconds.
    `created_at_as` says what the others are. A source may have `longest_source` bytes, a key, `created_at` or
    confidence `longest_value`: the store sees to that as it reads.
    """

    confidence_width: float
    default_extracted_at: str
    created_at_as: CreatedAtAs = "text"
    longest_source: int = 65_536
    longest_value: int = 1_024


def stays_unchanged(fact: Fact) -> bool:
    """Whether nothing is to be written: there is a metadata row, and no source to add to it."""
    return fact.has_metadata & (1 | READS_LIKE_ANOTHER | FOLLOWS) == 1 and _source(fact) is None


def derive(fact: Fact, rules: Rules) -> Record | Reject:
    """The record of a fact, or the first of REASONS that forbids one. Never raises.

    It does not ask whether there is metadata: ask `stays_unchanged` first.
    """
    source = _source(fact)
    extracted_at = extracted_at_of(fact.created_at, rules)
    band = band_of(number_of(fact.confidence), rules.confidence_width)

    named = {"key": fact.key, "source": source, "created_at": fact.created_at, "confidence": fact.confidence}
    for name, value in named.items():
        if isinstance(value, TooLong):
            most = rules.longest_source if name == "source" else rules.longest_value
            return Reject(_readable_key(fact.key), TOO_LONG, f"{name}: {value.length} bytes, at most {most}")
    if not isinstance(fact.key, (int, str, NotUtf8)):
        return _reject(fact, KEY_NOT_TEXT_OR_INTEGER, "key", fact.key)
    if fact.has_metadata & READS_LIKE_ANOTHER:
        return _reject(fact, KEY_READS_LIKE_ANOTHER, "key", fact.key, "another fact has the integer for its key")
    for name, value in named.items():
        if isinstance(value, NotUtf8):
            return _reject(fact, NOT_UTF8, name, value)
    if source is not None and not isinstance(source, str):
        return _reject(fact, SOURCE_NOT_TEXT, "source", source)
    if extracted_at is None:
        hint = hint_for(fact.created_at, rules.created_at_as)
        return _reject(fact, CREATED_AT_UNPARSEABLE, "created_at", fact.created_at, hint)
    if band is None:
        return _reject(fact, CONFIDENCE_OUT_OF_RANGE, "confidence", fact.confidence)
    return Record(str(fact.key), source, extracted_at, *band)


def number_of(confidence: Value) -> float | None:
    """A confidence as a number; text counts if all of it, but for blanks around it, is one."""
    if isinstance(confidence, (int, float)):
        return float(confidence)
    if isinstance(confidence, str) and _NUMBER.fullmatch(confidence):
        return float(confidence)
    return None


def band_of(number: float | None, width: float) -> Band | None:
    """The band around a number: (None, None) if there is none, None if it is not in [0, 1]."""
    if number is None:
        return UNKNOWN_BAND
    if not 0.0 <= number <= 1.0:
        return None
    return max(0.0, number - width), min(1.0, number + width)


def extracted_at_of(created_at: Value, rules: Rules) -> str | None:
    """When a fact was extracted; None if `created_at` is there but is no time."""
    if created_at is None:
        return rules.default_extracted_at
    if rules.created_at_as == "text":
        return parse_created_at(created_at) if isinstance(created_at, str) else None
    if isinstance(created_at, (int, float, str)):
        return parse_unix_time(created_at, TICKS[rules.created_at_as])
    return None


def _source(fact: Fact) -> Value:
    """The value that would be the source, verbatim, of whatever type; None if there is none."""
    for value in (fact.own_url, fact.source_url):
        if value is not None and not (isinstance(value, str) and is_blank(value)):
            return value
    return None


def _reject(fact: Fact, reason: str, name: str, value: Value, hint: str = "") -> Reject:
    return Reject(_readable_key(fact.key), reason, f"{name}: {_seen(value)}{hint and f' ({hint})'}")


def refused_fact(key: Value, words: str) -> Reject:
    """The rejection of a fact that the database itself turns away, in the database's words."""
    return Reject(_readable_key(key), REFUSED_BY_DATABASE, words)


def _readable_key(key: Value) -> str:
    """A key as text: itself if it can be a fact_id, else as SQL would write it."""
    if isinstance(key, NotUtf8):
        return key.decode("utf-8", "backslashreplace")
    if isinstance(key, bytes):
        return f"x'{key.hex()}'"
    return "NULL" if key is None else str(key)


def _seen(value: Value) -> str:
    """A value as `repr` shows it, cut so that a detail stays readable."""
    start = value[:_DETAIL_LENGTH] if isinstance(value, (str, bytes)) else value
    shown = repr(start)
    return shown if len(shown) <= _DETAIL_LENGTH else f"{shown[: _DETAIL_LENGTH - 1]}…"
