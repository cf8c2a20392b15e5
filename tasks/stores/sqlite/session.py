"""The SQLite session: every method runs statements that the gate compiled, looked up by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tasks.core.values import Record, Reject
from tasks.job.settings import Settings
from tasks.stores.sqlite.batch_writing import BatchWriting
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.gate import live_guard, pass_gate
from tasks.stores.sqlite.ledger import Ledger
from tasks.stores.sqlite.opening import connected
from tasks.stores.sqlite.refusals import RowTrial
from tasks.stores.sqlite.rejects import Rejects


@contextmanager
def open_session(settings: Settings, *, write: bool) -> Iterator[SqliteSession]:
    """A connection that has passed the gate, closed when the block ends.

    Raises DriftError if the database does not honour the contract, DatabaseError if it cannot be used. Without
    `write` the connection cannot change the database: read-only open, query_only, and the guard.
    """
    path = settings.place.path
    with connected(settings, write=write) as connection:
        with translated(path, "its schema was verified", lock_timeout=settings.pacing.lock_timeout_seconds):
            gated = pass_gate(connection, settings)
        session = SqliteSession(connection, settings, gated)
        try:
            yield session
        finally:
            session.end_trial()


class SqliteSession(Rejects, BatchWriting, Ledger):
    """One verified connection. See the protocol for what each method promises."""

    _trial: RowTrial | None = None

    def own_warnings(self) -> list[str]:
        mode = self._run("journal_mode")[0][0]
        if mode == "wal":
            return []
        return [
            f"the database's journal mode is {mode}: while the job commits, the application can neither read nor "
            "write. PRAGMA journal_mode = WAL lets both go on"
        ]

    @property
    def own_rules(self) -> tuple[str, ...]:
        return self._gated.own_rules

    def foresee_refusals(self, records: Sequence[Record], *, signed: bool) -> list[Reject]:
        if not self.own_rules or not records:
            return []
        if self._trial is None:
            self._trial = RowTrial(
                self.binding, self._gated.catalogue, live_guard(self.binding),
                attester=self._settings.derivation.attester, is_signed=signed,
            )  # fmt: skip
        return self._trial.refusals(records)

    def end_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
