"""What every kind of run that writes has in common: the ledger says how far a chunk is, and commits with the rows."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from tasks.core import crash_points
from tasks.core.errors import (
    NOTHING_WRITTEN,
    RUN_AGAIN,
    DatabaseError,
    OrphanedError,
    ProvenanceError,
    SchemaChangedError,
    SignalledError,
    SignerError,
    StateError,
)
from tasks.core.fact_keys import describe
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.entering import enter_run
from tasks.runs.markers import marker_of_row, write_marker
from tasks.stores.protocols.ledger import LedgerRow, RunKind, rows_by_key
from tasks.stores.protocols.session import Session

logger = logging.getLogger("luigi-interface")

_SAYS_WHERE = (DatabaseError, SchemaChangedError, SignerError, OrphanedError, SignalledError)


class LedgerWork(ABC):
    """See runs.loop.Work. A kind of run adds what its batches are; they must advance the ledger as they commit."""

    writes: Final = True
    kind: ClassVar[RunKind]

    def __init__(self, session: Session, run: ChunkRun) -> None:
        self.session = session
        self.run = run
        self._epoch = 0.0

    @abstractmethod
    def do_next_batch(self, row: LedgerRow) -> bool:
        """See runs.loop.Work.do_next_batch."""

    def claim(self) -> LedgerRow:
        """Enter the run and the chunk in the ledger, or pick up the cursor that is there.

        Raises StateError if ledger and plan do not belong together, DatabaseError with the chunk in its message.
        """
        run = self.run
        try:
            enter_run(self.session, run, self.kind)
            row = self.session.claim_chunk(
                run_id=run.paths.ledger_run_id, plan_id=run.plan.plan_id, chunk=run.chunk.chunk,
                after=run.chunk.after, through=run.chunk.through, now=run.now(),
            )  # fmt: skip
        except DatabaseError as error:
            raise error.at(str(run.chunk)) from None
        if row.plan_id != run.plan.plan_id:
            raise StateError(
                f"belongs to plan {row.plan_id[:12]}… in the ledger, the current plan is {run.plan.plan_id[:12]}…",
                where=f"chunk {row.chunk} of run {run.plan.run_id}", hint="Use a new --run-id", written=NOTHING_WRITTEN,
            )  # fmt: skip
        self._epoch = time.monotonic() - row.seconds
        return row

    def seconds_since(self, row: LedgerRow) -> float:
        """Since the batch before was done: the ledger's seconds count on from earlier attempts, writing included."""
        return max(0.0, time.monotonic() - self._epoch - row.seconds)

    def check_schema(self) -> None:
        self.session.check_schema()

    def reread(self) -> LedgerRow:
        row = self.session.read_chunk(self.run.paths.ledger_run_id, self.run.chunk.chunk)
        if row is None:
            raise StateError(
                "its row vanished from the ledger while it ran", where=str(self.run.chunk), again=RUN_AGAIN
            )
        return row

    def stopped(self, error: ProvenanceError | KeyboardInterrupt, row: LedgerRow) -> BaseException:
        """The same error, with where the chunk stands and what to do. The ledger keeps what an attempt failed of."""
        run = self.run
        if isinstance(error, KeyboardInterrupt):  # outside a worker, which would end after a batch
            logger.warning("%s", self._located(SignalledError("interrupted"), row))
            return error
        told = self._located(error, row) if isinstance(error, _SAYS_WHERE) else error
        self.session.note_failure(run_id=run.paths.ledger_run_id, chunk=run.chunk.chunk, error=str(told), now=run.now())
        return told

    def _located(self, error: ProvenanceError, row: LedgerRow) -> ProvenanceError:
        written = row.counts.inserted + row.counts.updated
        once = "" if isinstance(error, (OrphanedError, SignalledError)) else " once that is mended"
        return error.stopped(
            where=str(self.run.chunk),
            written=f"It stopped at {describe(row.cursor)} with {written} rows written",
            again=f"; run the same command again{once}, it continues from there",
        )

    def leave_marker(self, row: LedgerRow) -> None:
        """From the ledger's row; not for a ledger in a file that the database's path does not mean any more."""
        run = self.run
        crash_points.reach("after the last commit, before the marker")
        try:
            self.session.check_place()
        except DatabaseError as error:
            raise self._located(error, row) from None
        keys = rows_by_key(self.session.read_batches(run.paths.ledger_run_id, chunk=run.chunk.chunk))
        write_marker(marker_of_row(run.plan, row, keys, mode=run.paths.mode, key_id=run.key_id), run.paths)
