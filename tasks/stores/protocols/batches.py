"""Writing a batch: its rows, their attestations and the ledger's step, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

from tasks.core.fact_keys import Key
from tasks.core.values import Record, Reject
from tasks.stores.protocols.counts import NONE_PLAIN, NONE_SET_ASIDE, Counts, PlainCounts, SetAside
from tasks.stores.protocols.states import ChunkState, chunk_state

Attested: TypeAlias = "tuple[Record, bytes, bytes | None]"
"""A record, its signature column, and the digest of the payload that was signed, None if nobody asked for it."""


class Superseded(NamedTuple):
    """The attestation whose place a write takes: its id, the metadata row as it was found, None if there was none, in
    the order of row_states.MetadataRow, and what the new row of the log says of it.
    """

    attestation_id: int
    row: tuple[Any, ...] | None
    notes: str


@dataclass(frozen=True, kw_only=True)
class BatchTimes:
    """How a batch came about before it was written: when its reading began, and what took how many seconds."""

    began_at: str
    reading: float
    deriving: float
    signing: float


@dataclass(frozen=True, kw_only=True)
class LedgerStep:
    """What the ledger learns of a batch of any kind of run, in the transaction of its rows.

    `run_id` is the run's in the ledger. `expected_cursor` is where the ledger must stand for the batch to count; behind
    an `exhausted` one nothing is left of the chunk. `set_aside` asks to reject the facts without a usable key as well.
    Of each a reject is kept: as its fact id "NULL", or "(a key of … bytes)", in the place of an id; as its reason what
    `SetAside.reasons` says; as its detail "the key is NULL", or "key: … bytes, at most …".
    `key_id` is the key that signed, None where nothing is signed. `clock` is asked for the time of the commit.
    """

    run_id: str
    plan_id: str
    chunk: int
    now: str
    rejects: Sequence[Reject]
    counts: Counts
    expected_cursor: Key
    cursor: Key
    exhausted: bool
    seconds: float
    key_id: str | None
    times: BatchTimes
    clock: Callable[[], str]
    set_aside: SetAside = NONE_SET_ASIDE
    content: bytes | None = None

    @property
    def state(self) -> ChunkState:
        """The chunk's, once the batch is committed."""
        return chunk_state(is_done=self.exhausted)


@dataclass(frozen=True, kw_only=True)
class BatchWrite(LedgerStep):
    """One transaction of a backfill: the rows, and the step of the ledger that commits with them.

    `plain` counts the rows that `stage_batch` has staged besides `inserts` and `updates`. `superseded` has what the log
    knew of a fact before, for those of which it did, by fact id.
    """

    attester: str
    inserts: Sequence[Attested]
    updates: Sequence[Attested]
    plain: PlainCounts = NONE_PLAIN
    superseded: Mapping[str, Superseded] = field(default_factory=dict)

    @cached_property
    def in_order(self) -> list[tuple[Record, bytes, bytes | None, int]]:
        """Inserts (0) and updates (1) as they are written, and as they are logged.

        In the order of their fact ids, those that supersede something behind the others.
        """
        rows = [(*attested, 0) for attested in self.inserts] + [(*attested, 1) for attested in self.updates]
        rows.sort(key=lambda row: row[0].fact_id)
        if self.superseded:
            rows.sort(key=lambda row: row[0].fact_id in self.superseded)
        return rows


class BatchWrites(Protocol):
    """What a batch takes the place of, and the writing of it."""

    def old_metadata(self, fact_id: str) -> Record | None:
        """What is attested of a fact; None where there is nothing, or a text of it is not UTF-8."""

    def latest_attestation(self, fact_id: str) -> int | None:
        """The id of the latest row of the log about a fact, None if there is none."""

    def attested_metadata(self, fact_id: str) -> tuple[Any, ...] | None:
        """The metadata row of a fact with its latest log row, in the order of row_states.MetadataRow.

        Without a log row there are None in its place, without a metadata row it is None as a whole.
        """

    def foresee_refusals(self, records: Sequence[Record], *, signed: bool) -> list[Reject]:
        """Those of the records that the store's own rules would refuse, as far as that can be known without writing.

        Rows that were asked about before, in this session, count as written; those of the store itself are not seen.
        """

    def write_batch(self, batch: BatchWrite) -> Sequence[int] | None:
        """Commit one batch durably, all of it or nothing.

        Returns the attestation ids of its log rows, in the order of `in_order`; those that were staged have no certain
        place among them. They ascend, and between its first and its last are no rows of another batch: its rows are
        those of its attester between these two. (A range can say them all where there are no gaps.)

        None, with nothing written, if the store or the ledger moved on since the batch was read: somebody else wrote
        or attested one of the facts, altered a row that is superseded, or advanced the cursor. Read again and try
        again.

        Raises RowRefusedError, with nothing written, if the database itself refuses one of the rows.
        """
