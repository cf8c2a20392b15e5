"""What a database says of itself: its tables, columns and indexes as declared. A store fills it in.

Pure values: no database, no files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Column:
    """One column as declared. Generated ones are not writable."""

    name: str
    declared_type: str = ""
    not_null: bool = False
    generated: bool = False

    @property
    def affinity(self) -> str:
        """INTEGER, TEXT, BLOB (none), REAL or NUMERIC. Source: https://sqlite.org/datatype3.html section 3.1"""
        declared = self.declared_type.upper()
        if "INT" in declared:
            return "INTEGER"
        if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
            return "TEXT"
        if not declared or "BLOB" in declared:
            return "BLOB"
        return "REAL" if any(word in declared for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


@dataclass(frozen=True)
class Index:
    """One index. A column is None where the index holds an expression."""

    name: str
    unique: bool
    partial: bool
    columns: tuple[str | None, ...]
    collations: tuple[str, ...] = ()
    is_primary_key: bool = False

    def is_unique_on(self, column: str) -> bool:
        """True if this index alone guarantees that `column` never repeats, byte for byte."""
        return self.unique and not self.partial and self.columns == (column,) and self.collations in ((), ("BINARY",))


@dataclass(frozen=True)
class Table:
    """One table as the catalogue shows it. `kind` is table, view, virtual or shadow; `sql` its CREATE text."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    without_rowid: bool = False
    indexes: tuple[Index, ...] = ()
    sql: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """Look a column up as SQLite does: ASCII letters regardless of case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    @property
    def rowid_alias(self) -> str | None:
        """The INTEGER PRIMARY KEY column, which is the rowid itself, or None.

        One declared `INTEGER PRIMARY KEY DESC` is not the rowid and has an index of its own instead.
        Source: https://sqlite.org/lang_createtable.html#rowids_and_the_integer_primary_key
        """
        has_own_index = any(index.is_primary_key for index in self.indexes)
        if self.without_rowid or len(self.primary_key) != 1 or has_own_index:
            return None
        column = self.column(self.primary_key[0])
        return column.name if column and column.declared_type.upper() == "INTEGER" else None

    @property
    def never_reuses_ids(self) -> bool:
        """Whether the rowid of a deleted row is never given to another: https://sqlite.org/autoinc.html."""
        return any(re.search(r"\bAUTOINCREMENT\b", sql, re.IGNORECASE) for sql in self.sql)

    @property
    def rowid_name(self) -> str | None:
        """What the rowid can be called: the first of its three names that is no column's.

        Source: https://sqlite.org/lang_createtable.html#rowid
        """
        names = () if self.without_rowid else ("rowid", "oid", "_rowid_")
        return next((name for name in names if self.column(name) is None), None)

    def is_unique(self, column: str) -> bool:
        """True if the database itself guarantees that `column` never repeats."""
        return self.rowid_alias == column or any(index.is_unique_on(column) for index in self.indexes)


@dataclass(frozen=True)
class Catalogue:
    """All tables and views of one database."""

    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        return next((t for t in self.tables if t.name.lower() == name.lower()), None)


def fingerprint(catalogue: Catalogue, names: Iterable[str]) -> str:
    """SHA-256 over the declared shape of the named tables, in name order."""
    wanted = {name.lower() for name in names}
    shapes = [asdict(t) for t in sorted(catalogue.tables, key=lambda t: t.name) if t.name.lower() in wanted]
    return hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()
