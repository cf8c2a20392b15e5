"""What happened to facts, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from tasks.core.values import KEY_NOT_TEXT_OR_INTEGER, TOO_LONG


def _noted(words: str) -> Any:
    """A count beside the outcomes, kept chunk by chunk, and what a report says of so many facts."""
    return field(default=0, metadata={"words": words})


@dataclass(frozen=True)
class Counts:
    """What happened to facts. `eligible = inserted + updated + unchanged + rejected`, always.

    The ledger has a column of each name, marker and report a member. So a new count is added in three places: here,
    in the declaration of the ledger's table, and where it is counted.
    """

    eligible: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    signed: int = 0
    placeholder: int = 0
    created_at_missing: int = _noted("facts have no created_at: extracted_at is the plan's creation time")
    confidence_not_numeric: int = _noted("facts have a confidence that is no number: no band")

    def __post_init__(self) -> None:
        if self.eligible != self.inserted + self.updated + self.unchanged + self.rejected:
            raise AssertionError(f"counts do not close: {self}")

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in COUNTS))

    def by_name(self) -> dict[str, int]:
        return asdict(self)

    def rows(self) -> dict[str, int]:
        """The five counts of the report, under their names."""
        return {name: getattr(self, name) for name in OUTCOMES}

    def noted(self) -> dict[str, int]:
        """Those that say something of facts besides their outcome, under their names."""
        return {name: getattr(self, name) for name in NOTED}


COUNTS: Final = tuple(count.name for count in fields(Counts))
"""The names of all counts, as the ledger has them of chunks."""

OUTCOMES: Final = ("eligible", "inserted", "updated", "unchanged", "rejected")
"""All facts, and the four things that happen to them."""

NOTED: Final[dict[str, str]] = {c.name: c.metadata["words"] for c in fields(Counts) if "words" in c.metadata}
"""Name -> what a report says of so many facts."""

COUNTS_OF_BATCHES: Final = tuple(name for name in COUNTS if name not in NOTED)
"""Those that the ledger has of every batch too."""


@dataclass(frozen=True)
class PlainCounts:
    """Facts that were judged by the shape of their values alone: each would be attested, none rejected."""

    inserted: int = 0
    updated: int = 0
    created_at_missing: int = 0


@dataclass(frozen=True)
class SetAside:
    """Facts whose key can be no bound of a range: it is NULL, or too long to be read. All of them are rejected."""

    null_keys: int = 0
    long_keys: int = 0

    @property
    def total(self) -> int:
        return self.null_keys + self.long_keys

    def __bool__(self) -> bool:
        return self.total > 0

    def reasons(self) -> dict[str, int]:
        """Why they are rejected: {reason: count}."""
        found = {KEY_NOT_TEXT_OR_INTEGER: self.null_keys, TOO_LONG: self.long_keys}
        return {reason: count for reason, count in found.items() if count}


NONE_PLAIN = PlainCounts()
NONE_SET_ASIDE = SetAside()
