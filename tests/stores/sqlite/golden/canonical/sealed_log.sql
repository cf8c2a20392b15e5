-- schema_version (batch)
PRAGMA schema_version;

-- begin_read (batch)
BEGIN;

-- begin_write (batch, writes)
BEGIN IMMEDIATE;

-- commit (batch)
COMMIT;

-- rollback (batch)
ROLLBACK;

-- last_attestation_id (batch)
SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l;

-- count_all_rows (once)
SELECT count(*) FROM "am_fact_attestation_log" NOT INDEXED;

-- count_rows (batch)
SELECT count(*) FROM "am_fact_attestation_log" AS l WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last;

-- end_of_rows (batch)
SELECT l."attestation_id"
FROM "am_fact_attestation_log" AS l
WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last
ORDER BY l."attestation_id"
LIMIT 1 OFFSET :skip;

-- read_attested (batch)
SELECT l."attestation_id", l."attester", l."fact_id", l."notes", l."signature_hex", l."signed_at",
  m."confidence_lower", m."confidence_upper", m."extracted_at", m."fact_id", m."source_doc", m."verified_by",
  m."ed25519_sig",
  CASE
    WHEN l."signature_hex" = :placeholder THEN NOT EXISTS (
      SELECT 1
      FROM "am_fact_attestation_log" AS n
      WHERE n."fact_id" = l."fact_id" AND n."attestation_id" > l."attestation_id"
    )
  END
FROM "am_fact_attestation_log" AS l
LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = l."fact_id"
WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last
ORDER BY l."attestation_id";

-- read_attested_raw (batch)
SELECT l."attestation_id", typeof(l."attester") = 'text',
  CASE typeof(l."attester") WHEN 'text' THEN CAST(l."attester" AS BLOB) ELSE l."attester" END,
  typeof(l."fact_id") = 'text',
  CASE typeof(l."fact_id") WHEN 'text' THEN CAST(l."fact_id" AS BLOB) ELSE l."fact_id" END,
  typeof(l."notes") = 'text', CASE typeof(l."notes") WHEN 'text' THEN CAST(l."notes" AS BLOB) ELSE l."notes" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  typeof(l."signed_at") = 'text',
  CASE typeof(l."signed_at") WHEN 'text' THEN CAST(l."signed_at" AS BLOB) ELSE l."signed_at" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END,
  typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  CASE
    WHEN l."signature_hex" = :placeholder THEN NOT EXISTS (
      SELECT 1
      FROM "am_fact_attestation_log" AS n
      WHERE n."fact_id" = l."fact_id" AND n."attestation_id" > l."attestation_id"
    )
  END
FROM "am_fact_attestation_log" AS l
LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = l."fact_id"
WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last
ORDER BY l."attestation_id";

-- read_rows (batch)
SELECT l."attestation_id", l."attester", l."fact_id", l."notes", l."signature_hex", l."signed_at"
FROM "am_fact_attestation_log" AS l
WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last
ORDER BY l."attestation_id";

-- read_rows_raw (batch)
SELECT l."attestation_id", typeof(l."attester") = 'text',
  CASE typeof(l."attester") WHEN 'text' THEN CAST(l."attester" AS BLOB) ELSE l."attester" END,
  typeof(l."fact_id") = 'text',
  CASE typeof(l."fact_id") WHEN 'text' THEN CAST(l."fact_id" AS BLOB) ELSE l."fact_id" END,
  typeof(l."notes") = 'text', CASE typeof(l."notes") WHEN 'text' THEN CAST(l."notes" AS BLOB) ELSE l."notes" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  typeof(l."signed_at") = 'text',
  CASE typeof(l."signed_at") WHEN 'text' THEN CAST(l."signed_at" AS BLOB) ELSE l."signed_at" END
FROM "am_fact_attestation_log" AS l
WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last
ORDER BY l."attestation_id";

-- last_checkpoint (once)
SELECT tree_size, CAST(root AS BLOB), CAST(frontier AS BLOB),
  CASE typeof(last_attestation_id) WHEN 'integer' THEN last_attestation_id END, CAST(note AS BLOB)
FROM "am_attestation_checkpoint"
ORDER BY tree_size DESC
LIMIT 1;

-- read_checkpoints (once)
SELECT tree_size, CAST(root AS BLOB), CAST(frontier AS BLOB),
  CASE typeof(last_attestation_id) WHEN 'integer' THEN last_attestation_id END, CAST(note AS BLOB)
FROM "am_attestation_checkpoint"
ORDER BY tree_size;

-- leaves_of_run (once)
SELECT coalesce(
  sum(
    c.tree_size - coalesce(
      (SELECT max(p.tree_size) FROM "am_attestation_checkpoint" AS p WHERE p.tree_size < c.tree_size), 0
    )
  ),
  0
)
FROM "am_attestation_checkpoint" AS c
WHERE c.run_id = :run_id;

-- last_attestation_of_run (once)
SELECT max(CASE typeof(last_attestation_id) WHEN 'integer' THEN last_attestation_id END)
FROM "am_backfill_batch"
WHERE run_id = :run_id;

