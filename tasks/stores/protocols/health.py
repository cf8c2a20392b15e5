"""What can be seen of a store that an operator should know, beside what a run does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from tasks.core.values import Value


class StoreHealth(Protocol):
    """Looks at the facts and at the database itself that change nothing."""

    def own_warnings(self) -> list[str]:
        """How the database itself should be set otherwise, for the application beside it, a line each."""

    def any_source(self) -> bool:
        """Whether some fact has a source, right or wrong. Walks over the facts up to the first that has, or that the
        database cannot read.
        """

    def created_at_sample(self) -> list[Value]:
        """The `created_at` of the facts with the highest keys, at most 200. Empty if this store has no such column, or
        one of which the database cannot read some value.
        """

    def oldest_waiting(self) -> str | int | float | None:
        """The least `created_at` of a residual fact, among those that look like times. Walks over the facts."""

    def stale_candidates(self) -> Iterator[tuple[Any, ...]]:
        """Unchanged facts that the log knows, and that are not surely what their metadata row says.

        Tuples of derivation.Fact but for its last value, then source_doc and extracted_at. Streams.
        """
