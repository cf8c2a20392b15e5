-- The canonical schema, SQLite spelling: the only DDL of this project. The sample, the tests and
-- ApplySchema all read it. One statement per object, one comment above it. Names of indexes start with
-- the name of their table, and no string literal holds a name, so that a table can be renamed by
-- replacing identifiers alone.
--
-- "Now" is ISO-8601 UTC with milliseconds: 2026-05-12T01:23:45.000Z.

-- ---------------------------------------------------------------------------------------------
-- The fact store: belongs to the application. The job reads it and never writes it.
-- ---------------------------------------------------------------------------------------------

-- Where facts come from: one row per document.
CREATE TABLE am_source (
    id             INTEGER PRIMARY KEY,
    source_url     TEXT NOT NULL UNIQUE,
    source_type    TEXT,
    domain         TEXT,
    content_hash   TEXT,
    first_seen     TEXT,
    last_verified  TEXT,
    license        TEXT
);

-- The facts: one row per entity, field and value. source_url is the fact's own source, and goes before
-- the one that source_id names.
CREATE TABLE am_entity_facts (
    id                       INTEGER PRIMARY KEY AUTOINCREMENT,
    entity_id                TEXT NOT NULL,
    field_name               TEXT NOT NULL,
    field_value_text         TEXT,
    field_value_json         TEXT,
    field_value_numeric      REAL,
    field_kind               TEXT,
    source_id                INTEGER REFERENCES am_source (id),
    source_url               TEXT,
    confidence               REAL,
    confirming_source_count  INTEGER,
    created_at               TEXT
);

-- The application's way in: all facts of one entity.
CREATE INDEX ix_am_entity_facts_entity_id ON am_entity_facts (entity_id);

-- The application's way in: one field over all entities.
CREATE INDEX ix_am_entity_facts_field_name ON am_entity_facts (field_name);

-- ---------------------------------------------------------------------------------------------
-- The sidecar: provenance beside the facts, in tables of its own. No foreign keys: a fact may go, and
-- what was attested about it stays.
-- ---------------------------------------------------------------------------------------------

-- One row per fact: where it came from, when it was extracted, who attests to it, how sure the
-- extractor was, and the signature over those four.
CREATE TABLE am_fact_metadata (
    fact_id           TEXT PRIMARY KEY,
    source_doc        TEXT,
    extracted_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    verified_by       TEXT,
    confidence_lower  REAL,
    confidence_upper  REAL,
    ed25519_sig       BLOB NOT NULL,
    notes             TEXT,
    created_at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at        TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CHECK (length(ed25519_sig) BETWEEN 64 AND 96),
    CHECK (confidence_lower IS NULL OR confidence_lower BETWEEN 0.0 AND 1.0),
    CHECK (confidence_upper IS NULL OR confidence_upper BETWEEN 0.0 AND 1.0),
    CHECK (confidence_lower IS NULL OR confidence_upper IS NULL OR confidence_lower <= confidence_upper)
);

-- The newest extractions first.
CREATE INDEX ix_am_fact_metadata_extracted_at ON am_fact_metadata (extracted_at DESC);

-- Everything that one attester stands for.
CREATE INDEX ix_am_fact_metadata_verified_by ON am_fact_metadata (verified_by);

-- Everything that rests on one document.
CREATE INDEX ix_am_fact_metadata_source_doc ON am_fact_metadata (source_doc);

-- Append-only: one row for every write to the metadata, never updated, never deleted. signature_hex is
-- the raw signature in hex; a placeholder is all zeros. (Only its length is checked here: testing every
-- digit costs more than the rest of the insert.)
CREATE TABLE am_fact_attestation_log (
    attestation_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    fact_id         TEXT NOT NULL,
    attester        TEXT NOT NULL,
    signed_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    signature_hex   TEXT NOT NULL,
    notes           TEXT,
    CHECK (length(signature_hex) BETWEEN 128 AND 256)
);

-- The attestations of one fact, the latest first.
CREATE INDEX ix_am_fact_attestation_log_fact_id ON am_fact_attestation_log (fact_id, signed_at DESC);

-- The attestations of one attester.
CREATE INDEX ix_am_fact_attestation_log_attester ON am_fact_attestation_log (attester);

