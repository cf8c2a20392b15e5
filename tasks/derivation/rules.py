"""From the raw values of one fact to the record that is attested, or to the reason why not.

    key                    -> fact_id
    own_url, source_url    -> source_doc
    created_at             -> extracted_at
    confidence             -> confidence_lower, confidence_upper

`derive` states the rules, one fact at a time. `derive_batch` does the same for millions: it takes a
shortcut for facts without any oddity, and hands every other fact to `derive`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final, NamedTuple, TypeAlias

from tasks.core.blank import BLANK, is_blank
from tasks.derivation.times import TICKS, CreatedAtAs, hint_for, parse_created_at, parse_unix_time

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
"""One value as SQLite gives it. Text that is not UTF-8 comes as NotUtf8, and what must not be read as TooLong."""

FactRow: TypeAlias = tuple[Value, Value, Value, Value, Value, int]
"""The fields of a Fact, as a plain tuple in the same order."""

ATTESTED: Final = 2
"""What a fact that the log knows has in `Fact.has_metadata` beside the 1 or 0."""

READS_LIKE_ANOTHER: Final = 4
"""What a text key such as '7' has there too, beside another fact whose key is the integer 7: both are fact "7"."""

FOLLOWS: Final = 8
"""What a fact has there too if its attestation follows every change of it, be it that its source is gone."""

_DETAIL_LENGTH = 120

_NUMBER = re.compile(
    r"[ \t\n\r\f\v]*[+-]?"
    r"(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)"
    r"[ \t\n\r\f\v]*",
    re.ASCII | re.IGNORECASE,  # without ASCII, IGNORECASE takes a dotless i for an i
)


class NotUtf8(bytes):
    """The bytes of a value that the database calls text but that is not UTF-8."""


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
_UNKNOWN_BAND: Band = (None, None)


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


@dataclass
class Derivation:
    """The outcomes of one batch, each list in the order of its facts.

    Guarantee: every fact is in exactly one list or in `unchanged`. `created_at_missing` and
    `confidence_not_numeric` count among inserts and updates only. `attested` are facts with what would be attested of
    them, were it not that the log knows them already: it has to be asked before one is taken by `accept`.
    """

    inserts: list[Record] = field(default_factory=list)
    updates: list[Record] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    attested: list[tuple[Fact, Record]] = field(default_factory=list)
    unchanged: int = 0
    created_at_missing: int = 0
    confidence_not_numeric: int = 0

    def accept(self, fact: Fact, record: Record) -> None:
        """The record of a fact is to be written."""
        (self.updates if fact.has_metadata & 1 else self.inserts).append(record)
        self.created_at_missing += fact.created_at is None
        self.confidence_not_numeric += fact.confidence is not None and _number(fact.confidence) is None


def now_iso(now: datetime) -> str:
    """`now` as ISO-8601 UTC with milliseconds (truncated), such as `2026-05-12T01:23:45.000Z`.

    Raises ValueError if `now` does not know its time zone.
    """
    if now.tzinfo is None:
        raise ValueError("a time without a time zone is ambiguous")
    return now.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stays_unchanged(fact: Fact) -> bool:
    """Whether nothing is to be written: there is a metadata row, and no source to add to it."""
    return fact.has_metadata & (1 | READS_LIKE_ANOTHER | FOLLOWS) == 1 and _source(fact) is None


def derive(fact: Fact, rules: Rules) -> Record | Reject:
    """The record of a fact, or the first of REASONS that forbids one. Never raises.

    It does not ask whether there is metadata: ask `stays_unchanged` first.
    """
    source = _source(fact)
    extracted_at = _extracted_at(fact.created_at, rules)
    band = _band(_number(fact.confidence), rules.confidence_width)

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


def derive_batch(facts: Iterable[FactRow], rules: Rules, memo: Memo | None = None) -> Derivation:
    """The outcomes of many facts: the same as `stays_unchanged` and `derive` give one by one.

    About a microsecond a fact. `memo` carries what was derived from equal values over to the next batch.
    """
    result = Derivation()
    memo = memo or Memo(rules)
    times, bands = memo.times, memo.bands
    minutes, rests = times.minutes, times.rests
    insert, update = result.inserts.append, result.updates.append
    new_tuple = tuple.__new__  # half the time of Record(...)
    created_at_missing = 0

    for row in facts:
        key, source_doc, source_url, created_at, confidence, has_metadata = row
        if source_doc is None:
            source_doc = source_url
        if (
            type(created_at) is str
            and (minute := minutes.get(created_at[:_MINUTE])) is not None
            and (rest := rests.get(created_at[_MINUTE:])) is not None
        ):
            extracted_at: str | None = minute + rest
        else:
            extracted_at = times[created_at]
        band = bands[confidence]
        if (
            extracted_at is not None
            and band is not None
            and has_metadata < ATTESTED
            and (type(key) is int or type(key) is str)
            and (
                (type(source_doc) is str and source_doc and source_doc[0] not in BLANK)
                or (source_doc is None and not has_metadata)
            )
        ):
            lower, upper = band
            record = new_tuple(Record, (str(key), source_doc, extracted_at, lower, upper))
            if has_metadata:
                update(record)
            else:
                insert(record)
            if created_at is None:
                created_at_missing += 1
        else:
            _settle(Fact._make(row), rules, result)

    result.created_at_missing += created_at_missing
    memo.shrink()
    return result


_MINUTE = 16  # characters of YYYY-MM-DD HH:MM
_MOST_REMEMBERED = 100_000


class Memo:
    """Times and bands that were derived before, for one set of rules. Between batches some ten megabytes at most."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.times = _Times(rules)
        self.bands = _Bands(rules)

    def shrink(self) -> None:
        """Begin anew where more than _MOST_REMEMBERED values are remembered."""
        if max(len(self.times), len(self.times.minutes), len(self.times.rests)) > _MOST_REMEMBERED:
            self.times = _Times(self._rules)
        if len(self.bands) > _MOST_REMEMBERED:
            self.bands = _Bands(self._rules)


