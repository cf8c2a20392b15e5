"""Statements about what is declared, and those that add to it."""

from __future__ import annotations

from typing import Final

from tasks.stores.sqlite.sql.spelling import quoted

NAMES_TAKEN: Final = "SELECT name FROM sqlite_schema"
COLUMNS_OF_TABLE: Final = 'SELECT name, NOT pk AND (NOT "notnull" OR dflt_value IS NOT NULL) FROM pragma_table_info(?)'
"""Columns, and whether an older table can be given them: https://sqlite.org/lang_altertable.html#altertabaddcol"""

_KNOWN_OF_OLDER_RUNS: Final = {
    ("run", "kind"): "UPDATE {table} SET kind = 'sign' WHERE run_id GLOB 'sign-pending:*'",
    ("run", "state"): "UPDATE {table} SET state = 'done' WHERE finished_at IS NOT NULL",
}


def add_column(table: str, declaration: str | None) -> str:
    return f"ALTER TABLE {quoted(table)} ADD COLUMN {declaration}"


def known_of_older_rows(role: str, column: str, table: str) -> str:
    """What a new column's default gets wrong of the rows that are there, and what they themselves say; or nothing."""
    return _KNOWN_OF_OLDER_RUNS.get((role, column), "").format(table=quoted(table))


def every_row(table: str, columns: tuple[str, ...]) -> str:
    """These columns of all rows: only for a copy in memory that holds a few."""
    return f"SELECT {', '.join(map(quoted, columns))} FROM {quoted(table)}"


def plan_of(sql: str) -> str:
    """Compiles a statement, executing nothing: a row for each step of its plan, in words in the last column."""
    return f"EXPLAIN QUERY PLAN {sql}"


def program_of(sql: str) -> str:
    """The same for what has no plan, such as BEGIN: a row for each instruction."""
    return f"EXPLAIN {sql}"
