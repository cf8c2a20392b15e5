"""Everything that can be wrong with a fact, in known numbers: one table, one line per wart.

Each wart spoils one thing about a fact that is sound otherwise, so what becomes of it can be told
without running the job. The rules are those of the derivation: a key that is neither text nor an
integer is the only one that cannot be shown here, since the facts' key is an INTEGER PRIMARY KEY.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import gcd
from typing import Any, Literal, TypedDict

from tasks.sample.facts import source_url
from tasks.stores.protocols.new_store import StoredFact, StoredMetadata, StoredSource, StoredValue, TextColumn

Outcome = Literal["inserted", "updated", "unchanged", "rejected"]

LEGACY_ATTESTER = "etl_prov_backfill_v1"
LEGACY_RUN_AT = "2026-01-15T03:00:00.000Z"
_UNREADABLE_SOURCES = 1_000_000_000  # ids above every other source's
_NO_SOURCES = 2_000_000_000  # ids of no source at all
_NOT_UTF8 = b"\xff\xfe not UTF-8"


@dataclass(frozen=True)
class Wart:
    """One way to spoil a fact, and what the job has to make of it.

    `created_at` is a form in which {date}, {minute} and {second} stand for the fact's own moment.
    `source` says which source the fact points to: its entity's, a row whose URL is not UTF-8, a row that
    does not exist, or none; "kept" leaves it as it is. `not_utf8` names a column whose bytes are to be
    stored as text. `metadata` is what an earlier run left: nothing, or a row with or without a source.
    """

    name: str
    per_mille: int
    columns: Mapping[str, StoredValue] = field(default_factory=dict)
    created_at: str | None = None
    source: Literal["kept", "linked", "unreadable", "dangling", "none"] = "kept"
    not_utf8: TextColumn | None = None
    metadata: Literal["with source", "without source"] | None = None
    outcome: Outcome = "inserted"
    reason: str | None = None


def _rejected(name: str, reason: str, columns: Mapping[str, StoredValue], not_utf8: TextColumn | None = None) -> Wart:
    return Wart(name, 1, columns, not_utf8=not_utf8, outcome="rejected", reason=reason)


def _undated(name: str, created_at: str) -> Wart:
    return Wart(name, 1, created_at=created_at, outcome="rejected", reason="created_at_unparseable")


WARTS = (
    Wart("created_at_date", 2, created_at="{date}"),
    Wart("created_at_minutes", 2, created_at="{date} {minute}"),
    Wart("created_at_t_minutes", 2, created_at="{date}T{minute}"),
    Wart("created_at_t_seconds", 2, created_at="{date}T{second}"),
    Wart("created_at_z", 2, created_at="{date}T{second}Z"),
    Wart("created_at_z_millis", 2, created_at="{date}T{second}.250Z"),
    Wart("created_at_offset_east", 2, created_at="{date}T{second}+09:00"),
    Wart("created_at_offset_west", 2, created_at="{date} {minute}-03:30"),
    Wart("created_at_long_fraction", 2, created_at="{date} {second}.123456789"),
    Wart("created_at_null", 2, {"created_at": None}),
    _undated("created_at_now", "now"),
    _undated("created_at_bare_number", "2460000.5"),
    _undated("created_at_empty", ""),
    _undated("created_at_no_such_day", "2026-02-30"),
    _undated("created_at_hour_24", "{date} 24:00"),
    Wart("confidence_null", 5, {"confidence": None}),
    Wart("confidence_number_as_text", 2, {"confidence": "0.75"}),  # the column's affinity makes it a number
    Wart("confidence_text", 2, {"confidence": "high"}),
    Wart("confidence_zero", 1, {"confidence": 0.0}),
    Wart("confidence_one", 1, {"confidence": 1.0}),
    _rejected("confidence_above_one", "confidence_out_of_range", {"confidence": 1.5}),
    _rejected("confidence_negative", "confidence_out_of_range", {"confidence": -0.1}),
    _rejected("confidence_infinite", "confidence_out_of_range", {"confidence": float("inf")}),
    Wart("source_url_spaces_with_source", 1, {"source_url": "   "}, source="linked"),
    Wart("source_url_spaces_alone", 1, {"source_url": "   "}, source="none"),
    Wart("source_url_wide_space_with_source", 1, {"source_url": "\u3000"}, source="linked"),
    Wart("source_url_wide_space_alone", 1, {"source_url": "\u3000"}, source="none"),
    Wart("source_id_dangling", 2, {"source_url": None}, source="dangling"),
    _rejected("source_url_blob", "source_not_text", {"source_url": b"https://example.jp/blob"}),
    _rejected("source_url_not_utf8", "not_utf8", {"source_url": _NOT_UTF8}, not_utf8="source_url"),
    _rejected("created_at_not_utf8", "not_utf8", {"created_at": _NOT_UTF8}, not_utf8="created_at"),
    Wart("source_row_not_utf8", 1, {"source_url": None}, source="unreadable",
         outcome="rejected", reason="not_utf8"),
    Wart("metadata_with_source", 20, {"source_url": None}, source="linked",
         metadata="with source", outcome="unchanged"),
    Wart("metadata_source_now_known", 10, {"source_url": None}, source="linked",
         metadata="without source", outcome="updated"),
    Wart("metadata_source_still_unknown", 5, {"source_url": None}, source="none",
         metadata="without source", outcome="unchanged"),
)  # fmt: skip


class Expected(TypedDict, total=False):
    """What the job has to count on a sample that no run has touched yet."""

    eligible: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int
    rejects: dict[str, int]


@dataclass(frozen=True)
class WartPlan:
    """How many facts get which wart: `per_mille` of all, but at least one while there are facts left."""

    facts: int
    counts: tuple[int, ...]

    @staticmethod
    def of(facts: int, *, warts: bool = True) -> WartPlan:
        """The plan for so many facts; without warts, every count is 0."""
        left = facts if warts else 0
        counts = []
        for wart in WARTS:
            counts.append(min(left, max(1, facts * wart.per_mille // 1000)))
            left -= counts[-1]
        return WartPlan(facts, tuple(counts))

    def by_name(self) -> dict[str, int]:
        """The number of facts with each wart."""
        return {wart.name: count for wart, count in zip(WARTS, self.counts, strict=True)}

    def expected(self) -> Expected:
        """The outcome of every fact, by counting: a fact without a wart is inserted."""
        outcomes = {"inserted": self.facts - sum(self.counts), "updated": 0, "unchanged": 0, "rejected": 0}
        rejects: dict[str, int] = {}
        for wart, count in zip(WARTS, self.counts, strict=True):
            outcomes[wart.outcome] += count
            if wart.reason and count:
                rejects[wart.reason] = rejects.get(wart.reason, 0) + count
        return Expected(
            eligible=self.facts, inserted=outcomes["inserted"], updated=outcomes["updated"],
            unchanged=outcomes["unchanged"], rejected=outcomes["rejected"], rejects=rejects,
        )  # fmt: skip

    def placed(self) -> Iterator[tuple[int, Wart]]:
        """(ordinal of the fact, its wart), in order: evenly over the facts, the kinds well mixed."""
        total, ends = sum(self.counts), list(accumulate(self.counts))
        stride = max(1, round(total * 0.618))
        while gcd(stride, total) > 1:
            stride += 1
        for slot in range(total):
            yield slot * self.facts // total, WARTS[bisect_right(ends, slot * stride % total)]


@dataclass(frozen=True)
class Spoilt:
    """A fact with its wart, and the rows elsewhere that belong to it."""

    fact: StoredFact
    not_utf8: TextColumn | None
    source: StoredSource | None
    metadata: StoredMetadata | None


def spoil(fact: StoredFact, wart: Wart, entity_source: int) -> Spoilt:
    """Give the fact its wart. `entity_source` is a source that exists."""
    date, _, second = str(fact.created_at).partition(" ")
    changes: dict[str, Any] = dict(wart.columns)
    if wart.created_at is not None:
        changes["created_at"] = wart.created_at.format(date=date, minute=second[:5], second=second)
    sources = {
        "kept": fact.source_id, "linked": entity_source, "unreadable": _UNREADABLE_SOURCES + fact.id,
        "dangling": _NO_SOURCES + fact.id, "none": None,
    }  # fmt: skip
    changes["source_id"] = sources[wart.source]
    source = None
    if wart.source == "unreadable":
        url = b"https://example.jp/" + str(fact.id).encode() + b"/\xff"
        source = StoredSource(_UNREADABLE_SOURCES + fact.id, url, None, None, None, None, None, None)
    metadata = None
    if wart.metadata is not None:
        known = source_url(entity_source) if wart.metadata == "with source" else None
        metadata = StoredMetadata(str(fact.id), known, f"{date}T{second}.000Z")
    return Spoilt(fact._replace(**changes), wart.not_utf8, source, metadata)
