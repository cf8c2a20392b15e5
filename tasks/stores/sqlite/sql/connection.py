"""What every connection executes before and around the statements of a session, whatever it is for."""

from __future__ import annotations

from tasks.stores.sqlite.sql.spelling import STAGING, Statement

TRANSACTION = (
    Statement("schema_version", "PRAGMA schema_version", "batch"),
    Statement("begin_read", "BEGIN", "batch"),
    Statement("begin_write", "BEGIN IMMEDIATE", "batch", writes=True),
    Statement("commit", "COMMIT", "batch"),
    Statement("rollback", "ROLLBACK", "batch"),
)
"""What every session that may write begins and ends its transactions with."""

CATALOGUE_STATEMENTS = (
    Statement("encoding", "PRAGMA encoding", "once"),
    Statement("table_list", "SELECT CAST(name AS BLOB), type, wr FROM pragma_table_list WHERE schema = 'main'", "once"),
    Statement(
        "table_columns",
        'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?)',
        "once",
    ),
    Statement("index_list", "SELECT name, \"unique\", partial, origin = 'pk' FROM pragma_index_list(?)", "once"),
    Statement("index_columns", "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", "once"),
    Statement(
        "declarations",
        "SELECT type, sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type, name",
        "once",
    ),
)


def setup_statements(*, cache_mib: int, write: bool) -> tuple[Statement, ...]:
    """What every connection executes first; the first one that reads tells whether the file is SQLite at all."""
    staging = (
        f"CREATE TEMP TABLE {STAGING} (fact_id TEXT, source_doc TEXT, extracted_at TEXT, confidence_lower REAL, "
        "confidence_upper REAL, ed25519_sig BLOB, signature_hex TEXT, is_update INTEGER, is_timeless INTEGER, key, "
        "supersedes INTEGER, notes TEXT)"
    )
    by_mode = (
        Statement("synchronous", "PRAGMA synchronous = EXTRA", "once")
        if write
        else Statement("query_only", "PRAGMA query_only = 1", "once")
    )
    return (
        Statement("temp_store", "PRAGMA temp_store = MEMORY", "once"),
        Statement("cache_size", f"PRAGMA cache_size = -{cache_mib * 1024}", "once"),
        Statement("foreign_keys", "PRAGMA foreign_keys = 1", "once"),
        Statement("first_read", "SELECT count(*) FROM sqlite_schema", "once"),
        Statement("create_staging", staging, "once"),
        by_mode,
    )
