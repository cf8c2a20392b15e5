"""The canonical declarations, tasks/stores/sqlite/schema.sql: the one place where a table of ours is declared."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import apsw

from tasks.contract.own_tables import LedgerColumn
from tasks.core.errors import NOTHING_WRITTEN, DatabaseError
from tasks.stores.sqlite.sql.declarations import COLUMNS_OF_TABLE

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
LEDGER_TABLES = {
    "run": "am_backfill_run",
    "chunk": "am_backfill_chunk",
    "batch": "am_backfill_batch",
    "reject": "am_backfill_reject",
    "tile": "am_attestation_tile",
    "checkpoint": "am_attestation_checkpoint",
}
_CREATES = re.compile(r"\s*CREATE\s+(?:UNIQUE\s+)?(TABLE|INDEX|VIEW)\s+(\w+)(?:\s+ON\s+(\w+))?", re.IGNORECASE)


def read_schema_file() -> str:
    """The text of the file. Raises DatabaseError if the project is installed without it."""
    try:
        return SCHEMA_FILE.read_text(encoding="utf-8")
    except OSError as error:
        raise DatabaseError(
            f"the canonical schema cannot be read ({error.strerror})",
            where=str(SCHEMA_FILE),
            hint="Install the project with pip install -e . from its top level",
            written=NOTHING_WRITTEN,
        ) from None


@lru_cache(maxsize=1)
def canonical_statements() -> tuple[tuple[str, str, str, str], ...]:
    """Every CREATE of the file in order: (kind, name, table it belongs to, text)."""
    found = []
    for text in _split(read_schema_file()):
        match = _CREATES.match(text)
        assert match, text  # the file is ours: a statement of another kind is a defect
        kind, name, on_table = match.group(1).lower(), match.group(2), match.group(3)
        found.append((kind, name, on_table or name, text.strip()))
    return tuple(found)


@lru_cache(maxsize=1)
def ledger_columns() -> dict[str, tuple[LedgerColumn, ...]]:
    """The columns that the job's own tables have, by role."""
    connection = apsw.Connection(":memory:")
    try:
        declarations = {}
        for kind, name, _, text in canonical_statements():
            if kind == "table" and name in LEDGER_TABLES.values():
                connection.execute(text)
                declarations[name] = text
        return {
            role: tuple(
                LedgerColumn(str(column), _declaration(declarations[name], str(column)) if can_be_added else None)
                for column, can_be_added in connection.execute(COLUMNS_OF_TABLE, (name,)).fetchall()
            )
            for role, name in LEDGER_TABLES.items()
        }
    finally:
        connection.close()


def _declaration(table: str, column: str) -> str:
    """How a column is declared, its own CHECKs included: the file has one column a line."""
    lines = (line.strip().removesuffix(",") for line in table.splitlines())
    return next(line for line in lines if line.split()[:1] == [column])


def _split(text: str) -> list[str]:
    """Statements without the comments before them. The file has no semicolon inside a literal."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part for part in "\n".join(lines).split(";") if part.strip()]
