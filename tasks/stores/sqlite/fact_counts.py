"""Counts of facts, exact and afresh: on two connections where both see the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import apsw

from tasks.core.errors import NOTHING_WRITTEN, DatabaseError, RowRefusedError
from tasks.core.fact_keys import Key
from tasks.stores.protocols.counts import SetAside
from tasks.stores.sqlite.fact_walk import FactWalk
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.key_parameters import bound, range_bounds
from tasks.stores.sqlite.opening import close_quietly, open_connection
from tasks.stores.sqlite.sharing import Piece, share
from tasks.stores.sqlite.sql.spelling import quoted
from tasks.stores.sqlite.stale import answer_is_stale

_TRIES_FOR_ONE_MOMENT = 10
_RANGES_TO_COUNT = 16  # so many that two connections end together, so few that their number costs nothing


class FactCounts(FactWalk):
    """Counts facts. See the protocol for what each method promises."""

    _helper: apsw.Connection | None = None  # shares the snapshot that is open, if there is one

    def count_facts(self) -> int:
        return self._count("count_facts")

    def count_through(self, key: Key) -> int:
        return self._count("count_through", **bound("through", key))

    def count_beyond(self, key: Key) -> int:
        return self._count("count_beyond", **bound("after", key))

    def count_range(self, *, after: Key, through: Key) -> int:
        first, bounds = range_bounds(after, through)
        return self._count(f"count_batch{first}", **bounds)

    def count_set_aside(self) -> SetAside:
        """Costs a walk over the keys unless they are rowids: their lengths are looked at."""
        if self.binding.facts.key_is_number:
            return SetAside()
        both, long_keys = self._run("count_set_aside")[0]
        return SetAside(null_keys=both - long_keys, long_keys=long_keys)

    def count_residual(self) -> int:
        with self._counting():
            try:
                return _residual(share(self._counts(), self._connections))
            except RowRefusedError:
                return self._count_one_by_one()

    def closing_counts(self) -> tuple[int, list[tuple[str, int]]]:
        with self._counting():
            try:
                sources, *counts = share([self._top_sources, *self._counts()], self._connections)
            except RowRefusedError:
                return self._count_one_by_one(), self._top_sources(self._connection)
        return _residual(counts), sources

    def refuse_damaged_indexes(self) -> None:
        indexes = self._gated.indexes
        names = list(dict.fromkeys(s.name for index in indexes for s in (index.of_table, index.of_index)))
        with self._counting():
            counted = dict(zip(names, share([self._piece(name) for name in names], self._connections), strict=True))
        for index in indexes:
            rows, entries = counted[index.of_table.name], counted[index.of_index.name]
            if rows != entries:
                raise DatabaseError(
                    f'{index.table} has {rows} rows, and its index "{index.index}" has {entries} entries: '
                    "the index is damaged, and rows would be missed",
                    where=f"database {self._settings.place.path}",
                    written=NOTHING_WRITTEN,
                    hint=f"Build it anew with the sqlite3 shell: REINDEX {quoted(index.index)}; or restore a backup",
                    advice_last=True,
                )

    # -- one moment, two connections --------------------------------------------------------------------

    @contextmanager
    def counting_snapshot(self) -> Iterator[None]:
        """A snapshot that a second connection shares, so that two threads can count in it.

        The helper's snapshot is taken first, this connection's after it. If this one's data_version is then still what
        it was before both, nothing was committed in between, and both are the same. Else it is tried again; on a
        database that is never still, this connection counts alone.
        Source: https://sqlite.org/pragma.html#pragma_data_version
        """
        helper = open_connection(self._settings, write=False)
        helper.authorizer = Guard()
        answer_is_stale(helper, self._settings)
        try:
            for _ in range(_TRIES_FOR_ONE_MOMENT):
                before = self._run("data_version")
                self._run_on(helper, "begin_read")
                self._run_on(helper, "schema_version")
                with self.snapshot():
                    if self._run("data_version") == before:
                        self._helper = helper
                        yield
                        return
                self._run_on(helper, "rollback")
            with self.snapshot():
                yield
        finally:
            self._helper = None
            close_quietly(helper)

    def _counting(self) -> AbstractContextManager[None]:
        return nullcontext() if self._connection.in_transaction else self.counting_snapshot()

    @property
    def _connections(self) -> list[apsw.Connection]:
        """Those that read as one snapshot shows it."""
        return [self._connection, self._helper] if self._helper else [self._connection]

    def _counts(self) -> list[Piece]:
        """A count of facts, and counts to take away from it: what is left is residual."""
        if not self.binding.facts.key_is_number:
            return [self._piece("count_residual")]
        if not self.binding.metadata.row_number:
            return [self._piece("count_facts"), self._piece("count_unchanged")]
        ranges = even_ranges(*self._run("metadata_bounds")[0])
        return [
            self._piece("count_facts"),
            *(self._piece("count_unchanged_between", first=first, last=last) for first, last in ranges),
        ]

    def _piece(self, name: str, **parameters: Any) -> Piece:
        return lambda connection: int(self._run_on(connection, name, **parameters)[0][0])

    def _count_one_by_one(self) -> int:
        """The residual facts, where one of them cannot be read; that one counts."""
        return self.count_set_aside().total + sum(1 for _ in self.residual_facts())

    def _top_sources(self, connection: apsw.Connection) -> list[tuple[str, int]]:
        try:
            return [(str(source), count) for source, count in self._run_on(connection, "top_sources")]
        except UnicodeDecodeError:
            return []


def _residual(counts: list[int]) -> int:
    facts, *unchanged = counts
    return facts - sum(unchanged)


def even_ranges(lowest: int | None, highest: int | None) -> Iterator[tuple[int, int]]:
    """The integers from `lowest` to `highest` as ranges of one length, the ends included; none of none."""
    if lowest is None or highest is None:
        return
    length = (highest - lowest) // _RANGES_TO_COUNT + 1
    for first in range(lowest, highest + 1, length):
        yield first, min(first + length - 1, highest)
