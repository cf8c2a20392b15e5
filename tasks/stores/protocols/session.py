"""What the engine needs of a database, whatever kind it is: values and one protocol.

A `Session` is one verified connection. It is opened in a `run()`, closed in the same block, and never
crosses a fork. Every method may raise DatabaseError, LockedError or SchemaChangedError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from tasks.contract.binding import Binding
from tasks.core.documents import Digest, Moment
from tasks.core.fact_keys import Key
from tasks.core.values import KEY_NOT_TEXT_OR_INTEGER, TOO_LONG, Record, Reject, Value
from tasks.derivation.rules import Rules

ChunkState = Literal["running", "done"]
RunKind = Literal["backfill", "sign"]

Attested: TypeAlias = "tuple[Record, bytes, bytes | None]"
"""A record, its signature column, and the digest of the payload that was signed, None if nobody asked for it."""


class Superseded(NamedTuple):
    """The attestation whose place a write takes: its id, the metadata row as it was found, None if there was none, in
    the order of states.AttestedRow, and what the new row of the log says of it.
    """

    attestation_id: int
    row: tuple[Any, ...] | None
    notes: str


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


@dataclass(frozen=True)
class BatchRead:
    """The residual facts of `(after, last]` as one snapshot shows them.

    `facts` are tuples in the order of derivation.Fact; those counted in `plain` are not among them. `eligible` counts
    all facts of the range, residual or not; `last` is None only if the chunk holds nothing but NULL keys; `exhausted`
    means the chunk ends here. `set_aside` counts the facts without a usable key, where the range begins at the very
    start and they were asked for. `rejects` are residual facts that the store itself turns away; they are not among
    `facts`.
    """

    facts: Sequence[tuple[Any, ...]]
    last: Key
    eligible: int
    exhausted: bool
    set_aside: SetAside = SetAside()
    plain: PlainCounts = PlainCounts()
    rejects: Sequence[Reject] = ()

    @property
    def residual(self) -> int:
        """The residual facts of the range, those without a key left out."""
        return len(self.facts) + len(self.rejects) + self.plain.inserted + self.plain.updated


@dataclass(frozen=True)
class LedgerRow:
    """One row of the ledger: a chunk, how far it is, and what it did."""

    chunk: int
    plan_id: str
    after: Key
    through: Key
    cursor: Key
    counts: Counts
    state: ChunkState
    attempts: int
    host: str
    pid: int
    started_at: str
    finished_at: str | None
    seconds: float


@dataclass(frozen=True)
class LedgerBatch:
    """One committed batch of a chunk, by the ledger. The ids are those of its log rows, None if it wrote none."""

    chunk: int
    after: Key
    through: Key
    counts: Counts
    first_attestation_id: int | None
    last_attestation_id: int | None
    key_id: str | None
    content: bytes | None


def rows_by_key(batches: Iterable[LedgerBatch]) -> dict[str, int]:
    """Key id -> how many rows were signed with that key, the one that signed last at the end."""
    found = dict[str, int]()
    for batch in sorted(batches, key=lambda batch: batch.last_attestation_id or 0):
        if batch.key_id is not None and batch.counts.signed:
            found[batch.key_id] = found.pop(batch.key_id, 0) + batch.counts.signed
    return found


@dataclass(frozen=True)
class RunRow:
    """One run as the database knows it. `plan` is the frozen plan as JSON; `key_id` is the key that it began with."""

    plan_id: Digest
    plan: str
    started_at: Moment
    finished_at: Moment | None
    attester: str
    key_id: str | None


@dataclass(frozen=True, kw_only=True)
class BatchTimes:
    """How a batch came about before it was written: when its reading began, and what took how many seconds."""

    began_at: str
    reading: float
    deriving: float
    signing: float


@dataclass(frozen=True, kw_only=True)
class BatchWrite:
    """One transaction: the rows, and the step of the ledger that commits with them.

    `plain` counts the rows that `stage_batch` has staged besides `inserts` and `updates`. `expected_cursor` is where
    the ledger must stand for the batch to count; `set_aside` asks to reject the facts without a usable key as well.
    `superseded` has what the log knew of a fact before, for those of which it did, by fact id.
    `key_id` is the key that signed, None where nothing is signed. `clock` is asked for the time of the commit.
    """

    run_id: str
    plan_id: str
    chunk: int
    attester: str
    now: str
    inserts: Sequence[Attested]
    updates: Sequence[Attested]
    rejects: Sequence[Reject]
    set_aside: SetAside
    counts: Counts
    expected_cursor: Key
    cursor: Key
    state: ChunkState
    seconds: float
    key_id: str | None
    times: BatchTimes
    clock: Callable[[], str]
    content: bytes | None = None
    plain: PlainCounts = PlainCounts()
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


class Session(Protocol):
    """One verified connection to one store."""

    @property
    def binding(self) -> Binding: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def file(self) -> Path:
        """What was opened, behind all links."""

    def verification_json(self) -> dict[str, Any]:
        """The content of schema.json."""

    def check_file(self) -> None:
        """Raise DatabaseError if the path of the database means another file than when it was opened: moved, replaced.

        Costs one look at a folder. Every write asks this itself; whoever says that something is done asks it before.
        """

    def check_schema(self) -> None:
        """Raise SchemaChangedError if the schema is no longer the verified one. Costs one small read."""

    def residual_key(self, *, after: Key, skip: int) -> Key:
        """The residual key that lies `skip` residual keys beyond the next one after `after`, facts set aside left out.

        Raises DatabaseError if there are not so many.
        """

    def fact_key(self, *, after: Key, skip: int) -> Key:
        """The same among all facts, residual or not, in half the time."""

    def last_budgeted_key(self) -> Key:
        """Where the last live run with a row budget ended, by the ledger: how far its first unfinished chunk is, or
        else the end of its last one. None if there is none.
        """

    def residual_facts(self, *, after: Key = None, through: Key = None) -> Iterator[tuple[Any, ...]]:
        """All residual facts but those set aside, in key order, as tuples like derivation.Fact. Streams.

        Those of `(after, through]` alone, where these are given.

        One that the database cannot read comes as an UnreadableFact.
        """

    def journal_mode(self) -> str:
        """As the database calls it; "wal" is the one in which readers and the writer do not wait for each other."""

    def any_source(self) -> bool:
        """Whether some fact has a source, right or wrong. Walks over the facts up to the first that has, or that the
        database cannot read.
        """

    def created_at_sample(self) -> list[Value]:
        """The `created_at` of the facts with the highest keys, at most 200. Empty if this store has no such column, or
        one of which the database cannot read some value.
        """

    def was_rejected(self, fact_id: str, reason: str) -> bool:
        """True if some run has rejected this fact for this reason."""

    def count_set_aside(self) -> SetAside: ...

    def key_before(self, key: Key) -> Key: ...

    def count_facts(self) -> int: ...

    def refuse_damaged_indexes(self) -> None:
        """Raise DatabaseError if an index that rows are looked up by has not an entry for each row of its table."""

    def count_through(self, key: Key) -> int: ...

    def count_beyond(self, key: Key) -> int: ...

    def count_residual(self) -> int:
        """How many facts are residual, those set aside included: counted afresh, as one snapshot shows them."""

    def closing_counts(self) -> tuple[int, list[tuple[str, int]]]:
        """`count_residual`, and the ten sources that most facts are attested with, of the same moment.

        No sources if one of them is not UTF-8.
        """

    def stale_candidates(self) -> Iterator[tuple[Any, ...]]:
        """Unchanged facts that the log knows, and that are not surely what their metadata row says.

        Tuples of derivation.Fact but for its last value, then source_doc and extracted_at. Streams.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside the block is the same moment's."""

    def counting_snapshot(self) -> AbstractContextManager[None]:
        """The same, prepared for counting: it may use a second core."""

    def read_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        """Read at most `limit` residual facts of `(after, through]`, in key order, as one snapshot.

        Fewer where the values are long: those after the one that makes them 8 million characters wait for the next
        batch.
        `with_set_aside` counts the facts without a usable key too; it has no effect unless `after` is None.
        """

    def tally_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        """Like `read_batch`, but plain facts are counted instead of read: all that a dry run needs, and much faster.

        A fact may be read although it is plain, but none is counted that `derive` would reject.
        """

    def stage_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool, rules: Rules) -> BatchRead:
        """Like `tally_batch`, and the plain facts are staged as `rules` say, with placeholders for signatures.

        They wait for the `write_batch` that comes next on this session and counts them in `plain`.
        """

    def old_metadata(self, fact_id: str) -> Record | None: ...

    def latest_attestation(self, fact_id: str) -> int | None:
        """The id of the latest row of the log about a fact, None if there is none."""

    def attested_metadata(self, fact_id: str) -> tuple[Any, ...] | None:
        """The metadata row of a fact with its latest log row, in the order of states.AttestedRow; None without one."""

    @property
    def own_rules(self) -> tuple[str, ...]:
        """The rules for single rows that this store has and the canonical shape has not, in words."""

    def foresee_refusals(self, records: Sequence[Record], *, signed: bool) -> list[Reject]:
        """Those of the records that the store's own rules would refuse, as far as that can be known without writing.

        Rows that were asked about before, in this session, count as written; those of the store itself are not seen.
        """

    def read_run(self, run_id: str) -> RunRow | None: ...

    def open_run(self, *, run_id: str, plan_id: str, plan: str, now: str, attester: str, key_id: str | None) -> None:
        """Enter the run in the ledger, unless it is there."""

    def finish_run(self, *, run_id: str, now: str, stop_reason: str, remaining: int) -> None: ...

    def last_budgeted_run(self, run_id: str) -> tuple[str, int] | None:
        """When the last run with a row budget but this one was finished, and how many residual facts it left."""

    def oldest_waiting(self) -> str | int | float | None:
        """The least `created_at` of a residual fact, among those that look like times. Walks over the facts."""

    def read_chunk(self, run_id: str, chunk: int) -> LedgerRow | None: ...

    def read_chunks(self, run_id: str) -> list[LedgerRow]: ...

    def read_batches(self, run_id: str, *, chunk: int | None = None) -> list[LedgerBatch]:
        """The committed batches of a run, or of one chunk of it; chunk by chunk, each chunk's in their order."""

    def count_log_rows(self, *, attester: str, first: int, last: int) -> int:
        """How many rows with these ids the log has by this attester."""

    def claim_chunk(self, *, run_id: str, plan_id: str, chunk: int, after: Key, through: Key, now: str) -> LedgerRow:
        """Enter the chunk in the ledger, or count one more attempt; a finished chunk is returned untouched."""

    def note_failure(self, *, run_id: str, chunk: int, error: str, now: str) -> None:
        """Leave in the ledger what an attempt at the chunk failed of, if that can be had at once; else do nothing."""

    def write_batch(self, batch: BatchWrite) -> range | None:
        """Commit one batch durably, all of it or nothing.

        Returns the attestation ids of its log rows. They follow each other, in the order of `in_order` (unless the
        table has used up the largest integer: then SQLite takes any).

        None, with nothing written, if the store or the ledger moved on since the batch was read: somebody else wrote
        or attested one of the facts, altered a row that is superseded, or advanced the cursor. Read again and try
        again.

        Raises RowRefusedError, with nothing written, if the database itself refuses one of the rows.
        """

    def count_rejected_residual(self, run_id: str) -> int:
        """How many of the facts that the run rejected are there and residual now. Facts whose key is a BLOB, a REAL or
        text that is not UTF-8 are left out: what was rejected of them is not their key.
        """

    def was_rejected_by(self, run_id: str | None, fact_id: str) -> bool:
        """True if the run, or any run, has rejected this fact."""

    def settled_by(self, run_id: str) -> tuple[int, int]:
        """How many facts the run has written so far, and how many it has rejected."""

    def stop_run(self, *, run_id: str, stop_reason: str) -> None:
        """Say in the ledger that the run is stopped, unless it is done."""

    def count_new_rejects(self, run_id: str) -> int:
        """The facts that this run has rejected and that were not rejected for the same reason before."""

    def reject_reasons(self, run_id: str) -> dict[str, int]: ...

    def reject_sample(self, run_id: str) -> list[dict[str, Any]]: ...
