"""The live run of a backfill, batch by batch.

1. Read a batch of residual facts as one snapshot, derive and sign them; no lock is held. Without a key, SQL derives
   those that are plain.
2. Write it in one short transaction: rows, log, rejects, and the ledger's cursor and counts.
   If anything moved since the read, nothing is written and step 1 comes again. If the database itself refuses a row,
   nothing is written either, and step 1 comes again with half of the facts, down to that row, which is rejected.
3. If the log will be sealed, leave the digests of what was signed for the sealer.
"""

from __future__ import annotations

from functools import partial

from tasks.backfill.evidence import Witness
from tasks.backfill.preparation import Preparation, turned_away
from tasks.backfill.reject_limit import refuse_more_rejects
from tasks.core.errors import RowRefusedError
from tasks.derivation.rules import refused_fact
from tasks.runs.batch_size import BatchSize
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.ledger_work import LedgerWork
from tasks.runs.loop import work_through
from tasks.runs.stopwatch import Stopwatch
from tasks.sealed_log.digest_files import leave_digests
from tasks.stores.protocols.batches import BatchWrite
from tasks.stores.protocols.counts import PlainCounts
from tasks.stores.protocols.facts import BatchRead
from tasks.stores.protocols.ledger import LedgerRow
from tasks.stores.protocols.session import Session


def backfill_chunk(session: Session, run: ChunkRun) -> None:
    """Bring one chunk to its end and write its marker. Needs a session that may write.

    Safe to run again, in any order, by several processes at once, and after any crash: each fact is written once.
    Raises StateError if ledger and plan do not belong together; LockedError, DatabaseError or SchemaChangedError
    with the cursor and the rows written so far if the chunk had to stop.
    """
    with Witness(session, run.settings, run.signer, because=run.plan.reattest or None) as witness:
        work_through(
            Backfill(session, run, witness), residual=run.chunk.residual, progress=run.progress,
            pause_seconds=run.settings.pacing.batch_pause_seconds,
        )  # fmt: skip


class Backfill(LedgerWork):
    """Residual facts get their metadata and their attestation."""

    kind = "backfill"

    def __init__(self, session: Session, run: ChunkRun, witness: Witness) -> None:
        super().__init__(session, run)
        self._preparation = Preparation(run, witness)
        self._size = BatchSize(run.settings.pacing.batch_rows)

    def do_next_batch(self, row: LedgerRow) -> bool:
        run = self.run
        refuse_more_rejects(self.session, run.plan, run.chunk, row, max_rejects=run.settings.pacing.max_rejects)
        while True:
            stopwatch = Stopwatch(run.now)
            batch = self._read(row)
            stopwatch.lap("reading")
            write = self._prepare(row, batch, stopwatch)
            try:
                return self._write(batch, write)
            except RowRefusedError as refusal:
                if batch.plain != PlainCounts() or len(write.in_order) > 1:
                    self._size.refused(batch.residual)
                    continue
                [(record, *_)] = write.in_order
                batch = turned_away(batch, [refused_fact(record.fact_id, refusal.words)])
            stopwatch.skip()
            self._size.found()
            return self._write(batch, self._prepare(row, batch, stopwatch))

    def _read(self, row: LedgerRow) -> BatchRead:
        run, size = self.run, self._size
        reads = run.signer or self._preparation.compares_content or size.is_narrow
        read = self.session.read_batch if reads else partial(self.session.stage_batch, rules=self._preparation.rules)
        return read(
            after=row.cursor, through=run.chunk.through, limit=size.limit, with_set_aside=run.plan.set_aside > 0
        )

    def _prepare(self, row: LedgerRow, batch: BatchRead, stopwatch: Stopwatch) -> BatchWrite:
        return self._preparation.prepare(row, batch, stopwatch, lambda: self.seconds_since(row))

    def _write(self, batch: BatchRead, write: BatchWrite) -> bool:
        log_rows = self.session.write_batch(write)
        if log_rows is None:
            return False
        self._size.written(batch.residual)
        if log_rows and self.run.signer and self.run.log_signer:
            signed = [(blob, digest) for _, blob, digest, _ in write.in_order if digest is not None]
            leave_digests(self.run.settings.state_dir, log_rows, signed, self.run.log_signer)
        return True
