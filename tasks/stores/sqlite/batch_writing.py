"""Writes a batch, all of it or nothing: rows, log, rejects and the step of the ledger, in one short transaction."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.attestation.signature_column import signature_hex
from tasks.core import crash_points
from tasks.core.errors import DatabaseError, RowRefusedError
from tasks.core.values import KEY_NOT_TEXT_OR_INTEGER, TOO_LONG
from tasks.stores.protocols.batches import BatchWrite, LedgerStep, Superseded
from tasks.stores.protocols.counts import PlainCounts
from tasks.stores.sqlite.batch_reading import BatchReading
from tasks.stores.sqlite.evidence import Evidence
from tasks.stores.sqlite.key_parameters import bound
from tasks.stores.sqlite.rejects import NULL_KEY_DETAIL


class BatchWriting(BatchReading, Evidence):
    """Writes what was read. See the protocol for what `write_batch` promises."""

    def write_batch(self, batch: BatchWrite) -> range | None:
        """1. Stage the rows in memory, before the lock. 2. Lock. 3. See that the log says what it said when they were
        read. 4. Rows, log, rejects, ledger. 5. Commit.

        Each step must change exactly as many rows as were staged for it; anything else means that the read is
        stale, and all of it is rolled back.
        """
        self._stage(batch)
        crash_points.reach("before the write lock")
        lock = LockTimes()
        try:
            with self._transaction("begin_write"):
                lock.taken()
                self.check_schema()
                self._refuse_overtaken(batch)
                ids = self._write_rows(batch)
                with of_no_fact():
                    self._write_ledger(batch, ids, lock)
                crash_points.reach("before commit")
        except StaleReadError:
            return None
        crash_points.reach("after commit")
        return ids

    def _stage(self, batch: BatchWrite) -> None:
        """By fact_id, the order of the index that costs most to keep. Locks nothing: staging is temporary."""
        rows = [(*record, blob, signature_hex(blob), is_update) for record, blob, _, is_update in batch.in_order]
        new = len(rows) - len(batch.superseded)
        superseding = [(*row, *_supersession(batch.superseded[row[0]])) for row in rows[new:]]
        with self._transaction("begin_read"), self._translated("stage_row"):
            if batch.plain == PlainCounts():
                self._run("clear_staging")
            self._connection.executemany(self._sql["stage_row"], rows[:new] if superseding else rows)
            self._connection.executemany(self._sql["stage_superseding_row"], superseding)

    def _refuse_overtaken(self, batch: BatchWrite) -> None:
        """Raise StaleReadError if a fact was attested, or a row that is superseded was altered, since the read.

        Nothing was where nobody else has committed: then data_version is what it was.
        Source: https://sqlite.org/pragma.html#pragma_data_version
        """
        if self._run("data_version") == self._read_at:
            return
        if self._run("was_attested_since"):
            raise StaleReadError("a fact was attested since it was read")
        for fact_id, superseded in batch.superseded.items():
            if self.attested_metadata(fact_id) != superseded.row:
                raise StaleReadError("a row that is superseded was altered since it was read")

    def _write_rows(self, batch: BatchWrite) -> range:
        """Returns the ids of the log rows: one transaction's follow each other."""
        values = {"attester": batch.attester, "now": batch.now}
        inserts = len(batch.inserts) + batch.plain.inserted
        updates = len(batch.updates) + batch.plain.updated
        self._expect(inserts, "insert_metadata", **values)
        self._expect(updates, "update_metadata", **values)
        self._expect(inserts + updates, "append_log", **values)
        end = self._connection.last_insert_rowid() + 1
        return range(end - inserts - updates, end)

    def _write_ledger(self, batch: LedgerStep, ids: range, lock: LockTimes) -> None:
        of_batch = {"run_id": batch.run_id, "chunk": batch.chunk, "now": batch.now}
        for reject in batch.rejects:
            self._run("reject_fact", **of_batch, **reject._asdict())
        if batch.set_aside:
            self._expect(
                batch.set_aside.total, "reject_set_aside", **of_batch,
                no_key=KEY_NOT_TEXT_OR_INTEGER, no_key_detail=NULL_KEY_DETAIL, too_long=TOO_LONG,
            )  # fmt: skip
        counts = batch.counts.by_name()
        self._expect(
            1, "advance_chunk", **of_batch, **counts, plan_id=batch.plan_id, state=batch.state,
            seconds=batch.seconds, **bound("cursor", batch.cursor), **bound("expected", batch.expected_cursor),
        )  # fmt: skip
        self._run(
            "append_ledger_batch", **of_batch, **counts, **bound("after", batch.expected_cursor),
            **bound("through", batch.cursor), first_attestation_id=ids[0] if ids else None,
            last_attestation_id=ids[-1] if ids else None, key_id=batch.key_id if batch.counts.signed else None,
            content=batch.content, host=socket.gethostname(), pid=os.getpid(),
            began_at=batch.times.began_at, committed_at=batch.clock(),
            reading_seconds=batch.times.reading, deriving_seconds=batch.times.deriving,
            signing_seconds=batch.times.signing, waiting_seconds=lock.waited, locked_seconds=lock.held(),
        )  # fmt: skip

    def _expect(self, rows: int, name: str, **parameters: Any) -> None:
        """Execute a write that must change exactly `rows` rows."""
        if rows == 0 and name != "advance_chunk":
            return
        self._run(name, **parameters)
        if self._connection.changes() != rows:
            raise StaleReadError(f"{name} changed {self._connection.changes()} rows, expected {rows}")


def _supersession(superseded: Superseded) -> tuple[int, str]:
    return superseded.attestation_id, superseded.notes


@contextmanager
def of_no_fact() -> Iterator[None]:
    """A row of the ledger that is refused is not the fault of a fact: looking for one would be in vain."""
    try:
        yield
    except RowRefusedError as error:
        raise DatabaseError(str(error)) from None


class LockTimes:
    """How long the wait for the write lock was, and how long it has been held since. Seconds."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self.waited = 0.0

    def taken(self) -> None:
        now = time.monotonic()
        self.waited, self._since = now - self._since, now

    def held(self) -> float:
        return time.monotonic() - self._since


class StaleReadError(Exception):
    """The store moved on between reading a batch and writing it."""
