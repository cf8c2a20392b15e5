"""What a SQLite database says of its tables, as it comes into a catalogue."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest

from tasks.contract.catalogue import Table
from tasks.stores.sqlite.catalogue import read_catalogue


def table(declared: str) -> Table:
    """The table `t` of an empty database, declared so."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t {declared}")
        found = read_catalogue(connection, ["t"]).table("t")
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("declared", "column"),
    [
        ("(id INTEGER PRIMARY KEY, x)", "id"), ("(id integer primary key, x)", "id"),
        ("(x, Id INTEGER PRIMARY KEY)", "Id"), ("(id INTEGER, x, PRIMARY KEY (id))", "id"),
        ("(id INT PRIMARY KEY, x)", None),
        ("(id BIGINT PRIMARY KEY, x)", None), ("(id INTEGER PRIMARY KEY DESC, x)", None),
        ("(id INTEGER PRIMARY KEY, x) WITHOUT ROWID", None), ("(id INTEGER, x, PRIMARY KEY (id, x))", None),
        ("(id INTEGER, x)", None), ("(id TEXT PRIMARY KEY, x)", None),
    ],
)  # fmt: skip
def test_rows_are_numbered_by_an_integer_primary_key_alone(declared: str, column: str | None) -> None:
    assert table(declared).numbered_by == column


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ("(id, x)", "rowid"), ("(id, ROWID)", "oid"), ("(id, rowid, oid)", "_rowid_"), ("(rowid, oid, _rowid_)", None),
        ("(id PRIMARY KEY, x) WITHOUT ROWID", None),
    ],
)  # fmt: skip
def test_the_number_of_a_row_goes_by_a_name_that_no_column_has(declared: str, name: str | None) -> None:
    assert table(declared).row_number == name


@pytest.mark.parametrize(
    ("declared", "untyped"),
    [("", True), ("BLOB", True), ("TINYBLOB", True), ("INTEGER", False), ("VARCHAR(9)", False), ("CLOB", False),
     ("REAL", False), ("NUMERIC", False), ("POINT", False), ("BLOB TEXT", False)],
)  # fmt: skip
def test_a_column_without_affinity_is_untyped(declared: str, untyped: bool) -> None:
    column = table(f"(id {declared})").column("id")
    assert column is not None and column.untyped is untyped


def test_a_column_of_any_value_is_untyped() -> None:
    column = table("(id ANY) STRICT").column("id")
    assert column is not None and column.untyped


def test_keys_are_reused_unless_they_are_counted_up_for_ever() -> None:
    assert table("(id INTEGER PRIMARY KEY AUTOINCREMENT)").key_reuse is None
    reuse = table("(id INTEGER PRIMARY KEY)").key_reuse
    assert reuse is not None and "AUTOINCREMENT" in reuse.why


def test_the_primary_key_of_a_table_without_rowid_is_never_null() -> None:
    assert table("(id TEXT PRIMARY KEY) WITHOUT ROWID").primary_key_not_null
    assert not table("(id TEXT PRIMARY KEY)").primary_key_not_null
