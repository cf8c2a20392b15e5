"""A dry run held against the live run of the same plan: what was compared, and what differs.

A report says that they match only of what was compared: the facts of each outcome chunk by chunk, the reasons for
rejects, and the key that signs. (Totals alone would match where one fact went and another came.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from tasks.engine.documents import Count, Digest, typed

COMPARED: Final = ("the facts of each outcome in every chunk", "the reasons for rejects", "the signing key")
NOT_COMPARED: Final = "what is attested of each fact"
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
    """What a live run came to: `signers` are the keys that signed its rows, None for a placeholder."""

    rows: dict[str, int]
    rejects: dict[str, int]
    chunks: Sequence[dict[str, Any]]
    signers: frozenset[str | None]


def compare(content: dict[str, Any] | None, plan_id: str, came_to: Outcome) -> dict[str, Any] | None:
    """The prediction in a dry run's report.json beside what came; None if there is none of this plan."""
    try:
        predicted = typed(_PREDICTIONS, content or {})
    except ValueError:
        return None
    if predicted.plan_id != plan_id:
        return None
    differences = [*_differences(predicted, came_to)]
    return {
        "rows": predicted.rows,
        "rejects": predicted.rejects,
        "signatures": {"key_id": predicted.signatures.key_id},
        "matches": not differences,
        "compared": list(COMPARED),
        "not_compared": [NOT_COMPARED],
        "differences": differences[:_LISTED],
    }


def _differences(predicted: _Prediction, came_to: Outcome) -> Iterable[str]:
    others = came_to.signers - {predicted.signatures.key_id}
    if others:
        yield f"signed with {_keys(others)}, the dry run had {_keys({predicted.signatures.key_id})}"
    if predicted.rows != came_to.rows:
        yield "facts of each outcome in all"
    if predicted.rejects != came_to.rejects:
        yield "the reasons for rejects"
    expected, seen = {c.chunk: c.rows for c in predicted.chunks}, {c["chunk"]: c["rows"] for c in came_to.chunks}
    for number in sorted(expected.keys() | seen.keys()):
        if expected.get(number) != seen.get(number):
            yield f"chunk {number}: {_counts(seen.get(number))}, the dry run had {_counts(expected.get(number))}"


def _keys(keys: Iterable[str | None]) -> str:
    return " and ".join(sorted(f"key {key}" if key else "no key" for key in keys))


def _counts(rows: dict[str, int] | None) -> str:
    return ", ".join(f"{name} {count}" for name, count in (rows or {}).items() if count) or "nothing"


def words(dry: dict[str, Any]) -> str:
    """For people: what was compared, and no more than that."""
    compared, left = "; ".join(dry["compared"]), "; ".join(dry["not_compared"])
    without = f" Not compared: {left}." if left else ""
    if dry["matches"]:
        return f"matches in {compared}.{without}"
    return f"DIFFERS: {'; '.join(dry['differences'])}. Compared: {compared}.{without}"
