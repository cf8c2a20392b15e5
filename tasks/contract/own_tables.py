"""The job's own tables: which columns each must have, and what an older ledger lacks."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.contract.binding import LedgerBinding
from tasks.contract.catalogue import Table
from tasks.contract.columns import table_of
from tasks.contract.findings import OLDER, Drift, Findings
from tasks.contract.mends import apply_schema_command, create_it
from tasks.job.sections import LedgerTables


@dataclass(frozen=True)
class LedgerColumn:
    """A column that a table of the job must have. `declaration` is None where an older table cannot be given it."""

    name: str
    declaration: str | None


LedgerColumns = dict[str, tuple[LedgerColumn, ...]]
"""The columns of the job's own tables by role: its schema file says which."""


def lacking_columns(table: Table, columns: tuple[LedgerColumn, ...]) -> list[LedgerColumn]:
    """The columns that a table of the job's should have and has not."""
    return [column for column in columns if table.column(column.name) is None]


def ledger_binding(found: Findings, ledger_columns: LedgerColumns) -> LedgerBinding | None:
    tables = {role: ledger_table(found, ledger_columns, role) for role in LedgerTables.model_fields}
    bound = {role: table.name for role, table in tables.items() if table}
    return LedgerBinding(**bound) if len(bound) == len(tables) else None


def ledger_table(found: Findings, ledger_columns: LedgerColumns, role: str) -> Table | None:
    """One of the job's own tables, with the columns it lacks noted as drift."""
    name: str = getattr(found.settings.tables.ledger, role)
    table = table_of(found, f"ledger.{role}", name, mend=create_it(found))
    lacking = lacking_columns(table, ledger_columns[role]) if table else []
    if table and lacking:
        can_be_added = all(column.declaration for column in lacking)
        problem = OLDER if can_be_added else "the job's own table lacks"
        mend = f"Add what it lacks with {apply_schema_command(found)}."
        if not can_be_added:
            mend = f"Set tables.ledger.{role} to a name that is free, then run {apply_schema_command(found)}."
        problem = f"{problem} {', '.join(column.name for column in lacking)}"
        found.drift.append(Drift(table.name, problem, found.where(f"tables.ledger.{role}"), mend))
    return table