class _Times(dict[Value, "str | None"]):
    """created_at -> extracted_at; None where `derive` has to judge.

    Few times are equal, but neighbours differ in a few places. So the two halves of a time in UTC, up to the minute and
    from the seconds on, are remembered instead of the whole: any two halves that were valid make a valid time.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__({None: rules.default_extracted_at})
        self._rules = rules
        self.minutes: dict[str, str] = {}
        self.rests: dict[str, str] = {}

    def __missing__(self, created_at: Value) -> str | None:
        if self._rules.created_at_as != "text":
            extracted_at = self[created_at] = _extracted_at(created_at, self._rules)
            return extracted_at
        if type(created_at) is not str:
            return None
        extracted_at = parse_created_at(created_at)
        if extracted_at is not None and len(created_at) >= _MINUTE and _is_same_minute(created_at, extracted_at):
            self.minutes[created_at[:_MINUTE]] = extracted_at[:_MINUTE]
            self.rests[created_at[_MINUTE:]] = extracted_at[_MINUTE:]
        else:
            self[created_at] = extracted_at
        return extracted_at


def _is_same_minute(created_at: str, extracted_at: str) -> bool:
    """Whether a time was in UTC already; any other offset moves it by 1 minute to 23:59 hours."""
    return created_at[:10] == extracted_at[:10] and created_at[11:_MINUTE] == extracted_at[11:_MINUTE]


class _Bands(dict[Value, "Band | None"]):
    """confidence -> band; None where `derive` has to judge.

    What is no number is not kept: a BLOB and a NotUtf8 of the same bytes would be one key.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__({None: _UNKNOWN_BAND})
        self._width = rules.confidence_width

    def __missing__(self, confidence: Value) -> Band | None:
        number = confidence if type(confidence) is float else _number(confidence)
        if number is None:
            return None
        band = self[confidence] = _band(number, self._width)
        return band


def _settle(fact: Fact, rules: Rules, result: Derivation) -> None:
    """Add one fact of any kind to `result`, by the rules as `derive` states them."""
    if stays_unchanged(fact):
        result.unchanged += 1
        return
    outcome = derive(fact, rules)
    if isinstance(outcome, Reject):
        result.rejects.append(outcome)
        return
    if fact.has_metadata & ATTESTED:
        result.attested.append((fact, outcome))
    else:
        result.accept(fact, outcome)


def _number(confidence: Value) -> float | None:
    """A confidence as a number; text counts if all of it, but for blanks around it, is one."""
    if isinstance(confidence, (int, float)):
        return float(confidence)
    if isinstance(confidence, str) and _NUMBER.fullmatch(confidence):
        return float(confidence)
    return None


def _band(number: float | None, width: float) -> Band | None:
    """The band around a number: (None, None) if there is none, None if it is not in [0, 1]."""
    if number is None:
        return _UNKNOWN_BAND
    if not 0.0 <= number <= 1.0:
        return None
    return max(0.0, number - width), min(1.0, number + width)


def _extracted_at(created_at: Value, rules: Rules) -> str | None:
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
