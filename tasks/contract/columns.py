"""One table or column of the contract looked up in the catalogue: its real name, or its drift noted."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.catalogue import Table
from tasks.contract.findings import NO_TABLE, Drift, Findings
from tasks.contract.mends import mend_column, similar_column, similar_table, taken_columns


def table_of(found: Findings, role: str, name: str, *, mend: str) -> Table | None:
    """The ordinary table of that name, or None with its drift noted."""
    key = f"tables.{role}" if role.startswith("ledger.") else f"tables.{role}.name"
    table = found.catalogue.table(name)
    if table is None:
        mend = mend or similar_table(found, role, name, key)
        found.drift.append(Drift(name, NO_TABLE, found.where(key), mend))
        return None
    if table.kind != "table":
        what = {"view": "a view", "virtual": "a virtual table"}.get(table.kind, f"a {table.kind} table")
        mend = "The job needs an ordinary table with a unique key: name the one behind it."
        found.drift.append(Drift(table.name, f"is {what}", found.where(key), mend))
        return None
    return table


def required_column(
    found: Findings, table: Table, role: str, column_role: str, name: str, *, writable: bool = False
) -> str | None:
    """The real name of a column that must be there, or None with its drift noted."""
    key = f"tables.{role}.{column_role}"
    column = table.column(name)
    if column is None:
        mend = mend_column(table, column_role, name, taken_columns(found, role, column_role))
        found.drift.append(Drift(table.name, f'no column "{name}"', found.where(key), mend))
        return None
    if writable and column.generated:
        mend = "The job writes this column: make it an ordinary one."
        found.drift.append(Drift(table.name, f'column "{column.name}" is generated', found.where(key), mend))
        return None
    return column.name


def optional_column(found: Findings, table: Table, role: str, column_role: str, name: str | None) -> str | None:
    """The real name of a column that may be missing: only under its canonical name, never a name of the operator's."""
    if name is None:
        return None
    column = table.column(name)
    if column is not None:
        return column.name
    model = type(getattr(found.settings.tables, role))
    if name != model.model_fields[column_role].default:
        return required_column(found, table, role, column_role, name)
    taken = taken_columns(found, role, column_role)
    similar = similar_column(table, column_role, name, taken, cutoff=0.8)
    hint = f'; if "{similar}" is meant, set tables.{role}.{column_role}: {similar}' if similar else ""
    found.absences.append(f'{table.name} has no column "{name}", which is optional{hint}')
    return None


def is_usable_key(found: Findings, table: Table, key: str, where: str) -> bool:
    """True if `key` is unique and can be walked in order by an index; else its drift is noted."""
    if table.is_unique(key):
        return True
    others = [name for name in _unique_columns(table) if name != key]
    advice = f"Unique here: {', '.join(others)}." if others else "It needs a unique index of its own."
    if len(table.primary_key) > 1 and key in table.primary_key:
        problem = (
            f'"{key}" is part of the composite primary key ({", ".join(table.primary_key)}), which is not supported'
        )
    elif any(index.columns == (key,) and index.unique for index in table.indexes):
        problem = f'the unique index on "{key}" is partial or has a collation other than BINARY, which is not supported'
    else:
        problem = f'"{key}" is not unique by any primary key or unique index'
    found.drift.append(Drift(table.name, problem, found.where(where), advice))
    return False


def _unique_columns(table: Table) -> Iterator[str]:
    if table.numbered_by:
        yield table.numbered_by
    for index in table.indexes:
        column = index.columns[0] if len(index.columns) == 1 else None
        if column is not None and index.is_unique_on(column):
            yield column
