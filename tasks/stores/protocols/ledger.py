"""The ledger of a store: its runs, their chunks, and the batches that were committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from tasks.core.documents import Digest, Moment, Seconds
from tasks.core.fact_keys import Key
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.rejects import Rejects
from tasks.stores.protocols.states import DONE, ChunkState

RunKind = Literal["backfill", "sign"]


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
    started_at: Moment
    finished_at: Moment | None
    seconds: Seconds

    @property
    def is_done(self) -> bool:
        return self.state == DONE

    @property
    def settled(self) -> int:
        """Facts that need nothing more of the run."""
        return self.counts.inserted + self.counts.updated + self.counts.rejected


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


class RunLedger(Protocol):
    """The runs that a store knows, each by its id in the ledger (RunPaths.ledger_run_id)."""

    def read_run(self, run_id: str) -> RunRow | None:
        """Raises StateError if the row is none that this job has written."""

    def open_run(
        self, *, run_id: str, kind: RunKind, plan_id: str, plan: str, now: str, attester: str, key_id: str | None
    ) -> None:
        """Enter the run in the ledger, unless it is there. Its `plan` is JSON, of which a store knows one member: the
        run has a row budget if `max_rows` is there and not null.
        """

    def finish_run(self, *, run_id: str, now: str, stop_reason: str, remaining: int) -> None:
        """Say in the ledger that the run is done, unless it is."""

    def stop_run(self, *, run_id: str, stop_reason: str) -> None:
        """Say in the ledger that the run is stopped, unless it is done."""

    def last_budgeted_run(self, run_id: str) -> tuple[str, int] | None:
        """When the last run with a row budget but this one was finished, and how many residual facts it left."""

    def last_budgeted_key(self) -> Key:
        """Where the last live run with a row budget ended, by the ledger: how far its first unfinished chunk is, or
        else the end of its last one. None if there is none.
        """

    def settled_by(self, run_id: str) -> tuple[int, int]:
        """How many facts the run has written so far, and how many it has rejected."""


class ChunkLedger(Protocol):
    """How far the chunks of a run are, and what was committed of them."""

    def read_chunk(self, run_id: str, chunk: int) -> LedgerRow | None: ...

    def read_chunks(self, run_id: str) -> list[LedgerRow]: ...

    def read_batches(self, run_id: str, *, chunk: int | None = None) -> list[LedgerBatch]:
        """The committed batches of a run, or of one chunk of it; chunk by chunk, each chunk's in their order."""

    def claim_chunk(self, *, run_id: str, plan_id: str, chunk: int, after: Key, through: Key, now: str) -> LedgerRow:
        """Enter the chunk in the ledger, or count one more attempt, of this host and process. A finished chunk is
        returned untouched, and so is one that was entered for another plan: the caller sees that by its `plan_id`.
        """

    def note_failure(self, *, run_id: str, chunk: int, error: str, now: str) -> None:
        """Leave in the ledger what an attempt at the chunk failed of, if that can be had at once; else do nothing."""

    def count_log_rows(self, *, attester: str | None, first: int, last: int) -> int:
        """How many rows with these ids the log has by this attester, or by anybody."""


class Ledger(RunLedger, ChunkLedger, Rejects, Protocol):
    """All that a store keeps of the job itself: its runs, their chunks and batches, and what they rejected."""
