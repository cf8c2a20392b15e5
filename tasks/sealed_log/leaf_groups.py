"""Rows of the log to tiles, group by group: what the processes do that seal a log together.

A group is the work of one process at a time. Its leaves are read and hashed tile by tile, with the digests that were
left where the payloads were signed, or from the metadata where there are none.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.leaves import TILE_LEAVES, LeafMaker, Leaves, LogRow, leaf_hashes, marks_of
from tasks.attestation.log.subtrees import subtree_roots
from tasks.core.collector import no_collector
from tasks.core.errors import SealError
from tasks.core.parent import end_with_parent
from tasks.core.workers import FreshContext
from tasks.job.settings import Settings
from tasks.sealed_log.digest_files import PayloadDigests
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import SealedLog, Tile

GROUP_LEAVES = 16 * TILE_LEAVES
PROCESSES = 2
_WORTH_PROCESSES = 4 * GROUP_LEAVES
_GROUPS_AHEAD = 2

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Group:
    """Rows that become leaves together: `rows` of them, with ids from `first_id` to `last_id`."""

    first_leaf: int
    rows: int
    first_id: int
    last_id: int

    @property
    def has_every_id(self) -> bool:
        """Whether there is a row for each id from the first to the last."""
        return self.last_id - self.first_id + 1 == self.rows


def groups_of(session: SealedLog, leaf: int, first: int, last: int) -> Iterator[Group]:
    """Cut the rows from id `first` to `last`, of which the first becomes that leaf, at multiples of GROUP_LEAVES."""
    while first <= last:
        rows = GROUP_LEAVES - leaf % GROUP_LEAVES
        end = session.end_of_rows(first, last, rows)
        if end is None:
            rows, end = session.count_rows(first, last), last
        if rows:
            yield Group(leaf, rows, first, end)
        leaf, first = leaf + rows, end + 1


def hash_group(task: tuple[Settings, Group, PayloadDigests]) -> list[Tile]:
    """The tiles of one group, read and hashed. Runs in a process of its own: opens and closes its session.

    Raises SealError if the rows are not there any more.
    """
    settings, group, known = task
    with open_store(settings).sealed_log(purpose="read") as session, no_collector():
        return list(_hash_tiles(session, group, known))


def _hash_tiles(session: SealedLog, group: Group, known: PayloadDigests) -> Iterator[Tile]:
    maker = LeafMaker()
    leaf, first, end = group.first_leaf, group.first_id, group.first_leaf + group.rows
    while leaf < end:
        wanted = min(TILE_LEAVES - leaf % TILE_LEAVES, end - leaf)
        last = _end_of_tile(session, group, first, wanted)
        leaves = _read_leaves(session, maker, known, first, last)
        if len(leaves.attestation_ids) < wanted:
            raise SealError(
                f"fewer than {wanted} are left while they were sealed. Somebody deletes rows of an append-only log",
                where=f"rows {first} to {group.last_id} of the attestation log",
                written="Nothing of this step was written",
            )
        yield Tile(
            first_leaf=leaf,
            attestation_ids=tuple(leaves.attestation_ids),
            roots=subtree_roots(leaf, leaves.hashes),
            marks=marks_of(leaves.hashes),
            digests=leaves.digests,
        )
        leaf, first = leaf + wanted, last + 1


def _read_leaves(session: SealedLog, maker: LeafMaker, known: PayloadDigests, first: int, last: int) -> Leaves:
    """The leaves of the rows from id `first` to `last`.

    Each has the digest that was left for it, or, where there is none, that of its fact's metadata.
    """
    if not known.may_hold(first, last):
        return maker.leaves(session.read_attested(first, last))
    rows = session.read_rows(first, last)
    digests = known.of_rows(rows)
    if digests is None:
        attested = session.read_attested(first, last)
        rows = [LogRow._make(row[:6]) for row in attested]
        of_metadata = split_hashes(maker.leaves(attested).digests)
        digests = b"".join([known.of_row(row) or digest for row, digest in zip(rows, of_metadata, strict=True)])
    return Leaves([row[0] for row in rows], digests, leaf_hashes(rows, digests))


def _end_of_tile(session: SealedLog, group: Group, first: int, rows: int) -> int:
    """The id of the `rows`-th row of the group from `first` on, or its last id if there are fewer."""
    if group.has_every_id:
        return first + rows - 1
    found = session.end_of_rows(first, group.last_id, rows)
    return group.last_id if found is None else found


Run = Callable[[Callable[[_T], _R], Iterable[_T]], Iterator[_R]]


@contextmanager
def hashing(rows: int, *, processes: int | None = None) -> Iterator[Run[Any, Any]]:
    """Something like `map`: in this process for few rows, else in processes of their own, results in order.

    Few tasks are under way at once, so that memory stays bounded. Processes are spawned, not forked: this one may
    hold connections and threads.
    """
    wanted = min(PROCESSES, os.cpu_count() or 1) if processes is None else processes
    if wanted < 2 or (processes is None and rows < _WORTH_PROCESSES):
        yield lambda function, tasks: map(function, tasks)
        return
    with ProcessPoolExecutor(wanted, mp_context=FreshContext(), initializer=end_with_parent) as pool:
        try:
            yield lambda function, tasks: _in_order(pool, function, tasks, ahead=wanted + _GROUPS_AHEAD)
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, function: Callable[[_T], _R], tasks: Iterable[_T], *, ahead: int
) -> Iterator[_R]:
    under_way: deque[Future[_R]] = deque()
    for task in tasks:
        under_way.append(pool.submit(function, task))
        if len(under_way) > ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
