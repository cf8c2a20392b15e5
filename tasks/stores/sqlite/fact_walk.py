"""Walks over the facts in the order of their keys: which are residual, where a range ends, which is stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tasks.core.errors import NOTHING_WRITTEN, DatabaseError, RowRefusedError
from tasks.core.fact_keys import Key, decoded, decoded_pairs, decoded_value, describe
from tasks.core.values import UnreadableFact, Value
from tasks.derivation.rules import refused_fact
from tasks.stores.sqlite.bound_runner import BoundRunner
from tasks.stores.sqlite.key_parameters import bound, decode_row
from tasks.stores.sqlite.refusals import first_unreadable


class FactWalk(BoundRunner):
    """Reads facts one after the other. See the protocol for what each method promises."""

    def residual_key(self, *, after: Key, skip: int) -> Key:
        return self._skipped("residual_key", after, skip)

    def fact_key(self, *, after: Key, skip: int) -> Key:
        return self._skipped("fact_key", after, skip)

    def _skipped(self, name: str, after: Key, skip: int) -> Key:
        first = "_first" if after is None else ""
        rows = self._run(f"{name}{first}", skip=skip, **(bound("after", after) if after is not None else {}))
        if not rows:
            raise DatabaseError(
                f"there are fewer residual facts after {describe(after)} than were counted: an index "
                "does not agree with its table",
                where=f"database {self._settings.place.path}",
                written=NOTHING_WRITTEN,
                hint="Look at the database with the sqlite3 shell, or restore a backup",
                advice_last=True,
            )
        return decoded(*rows[0])

    def key_before(self, key: Key) -> Key:
        rows = self._run("key_before", **bound("through", key))
        return decoded(*rows[0]) if rows else None

    def residual_facts(self, *, after: Key = None, through: Key = None) -> Iterator[tuple[Any, ...]]:
        position, end = after, "" if through is None else "_through"
        ending = {} if through is None else bound("through", through)
        while True:
            name, begin = (
                ("residual_facts", {}) if position is None else ("residual_facts_after", bound("after", position))
            )
            try:
                for row in map(decode_row, self._stream(f"{name}{end}", **begin, **ending)):
                    position = row[0]
                    yield row
                return
            except RowRefusedError as error:
                unreadable = self._unreadable_fact(position, error)
            yield unreadable
            position = unreadable.key

    def _unreadable_fact(self, after: Key, error: RowRefusedError) -> UnreadableFact:
        """The first fact behind `after` that the database cannot read, found by halving the range of keys.

        Raises the error that led here if there is none: then it was not about a row.
        """
        self.check_schema()
        first, bounds = ("_first", {}) if after is None else ("", bound("after", after))

        def key_at(number: int) -> Key:
            rows = self._run(f"fact_key{first}", skip=number, **bounds)
            return decoded(*rows[0]) if rows else None

        def cannot_read_through(key: Key) -> bool:
            try:
                self._run(f"read_batch{first}_raw", limit=1, **bounds, **bound("through", key))
            except RowRefusedError:
                return True
            return False

        key = first_unreadable(key_at, cannot_read_through)
        if key is None:
            raise error
        return UnreadableFact(key, refused_fact(key, error.words))

    def any_source(self) -> bool:
        try:
            return bool(self._run("any_source")[0][0])
        except RowRefusedError:
            return True

    def created_at_sample(self) -> list[Value]:
        if self.binding.facts.created_at is None:
            return []
        with suppress(RowRefusedError):
            return [decoded_value(*row) for row in self._run("created_at_sample")]
        return []

    def oldest_waiting(self) -> str | int | float | None:
        if self.binding.facts.created_at is None:
            return None
        with suppress(RowRefusedError, UnicodeDecodeError):
            oldest: str | int | float | None = self._run("oldest_waiting")[0][0]
            return oldest
        return None

    def stale_candidates(self) -> Iterator[tuple[Any, ...]]:
        for row in self._stream("stale_candidates"):
            yield tuple(decoded_pairs(row))
