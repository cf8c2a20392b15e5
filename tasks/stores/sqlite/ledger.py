"""The ledger: runs, their chunks, and the batches that were committed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apsw
from pydantic import TypeAdapter

from tasks.core.documents import typed
from tasks.core.errors import ProvenanceError, StateError
from tasks.core.fact_keys import Key, decoded
from tasks.stores.protocols.counts import COUNTS, COUNTS_OF_BATCHES, Counts
from tasks.stores.protocols.ledger import LedgerBatch, LedgerRow, RunKind, RunRow
from tasks.stores.sqlite.bound_runner import BoundRunner
from tasks.stores.sqlite.key_parameters import bound

_RUN_ROWS = TypeAdapter(RunRow)


class Ledger(BoundRunner):
    """Reads and writes the ledger. See the protocol for what each method promises."""

    # -- runs -------------------------------------------------------------------------------------------

    def read_run(self, run_id: str) -> RunRow | None:
        """Raises StateError if the row is none that the job has written."""
        try:
            rows = self._run("read_run", run_id=run_id)
            names = RunRow.__dataclass_fields__
            return typed(_RUN_ROWS, dict(zip(names, rows[0], strict=True))) if rows else None
        except ValueError as error:  # not UTF-8, or not what belongs there
            raise StateError(
                f"run {run_id}: its row in {self.binding.ledger.run} is none that this job has written: {error}. "
                f"Somebody altered it: use a new --run-id, and find out who writes to the database. Nothing was "
                f"written."
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
        written, rejected = self._run("settled_by", run_id=run_id)[0]
        return int(written), int(rejected)

    def last_budgeted_run(self, run_id: str) -> tuple[str, int] | None:
        rows = self._run("last_budgeted_run", run_id=run_id)
        return (str(rows[0][0]), int(rows[0][1])) if rows else None

    def last_budgeted_key(self) -> Key:
        rows = self._run("last_budgeted_key")
        return decoded(*rows[0]) if rows else None

    # -- chunks -----------------------------------------------------------------------------------------

    def read_chunk(self, run_id: str, chunk: int) -> LedgerRow | None:
        rows = self._run("read_chunk", run_id=run_id, chunk=chunk)
        return _ledger_row(rows[0]) if rows else None

    def read_chunks(self, run_id: str) -> list[LedgerRow]:
        return [_ledger_row(row) for row in self._run("read_chunks", run_id=run_id)]

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
        return [_ledger_batch(row) for row in self._run(name, run_id=run_id, **of_chunk)]

    def count_log_rows(self, *, attester: str, first: int, last: int) -> int:
        return self._count("count_log_rows_of", attester=attester, first=first, last=last)


def _ledger_row(row: tuple[Any, ...]) -> LedgerRow:
    chunk, plan_id = row[:2]
    after, through, cursor = (decoded(*row[i : i + 2]) for i in (2, 4, 6))
    counts, rest = _ledger_counts(chunk, COUNTS, row[8:])
    state, attempts, host, pid, started_at, finished_at, seconds = rest
    return LedgerRow(
        chunk, plan_id, after, through, cursor, counts, state, attempts, host, pid, started_at, finished_at, seconds
    )


def _ledger_batch(row: tuple[Any, ...]) -> LedgerBatch:
    chunk, after, through = row[0], decoded(*row[1:3]), decoded(*row[3:5])
    counts, rest = _ledger_counts(chunk, COUNTS_OF_BATCHES, row[5:])
    return LedgerBatch(chunk, after, through, counts, *rest)


def _ledger_counts(chunk: object, names: Sequence[str], row: tuple[Any, ...]) -> tuple[Counts, tuple[Any, ...]]:
    """The counts that a row begins with, and the rest of it.

    Raises StateError for what no transaction of this job could have left there.
    """
    values = row[: len(names)]
    with suppress(AssertionError):
        if all(type(value) is int and value >= 0 for value in values):
            return Counts(**dict(zip(names, values, strict=True))), row[len(names) :]
    raise StateError(
        f"chunk {chunk!a}: the ledger has the counts {values!a} for it, which do not add up. Nobody but this job may "
        f"write to its ledger: use a new --run-id, and find out who did."
    )
