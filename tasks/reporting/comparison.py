"""A dry run held against the live run of the same plan: what was compared, and what differs.

A report speaks only of what was compared: the facts of each outcome chunk by chunk, the reasons for rejects, and the
key that signs. (Totals alone would match where one fact went and another came.) What is attested is compared where the
job file says so, by a fingerprint of every chunk; for people, only then do they "match".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from tasks.core.documents import Count, Digest, typed

COMPARED: Final = ("the facts of each outcome in every chunk", "the reasons for rejects", "the signing key")
CONTENT: Final = "source, bounds and time of the facts inserted and updated, by a fingerprint of every chunk"
NOT_COMPARED: Final = "source, bounds and time of each fact (rehearsal.compare: content does)"
_LISTED = 10


@dataclass(frozen=True)
class _Signatures:
    signed: Count
    placeholder: Count
    key_id: str | None


@dataclass(frozen=True)
class _Chunk:
    chunk: Count
    rows: dict[str, Count]
    signatures: _Signatures
    content: str | None = None


@dataclass(frozen=True)
class _Prediction:
    """What the report of a dry run is read for."""

    plan_id: Digest
    rows: dict[str, Count]
    rejects: dict[str, Count]
    signatures: _Signatures
    chunks: tuple[_Chunk, ...]


_PREDICTIONS = TypeAdapter(_Prediction)


@dataclass(frozen=True)
class Outcome:
    """What a run came to: `chunks` has the facts of each outcome, and the fingerprint of what was attested, by number;
    `signers` are the keys that signed its rows, None for a placeholder.
    """

    rows: dict[str, int]
    rejects: dict[str, int]
    chunks: Mapping[int, tuple[dict[str, int], str | None]]
    signers: frozenset[str | None]


@dataclass(frozen=True)
class Foreseen:
    """What a dry run says of itself: it foretells, and there is nothing yet to hold it against."""

    rows: dict[str, int]
    rejects: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "matches": None}


@dataclass(frozen=True)
class Comparison:
    """What a dry run foretold, and in what it differs from what came; `key_id` is the key that it foretold."""

    rows: dict[str, int]
    rejects: dict[str, int]
    key_id: str | None
    compared: list[str]
    not_compared: list[str]
    differences: list[str]

    @property
    def matches(self) -> bool:
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows, "rejects": self.rejects, "signatures": {"key_id": self.key_id}, "matches": self.matches,
            "compared": self.compared, "not_compared": self.not_compared, "differences": self.differences,
        }  # fmt: skip


def compare(content: dict[str, Any] | None, plan_id: str, came_to: Outcome) -> Comparison | None:
    """The prediction in a dry run's report.json beside what came; None if there is none of this plan."""
    try:
        predicted = typed(_PREDICTIONS, content or {})
    except ValueError:
        return None
    if predicted.plan_id != plan_id:
        return None
    contents = [*(chunk.content for chunk in predicted.chunks), *(content for _, content in came_to.chunks.values())]
    by_content = None not in contents and len(contents) > 0
    differences = [*_differences(predicted, came_to, by_content=by_content)]
    return Comparison(
        rows=predicted.rows,
        rejects=predicted.rejects,
        key_id=predicted.signatures.key_id,
        compared=[*COMPARED, CONTENT] if by_content else list(COMPARED),
        not_compared=[] if by_content else [NOT_COMPARED],
        differences=differences[:_LISTED],
    )


def _differences(predicted: _Prediction, came_to: Outcome, *, by_content: bool) -> Iterable[str]:
    others = came_to.signers - {predicted.signatures.key_id}
    if others:
        yield f"signed with {_keys(others)}, the dry run had {_keys({predicted.signatures.key_id})}"
    if predicted.rows != came_to.rows:
        yield "facts of each outcome in all"
    if predicted.rejects != came_to.rejects:
        yield "the reasons for rejects"
    yield from _of_chunks(predicted, came_to, by_content=by_content)


def _of_chunks(predicted: _Prediction, came_to: Outcome, *, by_content: bool) -> Iterable[str]:
    expected, seen = {c.chunk: c.rows for c in predicted.chunks}, {n: rows for n, (rows, _) in came_to.chunks.items()}
    foreseen = {c.chunk: c.content for c in predicted.chunks}
    attested = {n: content for n, (_, content) in came_to.chunks.items()}
    for number in sorted(expected.keys() | seen.keys()):
        if expected.get(number) != seen.get(number):
            yield f"chunk {number}: {_counts(seen.get(number))}, the dry run had {_counts(expected.get(number))}"
        elif by_content and foreseen[number] != attested[number]:
            yield f"chunk {number}: as many facts, but another source, bound or time, or other facts"


def _keys(keys: Iterable[str | None]) -> str:
    return " and ".join(sorted(f"key {key}" if key else "no key" for key in keys))


def _counts(rows: dict[str, int] | None) -> str:
    return ", ".join(f"{name} {count}" for name, count in (rows or {}).items() if count) or "nothing"


def words(dry: Comparison) -> str:
    """For people: what was compared, and no more than that."""
    compared, left = "; ".join(dry.compared), "; ".join(dry.not_compared)
    without = f" Not compared: {left}." if left else ""
    if dry.matches:
        return f"{'the same' if left else 'matches'} in {compared}.{without}"
    return f"DIFFERS: {'; '.join(dry.differences)}. Compared: {compared}.{without}"
