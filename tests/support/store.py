"""A database file with short ways to fill it and to look into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from support.schema import Schema, quoted


@dataclass
class Store:
    """One database file, with short ways to fill it and to look into it. Each call opens its own connection."""

    path: Path

    def execute(self, sql: str, *values: Any) -> list[Any]:
        """Run SQL as the application would: no guard, committed at once."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.set_busy_timeout(5000)
            return list(connection.execute(sql, values or None))

    rows = execute

    def insert(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Insert rows given as {column: value}, in one transaction."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection, connection:
            for row in rows:
                names, marks = ", ".join(map(quoted, row)), ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})", tuple(row.values()))

    def add_source(self, id: Any, source_url: Any, **columns: Any) -> None:
        self.insert("am_source", [{"id": id, "source_url": source_url, **columns}])

    def add_fact(self, id: Any, **columns: Any) -> None:
        self.add_facts([{"id": id, **columns}])

    def add_facts(self, facts: Iterable[dict[str, Any]]) -> None:
        """Facts given as {column: value}; entity_id and field_name need not be told."""
        self.insert(
            "am_entity_facts", [{"entity_id": "houjin:1", "field_name": "program.overview", **f} for f in facts]
        )

    def add_metadata(self, fact_id: Any, source_doc: Any = None, **columns: Any) -> None:
        """A metadata row as an earlier run left it: unsigned, and without a source unless one is given."""
        row = {"fact_id": fact_id, "source_doc": source_doc, "extracted_at": "2026-01-01T00:00:00.000Z",
               "verified_by": "etl_prov_backfill_v1", "ed25519_sig": bytes(64)}  # fmt: skip
        self.insert("am_fact_metadata", [{**row, **columns}])

    def metadata(self) -> dict[str, dict[str, Any]]:
        """The metadata rows by fact_id, each as {column: value}."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            cursor = connection.execute("SELECT * FROM am_fact_metadata")
            rows = list(cursor)
            names = [row[1] for row in connection.execute("PRAGMA table_xinfo(am_fact_metadata)")]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return {row["fact_id"]: row for row in found}

    def log(self) -> list[tuple[Any, ...]]:
        """(fact_id, attester, signature_hex) of the attestation log, oldest first."""
        sql = "SELECT fact_id, attester, signature_hex FROM am_fact_attestation_log ORDER BY attestation_id"
        return self.execute(sql)

    def rejects(self) -> list[tuple[Any, ...]]:
        """(fact_id, reason) of every reject, oldest first."""
        return self.execute("SELECT fact_id, reason FROM am_backfill_reject ORDER BY reject_id")

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT count(*) FROM {quoted(table)}")[0][0])


def make_store(path: Path, *mutations: Callable[[Schema], Any], journal_mode: str, encoding: str) -> Store:
    """A new database file of the canonical schema as the mutations leave it. Never over another."""
    schema = Schema()
    for mutate in mutations:
        mutate(schema)
    assert not path.exists(), f"{path} is there already: give this store another name"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            for sql in schema.statements():
                connection.execute(sql)
    return Store(path)


def dump_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        connection.set_busy_timeout(5000)
        with connection:
            sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name"
            tables = [row[0] for row in connection.execute(sql) if not row[0].startswith("sqlite_")]
            return {table: sorted(_raw_rows(connection, table), key=repr) for table in tables}


def _raw_rows(connection: apsw.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    columns = [row[0] for row in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
    values = ", ".join(
        f"typeof({c}), CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END" for c in map(quoted, columns)
    )
    yield from connection.execute(f"SELECT {values} FROM {quoted(table)}")
