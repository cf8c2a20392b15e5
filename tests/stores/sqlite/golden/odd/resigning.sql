-- ⟨joined⟩
"provenance ""of"" 事実" AS m
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

-- pending_keys (once)
SELECT typeof(m."fact_id") = 'text',
  CASE typeof(m."fact_id") WHEN 'text' THEN CAST(m."fact_id" AS BLOB) ELSE m."fact_id" END
FROM "provenance ""of"" 事実" AS m
WHERE m."fact_id" IS NOT NULL
  AND (
    m."ed25519_sig" = zeroblob(64)
    OR (
      :revoked <> ''
      AND typeof(m."ed25519_sig") = 'blob'
      AND length(m."ed25519_sig") = 80
      AND instr(:revoked, hex(substr(m."ed25519_sig", 73))) > 0
    )
  )
ORDER BY m."fact_id";

-- count_pending (once)
SELECT count(*)
FROM "provenance ""of"" 事実" AS m
WHERE (
  m."ed25519_sig" = zeroblob(64)
  OR (
    :revoked <> ''
    AND typeof(m."ed25519_sig") = 'blob'
    AND length(m."ed25519_sig") = 80
    AND instr(:revoked, hex(substr(m."ed25519_sig", 73))) > 0
  )
);

-- read_pending_first (batch)
SELECT ⟨attested⟩, NULL, l."attester", NULL, ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND (
    m."ed25519_sig" = zeroblob(64)
    OR (
      :revoked <> ''
      AND typeof(m."ed25519_sig") = 'blob'
      AND length(m."ed25519_sig") = 80
      AND instr(:revoked, hex(substr(m."ed25519_sig", 73))) > 0
    )
  )
ORDER BY m."fact_id"
LIMIT :limit;

-- read_pending (batch)
SELECT ⟨attested⟩, NULL, l."attester", NULL, ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND (
    m."ed25519_sig" = zeroblob(64)
    OR (
      :revoked <> ''
      AND typeof(m."ed25519_sig") = 'blob'
      AND length(m."ed25519_sig") = 80
      AND instr(:revoked, hex(substr(m."ed25519_sig", 73))) > 0
    )
  )
ORDER BY m."fact_id"
LIMIT :limit;

-- read_pending_first_raw (batch)
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
  typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END,
  typeof(l."attester") = 'text',
  CASE typeof(l."attester") WHEN 'text' THEN CAST(l."attester" AS BLOB) ELSE l."attester" END, typeof(NULL) = 'text',
  CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND (
    m."ed25519_sig" = zeroblob(64)
    OR (
      :revoked <> ''
      AND typeof(m."ed25519_sig") = 'blob'
      AND length(m."ed25519_sig") = 80
      AND instr(:revoked, hex(substr(m."ed25519_sig", 73))) > 0
    )
  )
ORDER BY m."fact_id"
LIMIT :limit;

-- read_pending_raw (batch)
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
  typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END,
  typeof(l."attester") = 'text',
  CASE typeof(l."attester") WHEN 'text' THEN CAST(l."attester" AS BLOB) ELSE l."attester" END, typeof(NULL) = 'text',
  CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, ⟨ever_signed⟩
FROM ⟨joined⟩
WHERE m."fact_id" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND m."fact_id" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND (
    m."ed25519_sig" = zeroblob(64)
    OR (
      :revoked <> ''
      AND typeof(m."ed25519_sig") = 'blob'
      AND length(m."ed25519_sig") = 80
      AND instr(:revoked, hex(substr(m."ed25519_sig", 73))) > 0
    )
  )
ORDER BY m."fact_id"
LIMIT :limit;

-- fact_of_key (batch)
SELECT typeof(f."id") = 'text', CASE typeof(f."id") WHEN 'text' THEN CAST(f."id" AS BLOB) ELSE f."id" END,
  CASE WHEN octet_length(f."source_url") > :longest_source THEN 2 ELSE typeof(f."source_url") = 'text' END,
  CASE
    WHEN octet_length(f."source_url") > :longest_source THEN octet_length(f."source_url")
    WHEN typeof(f."source_url") = 'text' THEN CAST(f."source_url" AS BLOB)
    ELSE f."source_url"
  END,
  (
    SELECT CASE WHEN octet_length(s."source_url") > :longest_source THEN 2 ELSE typeof(s."source_url") = 'text' END
    FROM "am_source" AS s
    WHERE s."id" = f."source_id"
  ),
  (
    SELECT CASE
      WHEN octet_length(s."source_url") > :longest_source THEN octet_length(s."source_url")
      WHEN typeof(s."source_url") = 'text' THEN CAST(s."source_url" AS BLOB)
      ELSE s."source_url"
    END
    FROM "am_source" AS s
    WHERE s."id" = f."source_id"
  ),
  CASE
    WHEN typeof(f."created_at") IN ('text', 'blob') AND octet_length(f."created_at") > :longest_value THEN 2
    ELSE typeof(f."created_at") = 'text'
  END,
  CASE
    WHEN typeof(f."created_at") IN ('text', 'blob')
      AND octet_length(f."created_at") > :longest_value THEN octet_length(f."created_at")
    WHEN typeof(f."created_at") = 'text' THEN CAST(f."created_at" AS BLOB)
    ELSE f."created_at"
  END,
  CASE
    WHEN typeof(f."confidence") IN ('text', 'blob') AND octet_length(f."confidence") > :longest_value THEN 2
    ELSE typeof(f."confidence") = 'text'
  END,
  CASE
    WHEN typeof(f."confidence") IN ('text', 'blob')
      AND octet_length(f."confidence") > :longest_value THEN octet_length(f."confidence")
    WHEN typeof(f."confidence") = 'text' THEN CAST(f."confidence" AS BLOB)
    ELSE f."confidence"
  END,
  1
FROM "am_entity_facts" AS f
WHERE f."id" = :key
LIMIT 1;

-- sign_row (batch, writes)
UPDATE "provenance ""of"" 事実" AS m
SET "ed25519_sig" = :ed25519_sig
WHERE m."fact_id" = :fact_id
  AND m."ed25519_sig" = :replaced
  AND m."source_doc" IS :source_doc
  AND m."extracted_at" IS :extracted_at
  AND m."verified_by" IS :verified_by
  AND m."confidence_lower" IS :confidence_lower
  AND m."confidence_upper" IS :confidence_upper
  AND (
    SELECT max(x."attestation_id") FROM "am_fact_attestation_log" AS x WHERE x."fact_id" = m."fact_id"
  ) = :superseded;

-- append_signature (batch, writes)
INSERT INTO "am_fact_attestation_log" ("fact_id", "attester", "signature_hex")
VALUES (:fact_id, :verified_by, :signature_hex);
