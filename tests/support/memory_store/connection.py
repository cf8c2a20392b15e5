"""What every session of a store in memory has: a state to read, and, where it may, a transaction to write in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from support.memory_store.state import Database, State

from tasks.core.errors import DatabaseError
from tasks.job.settings import Settings


class Connection:
    """One session's way to its store."""

    def __init__(self, database: Database, settings: Settings, *, write: bool) -> None:
        self._database, self._settings, self._may_write = database, settings, write
        self._held: State | None = None

    @property
    def _state(self) -> State:
        return self._held or self._database.state

    @property
    def opened(self) -> str:
        return self._database.name

    def check_place(self) -> None:
        """Nobody can put another state in the place of this one."""

    def check_schema(self) -> None:
        """It has one shape."""

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        before, self._held = self._held, self._state
        try:
            yield
        finally:
            self._held = before

    def counting_snapshot(self) -> AbstractContextManager[None]:
        return self.snapshot()

    @contextmanager
    def _transaction(self, *, patience: float | None = None) -> Iterator[State]:
        if not self._may_write:
            raise DatabaseError(f"store {self._database.name}: opened to be read only. Nothing was written.")
        longest = self._settings.pacing.lock_timeout_seconds if patience is None else patience
        with self._database.transaction(patience=longest) as state:
            yield state
