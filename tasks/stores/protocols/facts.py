"""Reading the facts of a store: those that are still to be attested, and how many there are.

A fact is residual if a run would insert, update or reject it:

    there is no metadata row of its id
    that row has no source_doc, and `stays_unchanged` does not say of the fact that none can be derived
    its key is the text of an integer that is the key of another fact
    the binding follows changes, the log knows the fact, and it is stale: derivation/stale.py

Facts set aside, without a usable key, are residual too. Keys are in the order of `key_order`. What is longer than
`Rules` allow comes as TooLong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.core.fact_keys import Key
from tasks.core.values import Reject
from tasks.derivation.rules import Rules
from tasks.stores.protocols.counts import NONE_PLAIN, NONE_SET_ASIDE, PlainCounts, SetAside


@dataclass(frozen=True)
class BatchRead:
    """The residual facts of `(after, last]` as one snapshot shows them.

    `facts` are tuples in the order of derivation.Fact; those counted in `plain` are not among them. `eligible` counts
    all facts of the range, residual or not, but those set aside; `last` is None only if the chunk holds nothing but
    NULL keys; `exhausted` means the chunk ends here, and `last` is its end. `set_aside` counts the facts without a
    usable key, where the range begins at the very start and they were asked for. `rejects` are residual facts that the
    store itself turns away; they are not among `facts`.
    """

    facts: Sequence[tuple[Any, ...]]
    last: Key
    eligible: int
    exhausted: bool
    set_aside: SetAside = NONE_SET_ASIDE
    plain: PlainCounts = NONE_PLAIN
    rejects: Sequence[Reject] = ()

    @property
    def residual(self) -> int:
        """The residual facts of the range, those without a key left out."""
        return len(self.facts) + len(self.rejects) + self.plain.inserted + self.plain.updated


class Snapshots(Protocol):
    """One moment of a store, looked at for longer."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside the block is the same moment's."""

    def counting_snapshot(self) -> AbstractContextManager[None]:
        """The same, prepared for counting: it may use a second core."""


class FactWalk(Protocol):
    """The facts in the order of their keys, as a plan goes over them."""

    def residual_facts(self, *, after: Key = None, through: Key = None) -> Iterator[tuple[Any, ...]]:
        """All residual facts but those set aside, in key order, as tuples like derivation.Fact. Streams.

        Those of `(after, through]` alone, where these are given. One that the database cannot read comes as an
        UnreadableFact.
        """

    def residual_key(self, *, after: Key, skip: int) -> Key:
        """The residual key that lies `skip` residual keys beyond the next one after `after`, facts set aside left out.

        Raises DatabaseError if there are not so many.
        """

    def fact_key(self, *, after: Key, skip: int) -> Key:
        """The same among all facts, residual or not, in half the time."""

    def key_before(self, key: Key) -> Key:
        """The greatest key of a fact before `key`, facts set aside left out; None if there is none."""


class FactCounts(Protocol):
    """How many facts there are."""

    def count_facts(self) -> int:
        """All of them, those set aside included."""

    def count_through(self, key: Key) -> int:
        """Those up to `key` and with it, facts set aside left out."""

    def count_beyond(self, key: Key) -> int:
        """Those behind `key`, facts set aside left out."""

    def count_range(self, *, after: Key, through: Key) -> int:
        """Those of `(after, through]`, facts set aside left out; None is before the first."""

    def count_set_aside(self) -> SetAside: ...

    def count_residual(self) -> int:
        """How many facts are residual, those set aside included: counted afresh, as one snapshot shows them."""

    def closing_counts(self) -> tuple[int, list[tuple[str, int]]]:
        """`count_residual`, and the ten sources that most facts are attested with, of the same moment: (source, facts),
        the lesser by its bytes first where there are as many facts. No sources if one of them is not UTF-8.
        """

    def refuse_damaged_indexes(self) -> None:
        """Raise DatabaseError if an index that rows are looked up by has not an entry for each row of its table."""


class FactBatches(Protocol):
    """The facts of a chunk, batch by batch."""

    def read_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        """Read at most `limit` residual facts of `(after, through]`, in key order, as one snapshot.

        Fewer where the values are long: those after the one that makes them 8 million characters wait for the next
        batch. `with_set_aside` counts the facts without a usable key too; it has no effect unless `after` is None.
        `through` is None where there is nothing but those.
        """

    def tally_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        """Like `read_batch`, but plain facts are counted instead of read: all that a dry run needs, and much faster.

        A fact may be read although it is plain, and so may all; none is counted that `derive` would reject, or that the
        log knows.
        """

    def stage_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool, rules: Rules) -> BatchRead:
        """Like `tally_batch`, and the plain facts are staged as `rules` say, with placeholders for signatures.

        They wait for the `write_batch` that comes next on this session and counts them in `plain`.
        """


class Facts(Snapshots, FactWalk, FactCounts, FactBatches, Protocol):
    """All that is read of the facts themselves."""
