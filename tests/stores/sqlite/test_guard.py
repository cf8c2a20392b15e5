"""What a connection of the job may not do, tried out on a real database: SQLite itself must refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import apsw
import pytest

from tasks.stores.sqlite.gate import live_guard, pass_gate
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.connection import setup_statements
from tasks.stores.sqlite.sql.spelling import STAGING

FACTS, METADATA, LOG = "am_entity_facts", "am_fact_metadata", "am_fact_attestation_log"
LEDGER = ("am_backfill_run", "am_backfill_chunk", "am_backfill_batch", "am_backfill_reject")

OUTSIDE = [
    f"INSERT INTO {FACTS} (entity_id, field_name) VALUES ('x', 'y')",
    f"UPDATE {FACTS} SET confidence = 1",
    f"DELETE FROM {FACTS}",
    "INSERT INTO am_source (source_url) VALUES ('x')",
    "UPDATE am_source SET license = 'x'",
    "DELETE FROM am_source",
    "INSERT INTO am_fact_signature (fact_id, ed25519_sig, key_id, payload_sha256) VALUES ('1', zeroblob(64), 'x', 'y')",
    "UPDATE am_fact_signature SET key_id = 'x'",
    f"DELETE FROM {METADATA}",
    f"UPDATE {LOG} SET attester = 'x'",
    f"DELETE FROM {LOG}",
    f"INSERT INTO {LOG} (attestation_id, fact_id, attester, signature_hex) VALUES (1, '1', 'a', hex(zeroblob(64))) "
    "ON CONFLICT (attestation_id) DO UPDATE SET attester = 'x'",
    *(f"DELETE FROM {table}" for table in LEDGER),
    "UPDATE am_backfill_reject SET reason = 'x'",
    "INSERT INTO sqlite_sequence VALUES ('x', 1)",
    "DELETE FROM sqlite_sequence",
    "UPDATE sqlite_schema SET sql = ''",
]
SCHEMA_CHANGES = [
    "CREATE TABLE other (x)",
    "CREATE TEMP TABLE other (x)",
    "CREATE INDEX other ON am_source (domain)",
    "CREATE VIEW other AS SELECT 1",
    "CREATE TEMP VIEW other AS SELECT 1",
    f"CREATE TRIGGER other AFTER INSERT ON {METADATA} BEGIN SELECT 1; END",
    f"CREATE TEMP TRIGGER other AFTER INSERT ON {METADATA} BEGIN SELECT 1; END",
    "CREATE VIRTUAL TABLE other USING fts5 (x)",
    f"DROP TABLE {METADATA}",
    "DROP INDEX ix_am_fact_metadata_source_doc",
    "DROP VIEW v_am_fact_explainability",
    f"ALTER TABLE {METADATA} ADD COLUMN other",
    f"ALTER TABLE {METADATA} RENAME TO other",
    f"ALTER TABLE {METADATA} DROP COLUMN notes",
    "ATTACH ':memory:' AS other",
    "DETACH main",
    "REINDEX",
    "ANALYZE",
    "VACUUM",
    "VACUUM INTO 'other.db'",
]
PRAGMAS = [
    "integrity_check", "quick_check", "journal_mode = DELETE", "synchronous = OFF", "query_only = 0",
    "user_version = 7", "writable_schema = 1", "schema_version = 7", "wal_checkpoint(TRUNCATE)", "optimize",
    "incremental_vacuum", "auto_vacuum = 1", "application_id = 1", "foreign_keys = 1", "locking_mode = EXCLUSIVE",
    "trusted_schema = 0",
]  # fmt: skip


@pytest.fixture
def live(store: Any, settings: Any) -> Iterator[apsw.Connection]:
    """A connection with the guard of a live run, on a store with a row in every table."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_fact(1, source_id=1)
    made.add_metadata("1")
    with closing(apsw.Connection(str(made.path))) as connection:
        for statement in setup_statements(cache_mib=1, write=True):
            connection.execute(statement.sql).fetchall()
        pass_gate(connection, settings(made))
        yield connection


@pytest.mark.parametrize("sql", [*OUTSIDE, *SCHEMA_CHANGES, *(f"PRAGMA {pragma}" for pragma in PRAGMAS)])
def test_sqlite_refuses_everything_that_a_live_run_has_no_business_with(live: apsw.Connection, sql: str) -> None:
    with pytest.raises((apsw.AuthError, apsw.SQLError), match=r"not authorized|prohibited|may not be|denied"):
        live.execute(sql).fetchall()
    assert live.total_changes() == 0


