"""The gate for sessions that need what was attested, but not the facts: those of the sealed log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import apsw

from tasks.contract.binding import SidecarBinding
from tasks.contract.catalogue import Catalogue
from tasks.contract.findings import Drift
from tasks.contract.resolving import resolve_sidecar
from tasks.job.settings import Settings
from tasks.stores.sqlite.catalogue import read_catalogue, schema_version
from tasks.stores.sqlite.compiling import CompiledStatement, LargeTables, compile_statements
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.refusing import configured_names, drift_error, refuse_unusable
from tasks.stores.sqlite.schema_file import ledger_columns
from tasks.stores.sqlite.sql.spelling import Statement
from tasks.stores.sqlite.trial import try_sealing
from tasks.stores.sqlite.unregistered import told_by_object


@dataclass(frozen=True)
class GatedSidecar:
    """What was attested, gated for one kind of session: its statements compiled under its guard."""

    binding: SidecarBinding
    schema_version: int
    compiled: tuple[CompiledStatement, ...]

    @property
    def sql(self) -> dict[str, str]:
        return {c.statement.name: c.statement.sql for c in self.compiled}


def pass_sidecar_gate(
    connection: apsw.Connection,
    settings: Settings,
    *,
    build: Callable[[SidecarBinding], Iterable[Statement]],
    guard: Callable[[SidecarBinding], Guard],
    seals: bool,
) -> GatedSidecar:
    """The gate for sessions that need the attestations but not the facts. Leaves the guard installed.

    One that `seals` has its writes tried on an empty copy in memory too.

    Raises DriftError with everything that is wrong.
    """
    connection.authorizer = Guard()
    version = schema_version(connection)
    refuse_unusable(connection, settings)
    catalogue = read_catalogue(connection, configured_names(settings))
    resolved = resolve_sidecar(settings, catalogue, ledger_columns())
    if isinstance(resolved, list):
        raise drift_error(resolved)
    installed = guard(resolved)
    connection.authorizer = installed
    tables = LargeTables({"l": resolved.log.table, "m": resolved.metadata.table}, lambda _: resolved.log.table)
    compiled, problems = compile_statements(connection, build(resolved), installed, tables)
    drift = told_by_object(problems, catalogue) + _refuse_other_ids(settings, catalogue, resolved)
    if seals and not drift:
        drift += _try_sealing_cached(resolved, catalogue)
    if drift:
        raise drift_error(drift)
    return GatedSidecar(resolved, version, tuple(compiled))


@lru_cache(maxsize=4)
def _try_sealing_cached(binding: SidecarBinding, catalogue: Catalogue) -> tuple[Drift, ...]:
    return tuple(try_sealing(binding, catalogue, Guard(insert=(binding.ledger.tile, binding.ledger.checkpoint))))


def _refuse_other_ids(settings: Settings, catalogue: Catalogue, binding: SidecarBinding) -> list[Drift]:
    """Leaves are given in the order of the ids, so these must be integers that SQLite itself orders."""
    table = catalogue.table(binding.log.table)
    if table is None or table.numbered_by == binding.log.attestation_id:
        return []
    where = f"tables.attestation_log.attestation_id, {settings.where('tables.attestation_log.attestation_id')}"
    problem = f'"{binding.log.attestation_id}" is not its INTEGER PRIMARY KEY'
    mend = "The log cannot be sealed without: compare tasks/stores/sqlite/schema.sql."
    return [Drift(table.name, problem, where, mend)]
