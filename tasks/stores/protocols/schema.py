"""What every connection to a store says of itself: what it is bound to, and whether that still holds."""

from __future__ import annotations

from typing import Any, Protocol

from tasks.contract.binding import Binding


class GatedSchema(Protocol):
    """A connection that has passed the gate."""

    @property
    def binding(self) -> Binding: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def opened(self) -> str:
        """The store that was opened, behind all links: as `StorePlace.absolute` named it then."""

    @property
    def own_rules(self) -> tuple[str, ...]:
        """The rules for single rows that this store has and the canonical shape has not, in words."""

    def gate_json(self) -> dict[str, Any]:
        """The content of schema.json: whatever there is to tell of the gate, and at least `database`, `fingerprint`,
        `binding_digest`, the list of `absences` in words, and the list of `statements` that were compiled.
        """

    def check_place(self) -> None:
        """Raise DatabaseError if the place means another store than when it was opened: moved, replaced.

        Costs next to nothing. Every write asks this itself; whoever says that something is done asks it before.
        """

    def check_schema(self) -> None:
        """Raise SchemaChangedError if the schema is no longer the one that was gated. Costs one small read."""
