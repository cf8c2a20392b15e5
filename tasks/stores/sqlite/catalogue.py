"""Reads what a SQLite database says of itself into a Catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from tasks.contract.catalogue import Catalogue, Column, Index, KeyReuse, Table
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, TRANSACTION

_AUTOINCREMENT = re.compile(r"\bAUTOINCREMENT\b", re.IGNORECASE)
_REUSE = KeyReuse("it is declared without AUTOINCREMENT", "Declare it INTEGER PRIMARY KEY AUTOINCREMENT")
"""The rowid of a deleted row is given to another: https://sqlite.org/autoinc.html."""
_SQL = {statement.name: statement.sql for statement in (*CATALOGUE_STATEMENTS, *TRANSACTION)}


def _rows(connection: apsw.Connection, statement: str, *parameters: str) -> list[Any]:
    return connection.execute(_SQL[statement], parameters).fetchall()


def text_encoding(connection: apsw.Connection) -> str:
    return str(_rows(connection, "encoding")[0][0])


def schema_version(connection: apsw.Connection) -> int:
    """A number that changes whenever the schema does."""
    return int(_rows(connection, "schema_version")[0][0])


def read_catalogue(connection: apsw.Connection, wanted: Iterable[str]) -> Catalogue:
    """All tables and views of the main database by name; those in `wanted` with everything declared of them.

    From the catalogue alone: no row of any table is read, and a table nobody asked for cannot break it.
    """
    names = {name.lower() for name in wanted}
    rows = [(raw.decode("utf-8", "replace"), kind, wr) for raw, kind, wr in _rows(connection, "table_list")]
    return Catalogue(
        tuple(
            _read_table(connection, name, kind, bool(without_rowid))
            if name.lower() in names and kind == "table"
            else Table(name, kind, ())
            for name, kind, without_rowid in rows
            if not name.lower().startswith("sqlite_")
        )
    )


def _read_table(connection: apsw.Connection, name: str, kind: str, without_rowid: bool) -> Table:
    rows = _rows(connection, "table_columns", name)
    columns = tuple(
        Column(column, declared or "", bool(not_null), hidden in (2, 3), _is_untyped(declared or ""))
        for column, declared, not_null, _, hidden in rows
        if hidden != 1
    )
    primary = tuple(column for _, column in sorted((pk, column) for column, _, _, pk, _ in rows if pk))
    indexes = _read_indexes(connection, name)
    declarations = _rows(connection, "declarations", name)
    sql = tuple(sql for type_ in ("table", "index", "trigger") for t, sql in declarations if t == type_)
    return Table(
        name=name,
        kind=kind,
        columns=columns,
        primary_key=primary,
        primary_key_not_null=without_rowid,
        numbered_by=None if without_rowid else _rowid_alias(columns, primary, indexes),
        row_number=None if without_rowid else _rowid_name(columns),
        key_reuse=None if any(_AUTOINCREMENT.search(text) for text in sql) else _REUSE,
        indexes=indexes,
        sql=sql,
    )


def _is_untyped(declared: str) -> bool:
    """Whether a column has BLOB affinity, which is none, or takes ANY value of a STRICT table as it is.

    Source: https://sqlite.org/datatype3.html section 3.1, https://sqlite.org/stricttables.html
    """
    declared = declared.upper()
    if any(word in declared for word in ("INT", "CHAR", "CLOB", "TEXT")):
        return False
    return not declared or "BLOB" in declared or declared == "ANY"


def _rowid_alias(columns: Sequence[Column], primary_key: Sequence[str], indexes: Sequence[Index]) -> str | None:
    """The INTEGER PRIMARY KEY column, which is the rowid itself, or None.

    One declared `INTEGER PRIMARY KEY DESC` is not the rowid and has an index of its own instead.
    Source: https://sqlite.org/lang_createtable.html#rowids_and_the_integer_primary_key
    """
    if len(primary_key) != 1 or any(index.is_primary_key for index in indexes):
        return None
    return next((c.name for c in columns if c.name == primary_key[0] and c.declared_type.upper() == "INTEGER"), None)


def _rowid_name(columns: Sequence[Column]) -> str | None:
    """What the rowid can be called: the first of its three names that is no column's.

    Source: https://sqlite.org/lang_createtable.html#rowid
    """
    taken = {column.name.lower() for column in columns}
    return next((name for name in ("rowid", "oid", "_rowid_") if name not in taken), None)


def _read_indexes(connection: apsw.Connection, table: str) -> tuple[Index, ...]:
    indexes = []
    for name, unique, partial, is_primary_key in _rows(connection, "index_list", table):
        columns = _rows(connection, "index_columns", name)
        names, collations = tuple(c for c, _ in columns), tuple(coll.upper() for _, coll in columns)
        indexes.append(Index(name, bool(unique), bool(partial), names, collations, bool(is_primary_key)))
    return tuple(sorted(indexes, key=lambda index: index.name))
