-- ⟨joined⟩
"am_fact_metadata" AS m
LEFT JOIN "am_fact_attestation_log" AS l
  ON l."attestation_id" = (
    SELECT max(x."attestation_id") FROM "am_fact_attestation_log" AS x WHERE x."fact_id" = m."fact_id"
  )

-- ⟨ever_signed⟩
CASE
  WHEN m."ed25519_sig" = zeroblob(64) THEN EXISTS (
    SELECT 1
    FROM "am_fact_attestation_log" AS e
    WHERE e."fact_id" = m."fact_id" AND e."signature_hex" IS NOT hex(zeroblob(64))
  )
END

-- ⟨attested⟩
m."fact_id", m."source_doc", m."extracted_at", m."verified_by", m."confidence_lower", m."confidence_upper",
m."ed25519_sig", l."attestation_id", l."signature_hex"

-- begin_read (batch)
BEGIN;

-- commit (batch)
COMMIT;

-- count_rows (once)
SELECT count(*) FROM "am_fact_metadata" NOT INDEXED;

-- count_null_keys (once)
SELECT count(*) FROM "am_fact_metadata" AS m WHERE m."fact_id" IS NULL;

-- key_after_start (once)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END
FROM "am_fact_metadata" AS m
WHERE m."fact_id" IS NOT NULL
ORDER BY m."fact_id"
LIMIT 1 OFFSET :skip;

-- key_after (once)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END
FROM "am_fact_metadata" AS m
WHERE m."fact_id" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
ORDER BY m."fact_id"
LIMIT 1 OFFSET :skip;

-- last_key (once)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END
FROM "am_fact_metadata" AS m
ORDER BY m."fact_id" DESC
LIMIT 1;

-- read_rows_first (batch)
SELECT ⟨attested⟩, ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
ORDER BY m."fact_id"
LIMIT :limit;

-- read_rows (batch)
SELECT ⟨attested⟩, ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
ORDER BY m."fact_id"
LIMIT :limit;

-- read_rows_first_raw (batch)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  typeof(l."attestation_id") = 'text',
  CASE typeof(l."attestation_id") WHEN 'text' THEN CAST(l."attestation_id" AS BLOB) ELSE l."attestation_id" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
ORDER BY m."fact_id"
LIMIT :limit;

-- read_rows_raw (batch)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  typeof(l."attestation_id") = 'text',
  CASE typeof(l."attestation_id") WHEN 'text' THEN CAST(l."attestation_id" AS BLOB) ELSE l."attestation_id" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
ORDER BY m."fact_id"
LIMIT :limit;

-- read_row (batch)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  typeof(l."attestation_id") = 'text',
  CASE typeof(l."attestation_id") WHEN 'text' THEN CAST(l."attestation_id" AS BLOB) ELSE l."attestation_id" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" = :fact_id;

-- logged_before (batch)
SELECT l."attestation_id"
FROM "am_fact_attestation_log" AS l
WHERE l."fact_id" = :fact_id AND l."signature_hex" = :signature_hex
LIMIT 1;

-- unsealed_id (once)
SELECT l."attestation_id"
FROM "am_fact_attestation_log" AS l
WHERE l."attestation_id" > :last_sealed
ORDER BY l."attestation_id"
LIMIT 1 OFFSET :skip;

-- read_layout (once)
SELECT first_leaf, CASE typeof(leaves) WHEN 'integer' THEN leaves END,
  CASE typeof(first_attestation_id) WHEN 'integer' THEN first_attestation_id END,
  CASE typeof(last_attestation_id) WHEN 'integer' THEN last_attestation_id END, CAST(subtree_roots AS BLOB),
  octet_length(attestation_ids), octet_length(leaf_marks), octet_length(payload_digests)
FROM "am_attestation_tile"
ORDER BY first_leaf;

-- tile_ids (once)
SELECT CAST(attestation_ids AS BLOB) FROM "am_attestation_tile" WHERE first_leaf = :first_leaf;

-- chain (once)
SELECT typeof(l."attestation_id") = 'text',
  CASE typeof(l."attestation_id") WHEN 'text' THEN CAST(l."attestation_id" AS BLOB) ELSE l."attestation_id" END,
  typeof(l."signed_at") = 'text',
  CASE typeof(l."signed_at") WHEN 'text' THEN CAST(l."signed_at" AS BLOB) ELSE l."signed_at" END,
  typeof(l."attester") = 'text',
  CASE typeof(l."attester") WHEN 'text' THEN CAST(l."attester" AS BLOB) ELSE l."attester" END,
  typeof(l."signature_hex") = 'text',
  CASE typeof(l."signature_hex") WHEN 'text' THEN CAST(l."signature_hex" AS BLOB) ELSE l."signature_hex" END,
  typeof(l."notes") = 'text', CASE typeof(l."notes") WHEN 'text' THEN CAST(l."notes" AS BLOB) ELSE l."notes" END
FROM "am_fact_attestation_log" AS l
WHERE l."fact_id" = :fact_id
ORDER BY l."attestation_id";

-- provenance (once)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END,
  typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END,
  typeof(m."verified_by") = 'text',
  CASE typeof(m."verified_by") WHEN 'text' THEN CAST(m."verified_by" AS BLOB) ELSE m."verified_by" END,
  typeof(m."confidence_lower") = 'text',
  CASE typeof(m."confidence_lower") WHEN 'text' THEN CAST(m."confidence_lower" AS BLOB) ELSE m."confidence_lower" END,
  typeof(m."confidence_upper") = 'text',
  CASE typeof(m."confidence_upper") WHEN 'text' THEN CAST(m."confidence_upper" AS BLOB) ELSE m."confidence_upper" END,
  typeof(m."ed25519_sig") = 'text',
  CASE typeof(m."ed25519_sig") WHEN 'text' THEN CAST(m."ed25519_sig" AS BLOB) ELSE m."ed25519_sig" END,
  (SELECT count(*) FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = m."fact_id"),
  typeof(
    (
      SELECT x."signed_at"
      FROM "am_fact_attestation_log" AS x
      WHERE x."attestation_id" = (
        SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = m."fact_id"
      )
    )
  ) = 'text',
  CASE
    typeof(
      (
        SELECT x."signed_at"
        FROM "am_fact_attestation_log" AS x
        WHERE x."attestation_id" = (
          SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = m."fact_id"
        )
      )
    )
    WHEN 'text' THEN CAST(
      (
        SELECT x."signed_at"
        FROM "am_fact_attestation_log" AS x
        WHERE x."attestation_id" = (
          SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = m."fact_id"
        )
      ) AS BLOB
    )
    ELSE (
      SELECT x."signed_at"
      FROM "am_fact_attestation_log" AS x
      WHERE x."attestation_id" = (
        SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = m."fact_id"
      )
    )
  END
FROM json_each(:fact_ids) AS ids
CROSS JOIN "am_fact_metadata" AS m ON m."fact_id" = ids.value;