@pytest.mark.parametrize(
    "sql",
    [
        f"INSERT INTO {METADATA} (fact_id, ed25519_sig) VALUES ('2', zeroblob(64))",
        f"UPDATE {METADATA} SET notes = 'x'",
        f"INSERT INTO {LOG} (fact_id, attester, signature_hex) VALUES ('1', 'a', hex(zeroblob(64)))",
        "INSERT INTO am_backfill_reject VALUES (1, 'run', 1, 'fact', 'reason', 'detail', 'now')",
        "UPDATE am_backfill_run SET finished_at = 'x'",
        "UPDATE am_backfill_chunk SET attempts = 2",
        f"INSERT INTO temp.{STAGING} (fact_id) VALUES ('1')",
        f"DELETE FROM temp.{STAGING}",
        f"SELECT count(*) FROM {FACTS}",
    ],
)
def test_what_a_live_run_does_is_allowed(live: apsw.Connection, sql: str) -> None:
    live.execute(sql).fetchall()


def test_a_dry_run_may_not_write_even_where_a_live_run_may(store: Any, settings: Any, dump: Any) -> None:
    """The third lock, after the read-only open and query_only: the guard that the gate starts with."""
    made = store()
    before = dump(made.path)
    with closing(apsw.Connection(str(made.path))) as connection:
        connection.authorizer = Guard()
        for table in (METADATA, LOG, *LEDGER):
            for sql in (f"INSERT INTO {table} DEFAULT VALUES", f"DELETE FROM {table}"):
                with pytest.raises(apsw.AuthError):
                    connection.execute(sql)
    assert dump(made.path) == before


def test_a_write_inside_a_trigger_is_refused_whatever_it_writes_to() -> None:
    guard = Guard(insert=["am_fact_metadata"], update=["am_fact_metadata"])
    write = (apsw.SQLITE_INSERT, "am_fact_metadata", None, "main")
    assert guard(*write, None) == apsw.SQLITE_OK
    assert guard(*write, "sneaky") == apsw.SQLITE_DENY
    assert guard.denied == "SQLITE_INSERT am_fact_metadata inside the trigger 'sneaky'"


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (apsw.SQLITE_INSERT, ("am_fact_metadata", None, "other")),
        (apsw.SQLITE_INSERT, ("am_fact_metadata", None, "temp")),
        (apsw.SQLITE_INSERT, (None, None, "main")),
        (apsw.SQLITE_DELETE, ("am_fact_metadata", None, "main")),
        (apsw.SQLITE_ATTACH, ("file", None, None)),
        (apsw.SQLITE_FUNCTION, (None, "load_extension", None)),
        (apsw.SQLITE_FUNCTION, (None, "WriteFile", None)),
        (apsw.SQLITE_PRAGMA, ("Writable_Schema", "1", None)),
    ],
)
def test_names_alone_do_not_open_the_guard(operation: int, arguments: tuple[Any, ...]) -> None:
    guard = Guard(insert=["am_fact_metadata"], update=["am_fact_metadata"])
    assert guard(operation, *arguments, None) == apsw.SQLITE_DENY


def test_a_table_is_known_in_any_case_of_letters_as_sqlite_knows_it() -> None:
    guard = Guard(insert=["Am_Fact_Metadata"])
    assert guard(apsw.SQLITE_INSERT, "am_fact_METADATA", None, "main", None) == apsw.SQLITE_OK


def test_the_live_guard_writes_to_the_five_tables_of_the_promise_and_updates_three(store: Any, settings: Any) -> None:
    with open_session(settings(store()), write=False) as session:
        guard = live_guard(session.binding)
    everything = (FACTS, "am_source", "am_fact_signature", METADATA, LOG, *LEDGER)
    allowed = {
        (operation, table)
        for operation in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE)
        for table in everything
        if guard(operation, table, "x", "main", None) == apsw.SQLITE_OK
    }
    assert allowed == {(apsw.SQLITE_INSERT, table) for table in (METADATA, LOG, *LEDGER)} | {
        (apsw.SQLITE_UPDATE, table) for table in (METADATA, "am_backfill_run", "am_backfill_chunk")
    }


def test_the_guard_stays_on_the_connection_of_a_session(store: Any, settings: Any) -> None:
    with open_session(settings(store()), write=True) as session:
        connection = session._connection
        with pytest.raises(apsw.AuthError):
            connection.execute(f"DELETE FROM {FACTS}")
