"""The ledger: runs, their chunks, and the batches that were committed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from tasks.core.errors import NOTHING_WRITTEN, ProvenanceError, StateError
from tasks.core.fact_keys import Key, decoded
from tasks.stores.protocols.ledger import LedgerBatch, LedgerRow, RunKind, RunRow
from tasks.stores.sqlite.bound_runner import BoundRunner
from tasks.stores.sqlite.key_parameters import bound
from tasks.stores.sqlite.ledger_rows import budgeted_run, ledger_batch, ledger_row, run_row, sums_of_run


class Ledger(BoundRunner):
    """Reads and writes the ledger. See the protocol for what each method promises."""

    # -- runs -------------------------------------------------------------------------------------------

    def read_run(self, run_id: str) -> RunRow | None:
        """Raises StateError if the row is none that the job has written."""
        try:
            rows = self._run("read_run", run_id=run_id)
            return run_row(rows[0]) if rows else None
        except ValueError as error:  # not UTF-8, or not what belongs there
            raise StateError(
                f"its row in {self.binding.ledger.run} is none that this job has written: {error}",
                where=f"run {run_id}",
                hint="Somebody altered it: use a new --run-id, and find out who writes to the database",
                written=NOTHING_WRITTEN,
            ) from None

    def open_run(
        self, *, run_id: str, kind: RunKind, plan_id: str, plan: str, now: str, attester: str, key_id: str | None
    ) -> None:
        with self._transaction("begin_write"):
            self._run(
                "open_run", run_id=run_id, plan_id=plan_id, plan=plan, kind=kind, now=now, attester=attester,
                key_id=key_id, host=socket.gethostname(), pid=os.getpid(),
            )  # fmt: skip

    def finish_run(self, *, run_id: str, now: str, stop_reason: str, remaining: int) -> None:
        with self._transaction("begin_write"):
            self._run("finish_run", run_id=run_id, now=now, stop_reason=stop_reason, remaining=remaining)

    def stop_run(self, *, run_id: str, stop_reason: str) -> None:
        with self._transaction("begin_write"):
            self._run("stop_run", run_id=run_id, stop_reason=stop_reason)

    def settled_by(self, run_id: str) -> tuple[int, int]:
        return self._of_ledger("settled_by", sums_of_run, run_id=run_id)[0]

    def last_budgeted_run(self, run_id: str) -> tuple[str, int] | None:
        with suppress(ValueError):  # a row that no run has written says nothing of when one ended
            for row in self._run("last_budgeted_run", run_id=run_id):
                return budgeted_run(row)
        return None

    def last_budgeted_key(self) -> Key:
        rows = self._run("last_budgeted_key")
        return decoded(*rows[0]) if rows else None

    # -- chunks -----------------------------------------------------------------------------------------

    def read_chunk(self, run_id: str, chunk: int) -> LedgerRow | None:
        rows = self._of_ledger("read_chunk", ledger_row, run_id=run_id, chunk=chunk)
        return rows[0] if rows else None

    def read_chunks(self, run_id: str) -> list[LedgerRow]:
        return self._of_ledger("read_chunks", ledger_row, run_id=run_id)

    def claim_chunk(self, *, run_id: str, plan_id: str, chunk: int, after: Key, through: Key, now: str) -> LedgerRow:
        with self._transaction("begin_write"):
            self._run(
                "claim_chunk", run_id=run_id, plan_id=plan_id, chunk=chunk, now=now, host=socket.gethostname(),
                pid=os.getpid(), **bound("after", after), **bound("through", through),
            )  # fmt: skip
            row = self.read_chunk(run_id, chunk)
        assert row is not None  # it was entered or found a moment ago; no trigger may prevent that
        return row

    def note_failure(self, *, run_id: str, chunk: int, error: str, now: str) -> None:
        with suppress(apsw.Error, ProvenanceError), self._without_waiting(), self._transaction("begin_write"):
            self._run("note_failure", run_id=run_id, chunk=chunk, error=error, now=now)

    @contextmanager
    def _without_waiting(self) -> Iterator[None]:
        """A lock that another writer holds is an error at once."""
        self._connection.set_busy_timeout(0)
        try:
            yield
        finally:
            self._connection.set_busy_timeout(int(self._settings.pacing.lock_timeout_seconds * 1000))

    # -- batches ----------------------------------------------------------------------------------------

    def read_batches(self, run_id: str, *, chunk: int | None = None) -> list[LedgerBatch]:
        of_chunk = {} if chunk is None else {"chunk": chunk}
        name = "read_ledger_batches" if chunk is None else "read_ledger_batches_of_chunk"
        return self._of_ledger(name, ledger_batch, run_id=run_id, **of_chunk)

    def count_log_rows(self, *, attester: str | None, first: int, last: int) -> int:
        if attester is None:
            return self._count("count_log_rows", first=first, last=last)
        return self._count("count_log_rows_of", attester=attester, first=first, last=last)
