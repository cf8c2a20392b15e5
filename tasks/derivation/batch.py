"""The rules for millions of facts: the same outcomes as `stays_unchanged` and `derive` give one by one.

It takes a shortcut for facts without any oddity, and hands every other fact to `derive`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tasks.core.blank import BLANK
from tasks.core.values import ATTESTED, Band, Fact, FactRow, Record, Reject, Value
from tasks.derivation.rules import UNKNOWN_BAND, Rules, band_of, derive, extracted_at_of, number_of, stays_unchanged
from tasks.derivation.times import parse_created_at


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
        self.confidence_not_numeric += fact.confidence is not None and number_of(fact.confidence) is None


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
            extracted_at = self[created_at] = extracted_at_of(created_at, self._rules)
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
        super().__init__({None: UNKNOWN_BAND})
        self._width = rules.confidence_width

    def __missing__(self, confidence: Value) -> Band | None:
        number = confidence if type(confidence) is float else number_of(confidence)
        if number is None:
            return None
        band = self[confidence] = band_of(number, self._width)
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
