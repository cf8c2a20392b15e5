-- ⟨residual⟩
((m."fact_id" IS NULL OR (m."source_doc" IS NULL AND ⟨derivable⟩)) OR ⟨stale⟩)

-- ⟨stale⟩
(
  (
    m."source_doc" IS coalesce(
      f."source_url", (SELECT s."source_url" FROM "am_source" AS s WHERE s."id" = f."source_id")
    )
    AND (
      f."created_at" IS NULL
      OR m."extracted_at" = CASE octet_length(f."created_at")
        WHEN 19 THEN replace(f."created_at", ' ', 'T') || '.000Z'
        WHEN 20 THEN replace(replace(f."created_at", ' ', 'T'), 'Z', '.000Z')
        WHEN 24 THEN replace(f."created_at", ' ', 'T')
      END
    )
  ) IS NOT TRUE
  AND EXISTS (SELECT 1 FROM "am_fact_attestation_log" AS e WHERE e."fact_id" = m."fact_id")
  AND fact_is_stale(
    ⟨fact_values_raw⟩, typeof(m."source_doc") = 'text',
    CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
    typeof(m."extracted_at") = 'text',
    CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END
  )
)

-- ⟨fact_columns_raw⟩
⟨fact_values_raw⟩,
(m."fact_id" IS NOT NULL) + 2 * (l."fact_id" IS NOT NULL) + 8 * (m."fact_id" IS NOT NULL AND l."fact_id" IS NOT NULL)

-- ⟨fact_columns⟩
f."id", CASE WHEN octet_length(f."source_url") > :longest_source THEN CAST(x'ff' AS TEXT) ELSE f."source_url" END,
(
  SELECT CASE WHEN octet_length(s."source_url") > :longest_source THEN CAST(x'ff' AS TEXT) ELSE s."source_url" END
  FROM "am_source" AS s
  WHERE s."id" = f."source_id"
),
CASE
  WHEN typeof(f."created_at") IN ('text', 'blob')
    AND octet_length(f."created_at") > :longest_value THEN CAST(x'ff' AS TEXT)
  ELSE f."created_at"
END,
CASE
  WHEN typeof(f."confidence") IN ('text', 'blob')
    AND octet_length(f."confidence") > :longest_value THEN CAST(x'ff' AS TEXT)
  ELSE f."confidence"
END,
(m."fact_id" IS NOT NULL) + 2 * (l."fact_id" IS NOT NULL) + 8 * (m."fact_id" IS NOT NULL AND l."fact_id" IS NOT NULL)

-- count_unchanged (once)
SELECT count(*)
FROM "am_fact_metadata" AS m NOT INDEXED
CROSS JOIN "am_entity_facts" AS f
WHERE f."id" = CAST(m."fact_id" AS INTEGER)
  AND CAST(f."id" AS TEXT) = m."fact_id"
  AND (m."source_doc" IS NOT NULL OR NOT ⟨derivable⟩)
  AND NOT ⟨stale⟩;

-- count_unchanged_between (once)
SELECT count(*)
FROM "am_fact_metadata" AS m NOT INDEXED
CROSS JOIN "am_entity_facts" AS f
WHERE f."id" = CAST(m."fact_id" AS INTEGER)
  AND CAST(f."id" AS TEXT) = m."fact_id"
  AND (m."source_doc" IS NOT NULL OR NOT ⟨derivable⟩)
  AND NOT ⟨stale⟩
  AND m.rowid BETWEEN :first AND :last;

-- update_metadata (batch, writes)
UPDATE "am_fact_metadata" AS m
SET "source_doc" = b.source_doc, "extracted_at" = b.extracted_at, "verified_by" = :attester,
  "confidence_lower" = b.confidence_lower, "confidence_upper" = b.confidence_upper,
  "ed25519_sig" = coalesce(b.ed25519_sig, zeroblob(64)), "updated_at" = :now
FROM temp.am_backfill_staging AS b
WHERE b.is_update = 1 AND m."fact_id" = b.fact_id AND (b.supersedes IS NOT NULL OR m."source_doc" IS NULL);
