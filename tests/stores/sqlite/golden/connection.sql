-- temp_store (once)
PRAGMA temp_store = MEMORY;

-- cache_size (once)
PRAGMA cache_size = -65536;

-- foreign_keys (once)
PRAGMA foreign_keys = 1;

-- first_read (once)
SELECT count(*) FROM sqlite_schema;

-- create_staging (once)
CREATE TEMP TABLE am_backfill_staging (
  fact_id TEXT, source_doc TEXT, extracted_at TEXT, confidence_lower REAL, confidence_upper REAL, ed25519_sig BLOB,
  signature_hex TEXT, is_update INTEGER, is_timeless INTEGER, key, supersedes INTEGER, notes TEXT
);

-- query_only (once)
PRAGMA query_only = 1;

-- synchronous (once)
PRAGMA synchronous = EXTRA;

-- encoding (once)
PRAGMA encoding;

-- table_list (once)
SELECT CAST(name AS BLOB), type, wr FROM pragma_table_list WHERE schema = 'main';

-- table_columns (once)
SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?);

-- index_list (once)
SELECT name, "unique", partial, origin = 'pk' FROM pragma_index_list(?);

-- index_columns (once)
SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno;

-- declarations (once)
SELECT type, sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type, name;