-- Belongs to another job, which signs snapshots of the facts. This job never writes it.
CREATE TABLE am_fact_signature (
    fact_id             TEXT PRIMARY KEY,
    ed25519_sig         BLOB NOT NULL,
    key_id              TEXT NOT NULL,
    payload_sha256      TEXT NOT NULL,
    corpus_snapshot_id  TEXT,
    signed_at           TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CHECK (length(ed25519_sig) BETWEEN 64 AND 96)
);

-- Per fact: the greatest time at which it was attested, and how often. That is a time: which attestation is the latest
-- is told by attestation_id, also where a clock was set back, and lookup, attach and `provenance explain` go by that.
CREATE VIEW v_am_fact_attestation_latest AS
SELECT fact_id,
       max(signed_at) AS latest_signed_at,
       count(*)       AS attestation_count
  FROM am_fact_attestation_log
 GROUP BY fact_id;

-- Per fact: its provenance together with its attestations, for whoever has to explain the fact.
CREATE VIEW v_am_fact_explainability AS
SELECT m.fact_id,
       m.source_doc,
       m.extracted_at,
       m.verified_by,
       m.confidence_lower,
       m.confidence_upper,
       m.ed25519_sig,
       a.latest_signed_at,
       coalesce(a.attestation_count, 0) AS attestation_count
  FROM am_fact_metadata AS m
  LEFT JOIN v_am_fact_attestation_latest AS a ON a.fact_id = m.fact_id;

-- ---------------------------------------------------------------------------------------------
-- The ledger: belongs to the job, in the same database, so that it commits with the rows it counts.
-- ---------------------------------------------------------------------------------------------

-- One row per live run. plan is the frozen plan as JSON, so that a lost state directory can be written
-- again. key_id is the key that the run began with, NULL where it had none; which key signed what is in
-- the batches. stop_reason, and remaining, what was residual then, are told when the run ends.
CREATE TABLE am_backfill_run (
    run_id       TEXT PRIMARY KEY,
    plan_id      TEXT NOT NULL,
    plan         TEXT NOT NULL,
    kind         TEXT NOT NULL DEFAULT 'backfill' CHECK (kind IN ('backfill', 'sign', 'undo')),
    state        TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('planned', 'running', 'paused', 'done', 'stopped', 'undone')),
    stop_reason  TEXT,
    remaining    INTEGER,
    started_at   TEXT NOT NULL,
    finished_at  TEXT,
    attester     TEXT NOT NULL,
    key_id       TEXT,
    host         TEXT NOT NULL,
    pid          INTEGER NOT NULL
);

-- One row per chunk: the truth about how far it is. after_key, through_key and cursor have no declared
-- type, so that a key keeps its storage class. Both sums are checked: every eligible fact has one
-- outcome, and every row written is either signed or holds a placeholder. last_error is what the last
-- failed attempt said; it stays when a later one succeeds.
CREATE TABLE am_backfill_chunk (
    run_id                  TEXT NOT NULL,
    chunk                   INTEGER NOT NULL,
    plan_id                 TEXT NOT NULL,
    after_key,
    through_key,
    cursor,
    eligible                INTEGER NOT NULL DEFAULT 0,
    inserted                INTEGER NOT NULL DEFAULT 0,
    updated                 INTEGER NOT NULL DEFAULT 0,
    unchanged               INTEGER NOT NULL DEFAULT 0,
    rejected                INTEGER NOT NULL DEFAULT 0,
    signed                  INTEGER NOT NULL DEFAULT 0,
    placeholder             INTEGER NOT NULL DEFAULT 0,
    created_at_missing      INTEGER NOT NULL DEFAULT 0,
    confidence_not_numeric  INTEGER NOT NULL DEFAULT 0,
    state                   TEXT NOT NULL CHECK (state IN ('running', 'done')),
    attempts                INTEGER NOT NULL DEFAULT 0,
    host                    TEXT NOT NULL,
    pid                     INTEGER NOT NULL,
    started_at              TEXT NOT NULL,
    updated_at              TEXT NOT NULL,
    finished_at             TEXT,
    seconds                 REAL NOT NULL DEFAULT 0,
    last_error              TEXT,
    PRIMARY KEY (run_id, chunk),
    CHECK (eligible = inserted + updated + unchanged + rejected),
    CHECK (inserted + updated = signed + placeholder)
);