-- append_tile (batch, writes)
INSERT INTO "am_attestation_tile" (
  first_leaf, leaves, first_attestation_id, last_attestation_id, subtree_roots, attestation_ids, leaf_marks,
  payload_digests
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- append_checkpoint (batch, writes)
INSERT INTO "am_attestation_checkpoint" (tree_size, root, frontier, last_attestation_id, note, run_id, created_at)
VALUES (:tree_size, :root, :frontier, :last_attestation_id, :note, :run_id, :now);

-- read_layout (once)
SELECT first_leaf, CASE typeof(leaves) WHEN 'integer' THEN leaves END,
  CASE typeof(first_attestation_id) WHEN 'integer' THEN first_attestation_id END,
  CASE typeof(last_attestation_id) WHEN 'integer' THEN last_attestation_id END, CAST(subtree_roots AS BLOB),
  octet_length(attestation_ids), octet_length(leaf_marks), octet_length(payload_digests)
FROM "am_attestation_tile"
ORDER BY first_leaf;

-- read_tile (batch)
SELECT first_leaf, CASE typeof(leaves) WHEN 'integer' THEN leaves END,
  CASE typeof(first_attestation_id) WHEN 'integer' THEN first_attestation_id END,
  CASE typeof(last_attestation_id) WHEN 'integer' THEN last_attestation_id END, CAST(subtree_roots AS BLOB),
  CAST(attestation_ids AS BLOB), CAST(leaf_marks AS BLOB), CAST(payload_digests AS BLOB)
FROM "am_attestation_tile"
WHERE first_leaf = :first_leaf;

-- read_latest (batch)
SELECT l."attestation_id", l."fact_id", l."signature_hex", m."ed25519_sig", m."confidence_lower",
  m."confidence_upper", m."extracted_at", m."fact_id", m."source_doc", m."verified_by"
FROM "am_fact_attestation_log" AS l
LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = l."fact_id"
WHERE l."attestation_id" >= :first
  AND l."attestation_id" <= :last
  AND NOT EXISTS (
    SELECT 1
    FROM "am_fact_attestation_log" AS n
    WHERE n."fact_id" = l."fact_id" AND n."attestation_id" > l."attestation_id"
  )
ORDER BY l."attestation_id";

-- read_latest_raw (batch)
SELECT l."attestation_id", typeof(l."fact_id") = 'text',
  CASE typeof(l."fact_id") WHEN 'text' THEN CAST(l."fact_id" AS BLOB) ELSE l."fact_id" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END
FROM "am_fact_attestation_log" AS l
LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = l."fact_id"
WHERE l."attestation_id" >= :first
  AND l."attestation_id" <= :last
  AND NOT EXISTS (
    SELECT 1
    FROM "am_fact_attestation_log" AS n
    WHERE n."fact_id" = l."fact_id" AND n."attestation_id" > l."attestation_id"
  )
ORDER BY l."attestation_id";

-- read_successions (batch)
SELECT l."attestation_id", n."attestation_id", typeof(n."fact_id") = 'text',
  CASE typeof(n."fact_id") WHEN 'text' THEN CAST(n."fact_id" AS BLOB) ELSE n."fact_id" END,
  typeof(n."notes") = 'text', CASE typeof(n."notes") WHEN 'text' THEN CAST(n."notes" AS BLOB) ELSE n."notes" END
FROM "am_fact_attestation_log" AS l
CROSS JOIN "am_fact_attestation_log" AS n
  ON n."attestation_id" = (
    SELECT min(x."attestation_id")
    FROM "am_fact_attestation_log" AS x
    WHERE x."fact_id" = l."fact_id" AND x."attestation_id" > l."attestation_id"
  )
WHERE l."attestation_id" >= :first AND l."attestation_id" <= :last
ORDER BY l."attestation_id";

-- first_batch_attestation (once)
SELECT min(first_attestation_id) FROM "am_backfill_batch";

-- rows_that_supersede (once)
SELECT l."attestation_id", typeof(l."notes") = 'text',
  CASE typeof(l."notes") WHEN 'text' THEN CAST(l."notes" AS BLOB) ELSE l."notes" END
FROM "am_fact_attestation_log" AS l
WHERE (:before IS NULL OR l."attestation_id" < :before)
  AND typeof(l."notes") = 'text'
  AND l."notes" GLOB '{*"supersedes":*'
ORDER BY l."attestation_id";

-- read_metadata_raw (batch)
SELECT typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END
FROM "am_fact_metadata" AS m
WHERE m."fact_id" = :fact_id;

-- read_unlogged (once)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END
FROM "am_fact_metadata" AS m
WHERE NOT EXISTS (SELECT 1 FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = m."fact_id")
ORDER BY m."fact_id";

-- latest_of_fact (batch)
SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = :fact_id;

-- older_with_signature (batch)
SELECT max(l."attestation_id")
FROM "am_fact_attestation_log" AS l
WHERE l."fact_id" = :fact_id AND l."signature_hex" = :signature_hex AND l."attestation_id" < :before;

-- read_rotations (once)
SELECT l."attestation_id", typeof(l."fact_id") = 'text',
  CASE typeof(l."fact_id") WHEN 'text' THEN CAST(l."fact_id" AS BLOB) ELSE l."fact_id" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  typeof(l."notes") = 'text', CASE typeof(l."notes") WHEN 'text' THEN CAST(l."notes" AS BLOB) ELSE l."notes" END
FROM "am_fact_attestation_log" AS l
WHERE l."fact_id" >= 'key-rotation/' AND l."fact_id" < 'key-rotation0'
ORDER BY l."attestation_id";

-- append_rotation (once, writes)
INSERT INTO "am_fact_attestation_log" ("fact_id", "attester", "signature_hex", "notes", "signed_at")
VALUES (:fact_id, :attester, :signature_hex, :notes, :now);
