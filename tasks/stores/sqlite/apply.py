"""Creates what is missing of the job's tables, from the one canonical schema file.

1. Refuse existing tables of another shape, before anything is created.
2. Rewrite the canonical statements to the names of the job file.
3. Create what is missing in one transaction; an older ledger gets the columns that it lacks. Nothing else is ever
   altered, dropped or filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import apsw

from tasks.contract.catalogue import Catalogue, Table
from tasks.contract.findings import Drift
from tasks.contract.own_tables import lacking_columns
from tasks.contract.resolving import sidecar_binding, sidecar_drift
from tasks.job.settings import Settings
from tasks.stores.protocols.store import Applied
from tasks.stores.sqlite.catalogue import read_catalogue
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.gate import live_guard
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.opening import connected
from tasks.stores.sqlite.refusing import configured_names, drift_error, refuse_unusable
from tasks.stores.sqlite.schema_file import LEDGER_TABLES, canonical_statements, ledger_columns
from tasks.stores.sqlite.sql.declarations import NAMES_TAKEN, add_column, known_of_older_rows
from tasks.stores.sqlite.table_names import TableNames
from tasks.stores.sqlite.trial import try_writes

_VIEWS = ("v_am_fact_attestation_latest", "v_am_fact_explainability")
_CREATES = frozenset(
    {
        apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_CREATE_INDEX, apsw.SQLITE_CREATE_VIEW, apsw.SQLITE_SELECT,
        apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_TRANSACTION, apsw.SQLITE_REINDEX, apsw.SQLITE_PRAGMA,
        apsw.SQLITE_ALTER_TABLE,
    }
)  # fmt: skip


@dataclass(frozen=True)
class _Missing:
    """One object to create: what it is, its name here, its statements here; `of` is the table that gains a column."""

    kind: str
    name: str
    sql: str
    of: Table | None = None
    then: str = ""


def apply_schema(settings: Settings) -> Applied:
    """Create the sidecar and ledger tables, indexes and views that are missing, all of them or none.

    Raises DriftError if a table of that name exists in another shape, DatabaseError if the file cannot be written.
    """
    path = settings.place.path
    with (
        connected(settings, write=True) as connection,
        translated(path, "the schema was applied", lock_timeout=settings.pacing.lock_timeout_seconds),
    ):
        missing, skipped = _missing_objects(connection, settings)
        if missing:
            _create(connection, missing)
    return Applied(tuple(f"{item.kind} {item.name}" for item in missing), tuple(skipped))


def is_applied(settings: Settings) -> bool:
    """True if nothing is missing. Reads only; raises as `apply_schema` does."""
    path = settings.place.path
    with (
        connected(settings, write=False) as connection,
        translated(path, "its schema was read", lock_timeout=settings.pacing.lock_timeout_seconds),
    ):
        return not _missing_objects(connection, settings)[0]


def _create(connection: apsw.Connection, missing: list[_Missing]) -> None:
    connection.authorizer = _may_create
    with connection:
        for item in missing:
            connection.execute(item.sql).fetchall()
        connection.authorizer = Guard(update=[item.of.name for item in missing if item.of])
        for item in missing:
            if item.then:
                connection.execute(item.then).fetchall()
        connection.authorizer = _may_create


def _may_create(
    operation: int, first: str | None, second: str | None, database: str | None, trigger: str | None
) -> int:
    """Creating is allowed, and so are the catalogue rows that this takes; nothing else is."""
    if operation in _CREATES:
        return apsw.SQLITE_OK
    bookkeeping = (first or "").lower() in ("sqlite_master", "sqlite_schema", "sqlite_temp_master")
    writes = operation in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE)
    return apsw.SQLITE_OK if bookkeeping and writes else apsw.SQLITE_DENY


def _missing_objects(connection: apsw.Connection, settings: Settings) -> tuple[list[_Missing], list[str]]:
    refuse_unusable(connection, settings)
    catalogue = read_catalogue(connection, configured_names(settings))
    drift: list[Drift] = sidecar_drift(settings, catalogue, ledger_columns())
    if drift:
        raise drift_error(drift)
    names = TableNames(settings)
    taken = {str(row[0]).lower() for row in connection.execute(NAMES_TAKEN).fetchall()}
    missing, skipped = [], []
    for kind, name, canonical_table, text in canonical_statements():
        if kind == "view" and name in _VIEWS:
            if catalogue.table(name) is None:
                problem = names.why_no_view(catalogue)
                skipped += [f"view {name}: {problem}"] if problem else []
                missing += [] if problem else [_Missing(kind, name, names.rewrite(text, ""))]
        elif canonical_table in names.tables:
            item = _Missing(kind, names.of(name), names.rewrite(text, canonical_table))
            present = catalogue.table(names.tables[canonical_table])
            if present is None:
                missing.append(item)
            elif kind == "table":
                missing += _lacking_columns(present, canonical_table)
            else:
                problem = _index_problem(catalogue, names, canonical_table, item.sql)
                skipped += [f"index {item.name}: {problem}"] if problem else []
                missing += [] if problem is not None else [item]
    drift = [
        Drift(item.name, f"the name of this {item.kind} is taken by another object", "", "Rename that one.")
        for item in missing
        if item.name.lower() in taken
    ]
    drift = drift or _try_writes_with(catalogue, settings, missing)
    if drift:
        raise drift_error(drift)
    return missing, skipped


def _lacking_columns(table: Table, canonical_table: str) -> Iterator[_Missing]:
    """What an older ledger's table gains. The other tables belong to others or have optional columns: nothing."""
    roles = [role for role, canonical in LEDGER_TABLES.items() if canonical == canonical_table]
    for role in roles:
        for column in lacking_columns(table, ledger_columns()[role]):
            add = add_column(table.name, column.declaration)
            then = known_of_older_rows(role, column.name, table.name)
            yield _Missing("column", f"{table.name}.{column.name}", add, table, then)


def _try_writes_with(catalogue: Catalogue, settings: Settings, missing: list[_Missing]) -> list[Drift]:
    """What the gate would refuse of the existing tables together with what is to be created."""
    altered = {item.of.name: item.of for item in missing if item.of}
    with closing(apsw.Connection(":memory:")) as copy:
        names = configured_names(settings)
        for table in altered.values():
            for sql in table.sql:
                copy.execute(sql).fetchall()
        for item in missing:
            if item.kind in ("table", "column"):
                copy.execute(item.sql).fetchall()
        added = read_catalogue(copy, names)
    kept = (table for table in catalogue.tables if table.columns and table.name not in altered)
    together = Catalogue((*kept, *added.tables))
    binding = sidecar_binding(settings, together, ledger_columns())
    return try_writes(binding, together, live_guard(binding))


def _index_problem(catalogue: Catalogue, names: TableNames, canonical_table: str, sql: str) -> str | None:
    """Why an index is not created on a table that exists: "" if one on these columns is there, None if it should be."""
    table = catalogue.table(names.tables[canonical_table])
    assert table is not None  # the caller has just found it
    inside = sql[sql.rindex("(") + 1 : sql.rindex(")")]
    columns = [part.replace("DESC", "").strip().strip('"') for part in inside.split(",")]
    absent = [column for column in columns if table.column(column) is None]
    if absent:
        return f"{table.name} has no column {', '.join(absent)}"
    wanted = [column.lower() for column in columns]
    present = ([(c or "").lower() for c in index.columns[: len(columns)]] for index in table.indexes)
    return "" if wanted in present else None