-- One row per transaction of a chunk, committed with the rows that it counts: the counts of a chunk are
-- the sums over its batches. The log rows of a batch follow each other, first to last; NULL where it
-- wrote none. key_id is the key that signed them. content is two sums of the
-- SHA-256 of the payloads, of facts inserted and of facts updated, where a dry run is compared by content; else NULL.
-- began_at is when its reading began, committed_at the time just before the commit. waiting_seconds is the wait for the write lock, locked_seconds the time
-- from then until just before the commit: how long the commit itself took is not known inside it.
CREATE TABLE am_backfill_batch (
    run_id                TEXT NOT NULL,
    chunk                 INTEGER NOT NULL,
    batch                 INTEGER NOT NULL,
    after_key,
    through_key,
    eligible              INTEGER NOT NULL,
    inserted              INTEGER NOT NULL,
    updated               INTEGER NOT NULL,
    unchanged             INTEGER NOT NULL,
    rejected              INTEGER NOT NULL,
    signed                INTEGER NOT NULL,
    placeholder           INTEGER NOT NULL,
    first_attestation_id  INTEGER,
    last_attestation_id   INTEGER,
    key_id                TEXT,
    content               BLOB,
    host                  TEXT NOT NULL,
    pid                   INTEGER NOT NULL,
    began_at              TEXT NOT NULL,
    committed_at          TEXT NOT NULL,
    reading_seconds       REAL NOT NULL,
    deriving_seconds      REAL NOT NULL,
    signing_seconds       REAL NOT NULL,
    waiting_seconds       REAL NOT NULL,
    locked_seconds        REAL NOT NULL,
    PRIMARY KEY (run_id, chunk, batch),
    CHECK (eligible = inserted + updated + unchanged + rejected),
    CHECK (inserted + updated = signed + placeholder),
    CHECK ((signed > 0) = (key_id IS NOT NULL))
);

-- One row per fact that could not be attested honestly, with the reason.
CREATE TABLE am_backfill_reject (
    reject_id    INTEGER PRIMARY KEY,
    run_id       TEXT NOT NULL,
    chunk        INTEGER NOT NULL,
    fact_id      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    detail       TEXT NOT NULL,
    rejected_at  TEXT NOT NULL
);

-- The rejects of one chunk, for its marker and for the report.
CREATE INDEX ix_am_backfill_reject_run_id_chunk ON am_backfill_reject (run_id, chunk);

-- The rejects of one fact, over all runs.
CREATE INDEX ix_am_backfill_reject_fact_id ON am_backfill_reject (fact_id);

-- ---------------------------------------------------------------------------------------------
-- The sealed log: belongs to the job. Both tables are append-only: no row is ever changed or deleted.
-- docs/attestation-log.md describes every byte.
-- ---------------------------------------------------------------------------------------------

-- One row for up to 4096 leaves of the sealed log, in leaf order: which attestations they are, and the
-- digests that can no longer be computed once a fact is attested again. The large columns stand last, so
-- that the small ones are read without them. attestation_ids is NULL where they are first to last
-- without a gap, else 8 bytes each, little-endian.
CREATE TABLE am_attestation_tile (
    first_leaf            INTEGER PRIMARY KEY,
    leaves                INTEGER NOT NULL,
    first_attestation_id  INTEGER NOT NULL,
    last_attestation_id   INTEGER NOT NULL,
    subtree_roots         BLOB NOT NULL,
    attestation_ids       BLOB,
    leaf_marks            BLOB NOT NULL,
    payload_digests       BLOB NOT NULL,
    CHECK (leaves BETWEEN 1 AND 4096),
    CHECK (length(leaf_marks) = 8 * leaves),
    CHECK (length(payload_digests) = 32 * leaves),
    CHECK (attestation_ids IS NULL OR length(attestation_ids) = 8 * leaves)
);

-- One row for every checkpoint: the log at one size, signed. frontier is what the next one grows from.
CREATE TABLE am_attestation_checkpoint (
    tree_size            INTEGER PRIMARY KEY,
    root                 BLOB NOT NULL,
    frontier             BLOB NOT NULL,
    last_attestation_id  INTEGER NOT NULL,
    note                 TEXT NOT NULL,
    run_id               TEXT,
    created_at           TEXT NOT NULL,
    CHECK (length(root) = 32)
);
