"""A store as a whole: one database, closed, and what can be opened of it, whatever kind it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.job.settings import Settings
from tasks.stores.protocols.attestations import AttestationReader, Provenance
from tasks.stores.protocols.pending import PendingSession
from tasks.stores.protocols.sealed_log import Purpose, SealedLog
from tasks.stores.protocols.session import Session


@dataclass(frozen=True)
class Applied:
    """What was created of the job's own tables, by name, and what was left out with the reason."""

    created: tuple[str, ...]
    skipped: tuple[str, ...]

    def told(self, settings: Settings) -> Iterator[str]:
        """What was done, a line each."""
        if not self.created:
            yield f"{settings.place}: nothing was missing, nothing was created"
        for name in self.created:
            yield f"{settings.place}: created {name}"
        for reason in self.skipped:
            yield f"{settings.place}: left out {reason}"


class Store(Protocol):
    """One database, closed.

    What is opened of it is one connection, which has passed the gate with every statement that it can ever execute and
    is closed when the block ends. It never crosses a fork. Opening raises DriftError if the database does not honour
    the contract, DatabaseError if it cannot be used, LockedError if somebody else has it to himself.
    """

    def exists(self) -> bool:
        """Whether there is a database. A look, no more: nothing is opened."""

    def recover(self) -> None:
        """Let what a crash left unfinished be rolled back, where only a connection that may write can do that."""

    def session(self, *, write: bool) -> AbstractContextManager[Session]:
        """For a run. Without `write`, it cannot change the database, whatever it is asked."""

    def pending_session(self, *, write: bool, revoked: Collection[str] = ()) -> AbstractContextManager[PendingSession]:
        """The same, for signing what is pending: placeholders, and rows with one of the `revoked` key ids, 16 hex
        digits each.
        """

    def attestations(self) -> AbstractContextManager[AttestationReader]:
        """For reading metadata and log, and nothing else."""

    def sealed_log(self, *, purpose: Purpose) -> AbstractContextManager[SealedLog]:
        """For one purpose alone; "gate" reads, and passes the gate as sealing has to."""

    def sealing_statements(self) -> list[dict[str, Any]]:
        """What sealing executes, as schema.json lists it. Writes nothing. Raises as opening does."""

    def apply_schema(self) -> Applied:
        """Create what is missing of the job's own tables, all of it or nothing.

        Raises DriftError if a table of that name exists in another shape, DatabaseError if it cannot be written.
        """

    def is_applied(self) -> bool:
        """True if nothing is missing. Reads only; raises as `apply_schema` does."""

    def look_up(self, connection: Any, fact_ids: Sequence[str]) -> dict[str, Provenance]:
        """What the database behind `connection`, the application's own, says of facts, in one query.

        Raises DriftError where metadata or log are not what the job file says; any other error is the connection's.
        """
