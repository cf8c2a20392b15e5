"""Reads what a SQLite database says of itself into a Catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from tasks.contract.catalogue import Catalogue, Column, Index, Table
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, TRANSACTION

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
        Column(column, declared or "", bool(not_null), hidden in (2, 3))
        for column, declared, not_null, _, hidden in rows
        if hidden != 1
    )
    primary = sorted((pk, column) for column, _, _, pk, _ in rows if pk)
    declarations = _rows(connection, "declarations", name)
    return Table(
        name=name,
        kind=kind,
        columns=columns,
        primary_key=tuple(column for _, column in primary),
        without_rowid=without_rowid,
        indexes=_read_indexes(connection, name),
        sql=tuple(sql for type_ in ("table", "index", "trigger") for t, sql in declarations if t == type_),
    )


def _read_indexes(connection: apsw.Connection, table: str) -> tuple[Index, ...]:
    indexes = []
    for name, unique, partial, is_primary_key in _rows(connection, "index_list", table):
        columns = _rows(connection, "index_columns", name)
        names, collations = tuple(c for c, _ in columns), tuple(coll.upper() for _, coll in columns)
        indexes.append(Index(name, bool(unique), bool(partial), names, collations, bool(is_primary_key)))
    return tuple(sorted(indexes, key=lambda index: index.name))
