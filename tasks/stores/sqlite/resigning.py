"""The SQLite session that signs pending rows: a run's session, with guarded updates."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tasks.core import crash_points
from tasks.core.fact_keys import Key, decoded
from tasks.job.settings import Settings
from tasks.stores.protocols.batches import LedgerStep
from tasks.stores.protocols.pending import PendingRead, PendingRow, SignatureWrite
from tasks.stores.sqlite.batch_writing import LockTimes, StaleReadError, of_no_fact
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.gate import Gated, pass_gate
from tasks.stores.sqlite.key_parameters import bound, decode_row
from tasks.stores.sqlite.opening import StoreConnection, connected
from tasks.stores.sqlite.session import SqliteSession
from tasks.stores.sqlite.sql.resigning import resigning_statements

_INTEGER = re.compile("0|-?[1-9][0-9]{0,17}")


@contextmanager
def open_resigning_session(
    settings: Settings, *, write: bool, revoked: Collection[str] = ()
) -> Iterator[SqliteResigningSession]:
    """A connection that has passed the gate with the statements of signing, closed when the block ends.

    Rows with one of the `revoked` key ids, 16 hex digits each, are pending beside the placeholders.
    Raises as `open_session` does.
    """
    path = settings.place.path
    with connected(settings, write=write) as connection:
        with translated(path, "its schema was verified", lock_timeout=settings.pacing.lock_timeout_seconds):
            gated = pass_gate(connection, settings, more=resigning_statements)
        yield SqliteResigningSession(connection, settings, gated, revoked)


class SqliteResigningSession(SqliteSession):
    """See stores.protocols.pending.PendingSession for what each method promises."""

    def __init__(self, connection: StoreConnection, settings: Settings, gated: Gated, revoked: Collection[str]) -> None:
        super().__init__(connection, settings, gated)
        self._revoked = " ".join(revoked).upper()

    def pending_keys(self) -> Iterator[Key]:
        for is_text, value in self._stream("pending_keys", revoked=self._revoked):
            yield decoded(is_text, value)

    def count_pending(self) -> int:
        return int(self._run("count_pending", revoked=self._revoked)[0][0])

    def read_pending(self, *, after: Key, through: Key, limit: int) -> PendingRead:
        name = "read_pending_first" if after is None else "read_pending"
        bounds = {**bound("through", through), **(bound("after", after) if after is not None else {})}
        bounds["revoked"] = self._revoked
        try:
            rows, is_whole = self._run_bounded(name, limit=limit, **bounds)
        except UnicodeDecodeError:
            raw, is_whole = self._run_bounded(f"{name}_raw", limit=limit, **bounds)
            rows = [decode_row(row) for row in raw]
        exhausted = is_whole and len(rows) < limit
        return PendingRead([PendingRow._make(row) for row in rows], through if exhausted else rows[-1][0], exhausted)

    def fact(self, fact_id: str) -> tuple[Any, ...] | None:
        """An integer key goes before a text key that reads the same: it is the one that is attested."""
        keys = [int(fact_id), fact_id] if _INTEGER.fullmatch(fact_id) else [fact_id]
        for key in keys:
            rows = self._run("fact_of_key", key=key)
            found = decode_row(rows[0]) if rows else None
            if found is not None and str(found[0]) == fact_id:
                return found
        return None

    def write_signatures(self, step: LedgerStep, signatures: Sequence[SignatureWrite]) -> bool:
        crash_points.reach("before the write lock")
        lock = LockTimes()
        try:
            with self._transaction("begin_write"):
                lock.taken()
                self.check_schema()
                ids = self._write_signatures(signatures, step.now)
                with of_no_fact():
                    self._write_ledger(step, ids, lock)
                crash_points.reach("before commit")
        except StaleReadError:
            return False
        crash_points.reach("after commit")
        return True

    def _write_signatures(self, signatures: Sequence[SignatureWrite], now: str) -> range:
        """Row by row, each guarded by what was read of it: one that moved since makes the whole batch stale.

        Returns the ids of the log rows.
        """
        values = [{**signature._asdict(), "now": now} for signature in signatures]
        for name in ("sign_row", "append_signature"):
            before = self._connection.total_changes()
            with self._translated(name):
                self._connection.executemany(self._sql[name], values)
            changed = self._connection.total_changes() - before
            if changed != len(signatures):
                raise StaleReadError(f"{name} changed {changed} rows, expected {len(signatures)}")
        end = self._connection.last_insert_rowid() + 1
        return range(end - len(signatures), end)
