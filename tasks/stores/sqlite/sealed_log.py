"""The SQLite session of the sealed log: what seals, audits, proves and rotates goes through here.

Every statement is compiled by the gate before it runs, under a guard that lets the session write what it is for
and nothing else: tiles and checkpoints, or one row of the attestation log, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tasks.contract.binding import SidecarBinding
from tasks.core.errors import SchemaChangedError
from tasks.job.settings import Settings
from tasks.stores.protocols.sealed_log import Purpose
from tasks.stores.sqlite.compiling import CompiledStatement
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.log_evidence import LogEvidence
from tasks.stores.sqlite.log_rows import LogRows
from tasks.stores.sqlite.log_tiles import LogTiles
from tasks.stores.sqlite.opening import StoreConnection, connected
from tasks.stores.sqlite.sidecar_gate import GatedSidecar, pass_sidecar_gate
from tasks.stores.sqlite.sql.sealed_log import build_log_statements


@contextmanager
def open_log_session(settings: Settings, *, purpose: Purpose) -> Iterator[SqliteLogSession]:
    """A gated connection for one purpose, closed when the block ends. "gate" reads, and is gated as for sealing.

    Raises DriftError if the tables are not what the contract says, DatabaseError if the file cannot be used.
    """
    path = settings.place.path
    with connected(settings, write=purpose in ("seal", "rotate")) as connection:
        with translated(path, "its schema was verified", lock_timeout=settings.pacing.lock_timeout_seconds):
            gated = pass_sidecar_gate(
                connection,
                settings,
                build=build_log_statements,
                guard=_compiling,
                seals=purpose in ("seal", "gate"),
            )
            connection.authorizer = _guard(gated.binding, purpose)
        yield SqliteLogSession(connection, settings, gated)


def log_statements(settings: Settings) -> tuple[CompiledStatement, ...]:
    """Pass the gate of the sealed log, as a sealer has to, and say what was compiled. Writes nothing."""
    with open_log_session(settings, purpose="gate") as session:
        return session.gated.compiled


def _guard(binding: SidecarBinding, purpose: Purpose) -> Guard:
    tables = {
        "read": (),
        "gate": (),
        "seal": (binding.ledger.tile, binding.ledger.checkpoint),
        "rotate": (binding.log.table,),
    }
    return Guard(insert=tables[purpose])


def _compiling(binding: SidecarBinding) -> Guard:
    """What any purpose may write: every statement is compiled, whichever will run."""
    return Guard(insert=(binding.ledger.tile, binding.ledger.checkpoint, binding.log.table))


class SqliteLogSession(LogRows, LogTiles, LogEvidence):
    """One verified connection to the sealed log and what it seals."""

    def __init__(self, connection: StoreConnection, settings: Settings, gated: GatedSidecar) -> None:
        super().__init__(connection, settings, sql=gated.sql, schema_version=gated.schema_version)
        self.gated = gated

    @property
    def binding(self) -> SidecarBinding:
        return self.gated.binding

    def _translated(self, name: str) -> AbstractContextManager[None]:
        settings = self._settings
        return translated(
            settings.place.path, "the log was sealed or read", lock_timeout=settings.pacing.lock_timeout_seconds
        )

    def check_schema(self) -> None:
        """Raise SchemaChangedError if the schema is no longer the one that was gated."""
        if self._run("schema_version")[0][0] != self._schema_version:
            raise SchemaChangedError(
                "the schema changed while the log was sealed",
                where=f"database {self._settings.place.path}",
                written="What is committed stays",
                again="; run the same command again",
                advice_last=True,
            )
