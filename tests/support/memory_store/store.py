"""A store in Python's own memory, written from the protocols and nothing else: what any other kind of store has to do.

It is opened by the URL memory://NAME, in the process that made it: `kept` is there for that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from support.memory_store.attestations import MemoryAttestations
from support.memory_store.pending import MemoryPendingSession
from support.memory_store.sealed_log import MemoryLogSession
from support.memory_store.session import MemorySession
from support.memory_store.state import Database

from tasks.core.errors import DatabaseError
from tasks.job.settings import Settings
from tasks.stores.protocols.attestations import AttestationReader, Provenance
from tasks.stores.protocols.pending import PendingSession
from tasks.stores.protocols.sealed_log import Purpose, SealedLog
from tasks.stores.protocols.session import Session
from tasks.stores.protocols.store import Applied, Store

SCHEME = "memory"
kept: dict[str, Database] = {}
"""The databases of this process, by their URL."""


class MemoryStore:
    """See the protocols for what each method promises."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def _database(self) -> Database:
        found = kept.get(self._settings.database)
        if found is None:
            raise DatabaseError(f"store {self._settings.place}: there is none in this process. Nothing was written.")
        return found

    def exists(self) -> bool:
        return self._settings.database in kept

    def recover(self) -> None:
        """A crash leaves nothing behind, not even the store."""

    def session(self, *, write: bool) -> AbstractContextManager[Session]:
        return nullcontext(MemorySession(self._database, self._settings, write=write))

    def pending_session(self, *, write: bool, revoked: Collection[str] = ()) -> AbstractContextManager[PendingSession]:
        return nullcontext(MemoryPendingSession(self._database, self._settings, write=write, revoked=revoked))

    def attestations(self) -> AbstractContextManager[AttestationReader]:
        return nullcontext(MemoryAttestations(self._database, self._settings, write=False))

    def sealed_log(self, *, purpose: Purpose) -> AbstractContextManager[SealedLog]:
        return nullcontext(MemoryLogSession(self._database, self._settings, write=purpose in ("seal", "rotate")))

    def sealing_statements(self) -> list[dict[str, Any]]:
        return []

    def apply_schema(self) -> Applied:
        return Applied((), ())

    def is_applied(self) -> bool:
        return True

    def look_up(self, connection: Any, fact_ids: Sequence[str]) -> dict[str, Provenance]:
        """`connection` is the database itself: an application has no other."""
        return MemoryAttestations(connection, self._settings, write=False).provenance(fact_ids)


def memory_store(settings: Settings) -> Store:
    """What the table of kinds calls for the scheme."""
    return MemoryStore(settings)
