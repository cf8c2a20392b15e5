"""What a database says of itself: its tables, columns and indexes as declared. A store fills it in.

Pure values: no database, no files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Column:
    """One column as declared. Generated ones are not writable.

    An untyped one keeps any value as it is: even the integer 7 beside the text '7'.
    """

    name: str
    declared_type: str = ""
    not_null: bool = False
    generated: bool = False
    untyped: bool = False


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
class KeyReuse:
    """Why a store gives the key of a row that was deleted to another one, and the mend, both in its words."""

    why: str
    mend: str


@dataclass(frozen=True)
class Table:
    """One table as the catalogue shows it. `kind` is table, view, virtual or shadow; `sql` its CREATE text.

    `numbered_by` is the column that the store itself numbers the rows by: integers, never NULL, never the same twice.
    `row_number` is a name that these numbers go by, whether or not a column holds them.
    """

    name: str
    kind: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    primary_key_not_null: bool = False
    numbered_by: str | None = None
    row_number: str | None = None
    key_reuse: KeyReuse | None = None
    indexes: tuple[Index, ...] = ()
    sql: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        """Look a column up regardless of the case of ASCII letters, as names in SQL are."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    def is_unique(self, column: str) -> bool:
        """True if the database itself guarantees that `column` never repeats."""
        return self.numbered_by == column or any(index.is_unique_on(column) for index in self.indexes)


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
