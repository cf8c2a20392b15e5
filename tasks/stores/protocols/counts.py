"""What happened to facts, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core.values import KEY_NOT_TEXT_OR_INTEGER, TOO_LONG


@dataclass(frozen=True)
class Counts:
    """What happened to facts. `eligible = inserted + updated + unchanged + rejected`, always."""

    eligible: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    signed: int = 0
    placeholder: int = 0
    created_at_missing: int = 0
    confidence_not_numeric: int = 0

    def __post_init__(self) -> None:
        if self.eligible != self.inserted + self.updated + self.unchanged + self.rejected:
            raise AssertionError(f"counts do not close: {self}")

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)

    def rows(self) -> dict[str, int]:
        """The five counts of the report, under their names."""
        return {name: getattr(self, name) for name in ("eligible", "inserted", "updated", "unchanged", "rejected")}


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
