-- ⟨fact_columns_raw⟩
⟨fact_values_raw⟩, (m."fact_id" IS NOT NULL) + 2 * (l."fact_id" IS NOT NULL) + 4 * (⟨text_twin⟩)

-- ⟨fact_values_raw⟩
typeof(f."the ""key""") = 'text',
CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END,
CASE WHEN octet_length(f."source_url") > :longest_source THEN 2 ELSE typeof(f."source_url") = 'text' END,
CASE
  WHEN octet_length(f."source_url") > :longest_source THEN octet_length(f."source_url")
  WHEN typeof(f."source_url") = 'text' THEN CAST(f."source_url" AS BLOB)
  ELSE f."source_url"
END,
NULL, NULL,
CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN 2 ELSE typeof(NULL) = 'text'
END,
CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN octet_length(NULL)
  WHEN typeof(NULL) = 'text' THEN CAST(NULL AS BLOB)
  ELSE NULL
END,
CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN 2 ELSE typeof(NULL) = 'text'
END,
CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN octet_length(NULL)
  WHEN typeof(NULL) = 'text' THEN CAST(NULL AS BLOB)
  ELSE NULL
END

-- ⟨residual⟩
((m."fact_id" IS NULL OR (m."source_doc" IS NULL AND ⟨derivable⟩)) OR ⟨text_twin⟩)

-- ⟨fact_columns⟩
f."the ""key""",
CASE WHEN octet_length(f."source_url") > :longest_source THEN CAST(x'ff' AS TEXT) ELSE f."source_url" END, NULL,
CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN CAST(x'ff' AS TEXT) ELSE NULL
END,
CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN CAST(x'ff' AS TEXT) ELSE NULL
END,
(m."fact_id" IS NOT NULL) + 2 * (l."fact_id" IS NOT NULL) + 4 * (⟨text_twin⟩)

-- ⟨witnessed⟩
"事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
LEFT JOIN "am_fact_attestation_log" AS l
  ON l."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
  AND +l."attestation_id" = (
    SELECT max(x."attestation_id") FROM "am_fact_attestation_log" AS x WHERE x."fact_id" = l."fact_id"
  )

-- ⟨derivable⟩
(
  CASE typeof(f."source_url")
    WHEN 'null' THEN 0
    WHEN 'text' THEN CASE
      WHEN octet_length(f."source_url") > :longest_source THEN 1
      WHEN f."source_url" COLLATE BINARY BETWEEN '!' AND '~' THEN 1
      WHEN f."source_url" GLOB :something_shown THEN 1
      WHEN octet_length(trim(f."source_url")) = 0 THEN 0
      ELSE trim(
        CASE
          WHEN instr(f."source_url", char(0)) THEN replace(
            replace(json_quote(f."source_url"), '\\', 'x'), '\u0000', ' '
          ) ->> '$'
          ELSE f."source_url"
        END,
        :blank
      ) <> ''
    END
    ELSE 1
  END
)

-- ⟨text_twin⟩
(
  typeof(f."the ""key""") = 'text'
  AND EXISTS (
    SELECT 1
    FROM "事実 table" AS g
    WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0
      AND typeof(g."the ""key""") = 'integer'
      AND CAST(g."the ""key""" AS TEXT) = f."the ""key"""
  )
)

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

-- data_version (batch)
PRAGMA data_version;

-- journal_mode (once)
PRAGMA journal_mode;

-- residual_key_first (once)
SELECT typeof(f."the ""key""") = 'text',
  CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END
FROM "事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
WHERE f."the ""key""" IS NOT NULL
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key"""
LIMIT 1 OFFSET :skip;

-- fact_key_first (once)
SELECT typeof(f."the ""key""") = 'text',
  CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END
FROM "事実 table" AS f
WHERE f."the ""key""" IS NOT NULL
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
ORDER BY f."the ""key"""
LIMIT 1 OFFSET :skip;

-- residual_key (once)
SELECT typeof(f."the ""key""") = 'text',
  CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END
FROM "事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key"""
LIMIT 1 OFFSET :skip;

-- fact_key (once)
SELECT typeof(f."the ""key""") = 'text',
  CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END
FROM "事実 table" AS f
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
ORDER BY f."the ""key"""
LIMIT 1 OFFSET :skip;

-- key_before (batch)
SELECT typeof(f."the ""key""") = 'text',
  CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END
FROM "事実 table" AS f
WHERE f."the ""key""" < (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
ORDER BY f."the ""key""" DESC
LIMIT 1;

-- residual_facts (once)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" IS NOT NULL
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key""";

-- residual_facts_after (once)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key""";

-- residual_facts_through (once)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" IS NOT NULL
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND ⟨residual⟩
ORDER BY f."the ""key""";

-- residual_facts_after_through (once)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND ⟨residual⟩
ORDER BY f."the ""key""";

-- any_source (once)
SELECT EXISTS (SELECT 1 FROM "事実 table" AS f WHERE ⟨derivable⟩);

-- created_at_sample (once)
SELECT CASE
  WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN 2 ELSE typeof(NULL) = 'text'
END,
  CASE
    WHEN typeof(NULL) IN ('text', 'blob') AND octet_length(NULL) > :longest_value THEN octet_length(NULL)
    WHEN typeof(NULL) = 'text' THEN CAST(NULL AS BLOB)
    ELSE NULL
  END
FROM "事実 table" AS f
ORDER BY f."the ""key""" DESC
LIMIT 200;

-- oldest_waiting (once)
SELECT min(NULL)
FROM "事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
WHERE CASE
  WHEN octet_length(NULL) > 40 THEN 0
  WHEN :ticks IS NULL THEN NULL GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'
  ELSE typeof(NULL) IN ('integer', 'real')
END
  AND ⟨residual⟩;

-- stale_candidates (once)
SELECT ⟨fact_values_raw⟩, typeof(m."source_doc") = 'text',
  CASE typeof(m."source_doc") WHEN 'text' THEN CAST(m."source_doc" AS BLOB) ELSE m."source_doc" END,
  typeof(m."extracted_at") = 'text',
  CASE typeof(m."extracted_at") WHEN 'text' THEN CAST(m."extracted_at" AS BLOB) ELSE m."extracted_at" END
FROM "事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
WHERE (
  m."source_doc" IS coalesce(f."source_url", NULL)
  AND (
    NULL IS NULL
    OR m."extracted_at" = CASE octet_length(NULL)
      WHEN 19 THEN replace(NULL, ' ', 'T') || '.000Z'
      WHEN 20 THEN replace(replace(NULL, ' ', 'T'), 'Z', '.000Z')
      WHEN 24 THEN replace(NULL, ' ', 'T')
    END
  )
) IS NOT TRUE
  AND m."fact_id" IS NOT NULL
  AND (m."source_doc" IS NOT NULL OR NOT ⟨derivable⟩)
  AND EXISTS (SELECT 1 FROM "am_fact_attestation_log" AS e WHERE e."fact_id" = m."fact_id")
  AND NOT ⟨text_twin⟩;

-- count_facts (once)
SELECT count(*) FROM "事実 table" NOT INDEXED;

-- count_through (once)
SELECT count(*)
FROM "事実 table" AS f
WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value);

-- count_beyond (once)
SELECT count(*)
FROM "事実 table" AS f
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value);

-- count_batch_first (batch)
SELECT count(*)
FROM "事実 table" AS f
WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value);

-- count_batch (batch)
SELECT count(*)
FROM "事実 table" AS f
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value);

-- count_set_aside (once)
SELECT count(*), count(*) FILTER (WHERE typeof(f."the ""key""") <> 'null')
FROM "事実 table" AS f
WHERE (
  typeof(f."the ""key""") = 'null'
  OR (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
);

-- count_residual (once)
SELECT count(*)
FROM "事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
WHERE ⟨residual⟩;

-- top_sources (once)
SELECT "source_doc", count(*)
FROM "am_fact_metadata"
WHERE "source_doc" IS NOT NULL
GROUP BY "source_doc"
ORDER BY count(*) DESC, "source_doc"
LIMIT 10;

-- read_batch_first (batch)
SELECT ⟨fact_columns⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key"""
LIMIT :limit;

-- read_batch_first_raw (batch)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key"""
LIMIT :limit;

-- tally_batch_first (batch)
SELECT count(*), typeof(max(key)) = 'text',
  CASE typeof(max(key)) WHEN 'text' THEN CAST(max(key) AS BLOB) ELSE max(key) END, count(plain_update),
  total(plain_update), count(plain_update) FILTER (WHERE is_timeless),
  group_concat(source, char(10)) FILTER (WHERE plain_update IS NOT NULL),
  group_concat(key, char(10)) FILTER (WHERE plain_update IS NOT NULL)
FROM (
  SELECT key, source, created_at IS NULL AS is_timeless,
    CASE
      WHEN (
        NOT (must_be_read)
        AND (typeof(key) = 'integer' OR (typeof(key) = 'text' AND octet_length(key) <= 1000))
        AND coalesce(source, '!') COLLATE BINARY BETWEEN '!' AND '~'
        AND (
          (
            :ticks IS NULL
            AND (
              created_at IS NULL
              OR (datetime(created_at) = created_at COLLATE BINARY AND created_at >= '0001-01-01' COLLATE BINARY)
              OR (
                typeof(created_at) = 'text'
                AND datetime(substr(created_at, 1, 19)) = replace(substr(created_at, 1, 19), 'T', ' ')
                AND substr(created_at, 1, 19) >= '0001-01-01'
                AND CASE octet_length(created_at)
                  WHEN 19 THEN 1
                  WHEN 20 THEN substr(created_at, 20) = 'Z'
                  WHEN 23 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]'
                  WHEN 24 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]Z'
                  WHEN 25 THEN substr(created_at, 20) = '+00:00'
                  WHEN 26 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
                  WHEN 27 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
                  WHEN 32 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'
                  ELSE 0
                END
              )
            )
          )
          OR (
            :ticks IS NOT NULL
            AND (
              created_at IS NULL
              OR (
                typeof(created_at) IN ('integer', 'text')
                AND CAST(CAST(created_at AS INTEGER) AS TEXT) = CAST(created_at AS TEXT) COLLATE BINARY
                AND CAST(created_at AS INTEGER) BETWEEN 0 AND 253402300799 * :ticks
              )
            )
          )
        )
        AND (confidence IS NULL OR (typeof(confidence) IN ('real', 'integer') AND confidence BETWEEN 0.0 AND 1.0))
      ) THEN has_metadata
    END AS plain_update
  FROM (
    SELECT f."the ""key""" AS key,
      coalesce(CASE WHEN octet_length(f."source_url") > 1000 THEN x'' ELSE f."source_url" END, NULL) AS source,
      CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS created_at,
      CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END AS confidence,
      m."fact_id" IS NOT NULL AS has_metadata, l."fact_id" IS NOT NULL
      OR ⟨text_twin⟩ AS must_be_read
    FROM ⟨witnessed⟩
    WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
      AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
      AND ⟨residual⟩
    ORDER BY f."the ""key"""
    LIMIT :limit
  )
  LIMIT -1
);

-- stage_batch_first (batch, writes)
INSERT INTO temp.am_backfill_staging (
  fact_id, source_doc, extracted_at, confidence_lower, confidence_upper, is_update, is_timeless, key
)
SELECT CAST(CASE WHEN octet_length(key) <= 1000 THEN key END AS TEXT), source,
  CASE
    WHEN created_at IS NULL THEN :default_extracted_at
    WHEN :ticks IS NULL THEN CASE
      WHEN octet_length(created_at) = 19 THEN replace(created_at, ' ', 'T') || '.000Z'
      WHEN substr(created_at, 20, 4) LIKE '.%' THEN replace(substr(created_at, 1, 19), ' ', 'T') || substr(created_at, 20, 4) || 'Z'
      ELSE replace(substr(created_at, 1, 19), ' ', 'T') || '.000Z'
    END
    ELSE strftime(
      '%Y-%m-%dT%H:%M:%S', CAST(created_at AS INTEGER) / :ticks, 'unixepoch'
    ) || format(
      '.%03dZ', CAST(created_at AS INTEGER) % :ticks * (1000 / :ticks)
    )
  END,
  max(0.0, confidence - :confidence_width), min(1.0, confidence + :confidence_width),
  CASE
    WHEN (
      NOT (must_be_read)
      AND (typeof(key) = 'integer' OR (typeof(key) = 'text' AND octet_length(key) <= 1000))
      AND coalesce(source, '!') COLLATE BINARY BETWEEN '!' AND '~'
      AND (
        (
          :ticks IS NULL
          AND (
            created_at IS NULL
            OR (datetime(created_at) = created_at COLLATE BINARY AND created_at >= '0001-01-01' COLLATE BINARY)
            OR (
              typeof(created_at) = 'text'
              AND datetime(substr(created_at, 1, 19)) = replace(substr(created_at, 1, 19), 'T', ' ')
              AND substr(created_at, 1, 19) >= '0001-01-01'
              AND CASE octet_length(created_at)
                WHEN 19 THEN 1
                WHEN 20 THEN substr(created_at, 20) = 'Z'
                WHEN 23 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]'
                WHEN 24 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]Z'
                WHEN 25 THEN substr(created_at, 20) = '+00:00'
                WHEN 26 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
                WHEN 27 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
                WHEN 32 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'
                ELSE 0
              END
            )
          )
        )
        OR (
          :ticks IS NOT NULL
          AND (
            created_at IS NULL
            OR (
              typeof(created_at) IN ('integer', 'text')
              AND CAST(CAST(created_at AS INTEGER) AS TEXT) = CAST(created_at AS TEXT) COLLATE BINARY
              AND CAST(created_at AS INTEGER) BETWEEN 0 AND 253402300799 * :ticks
            )
          )
        )
      )
      AND (confidence IS NULL OR (typeof(confidence) IN ('real', 'integer') AND confidence BETWEEN 0.0 AND 1.0))
    ) THEN has_metadata
  END,
  created_at IS NULL, CASE WHEN octet_length(key) <= 1000 THEN key END
FROM (
  SELECT f."the ""key""" AS key,
    coalesce(CASE WHEN octet_length(f."source_url") > 1000 THEN x'' ELSE f."source_url" END, NULL) AS source,
    CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS created_at,
    CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END AS confidence,
    m."fact_id" IS NOT NULL AS has_metadata, l."fact_id" IS NOT NULL
    OR ⟨text_twin⟩ AS must_be_read
  FROM ⟨witnessed⟩
  WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
    AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
    AND ⟨residual⟩
  ORDER BY f."the ""key"""
  LIMIT :limit
);

-- read_odd_facts_first (batch)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
  AND (
    NOT (l."fact_id" IS NOT NULL OR ⟨text_twin⟩)
    AND (
      typeof(f."the ""key""") = 'integer'
      OR (typeof(f."the ""key""") = 'text' AND octet_length(f."the ""key""") <= 1000)
    )
    AND coalesce(
      coalesce(CASE WHEN octet_length(f."source_url") > 1000 THEN x'' ELSE f."source_url" END, NULL), '!'
    ) COLLATE BINARY BETWEEN '!' AND '~'
    AND (
      (
        :ticks IS NULL
        AND (
          CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END IS NULL
          OR (
            datetime(
              CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END
            ) = CASE
              WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL
            END COLLATE BINARY
            AND CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END >= '0001-01-01' COLLATE BINARY
          )
          OR (
            typeof(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END) = 'text'
            AND datetime(
              substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 1, 19)
            ) = replace(
              substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 1, 19), 'T', ' '
            )
            AND substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 1, 19) >= '0001-01-01'
            AND CASE octet_length(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END)
              WHEN 19 THEN 1
              WHEN 20 THEN substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20) = 'Z'
              WHEN 23 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9]'
              WHEN 24 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9]Z'
              WHEN 25 THEN substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20) = '+00:00'
              WHEN 26 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
              WHEN 27 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
              WHEN 32 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'
              ELSE 0
            END
          )
        )
      )
      OR (
        :ticks IS NOT NULL
        AND (
          CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END IS NULL
          OR (
            typeof(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END) IN ('integer', 'text')
            AND CAST(
              CAST(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS INTEGER) AS TEXT
            ) = CAST(
              CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS TEXT
            ) COLLATE BINARY
            AND CAST(
              CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS INTEGER
            ) BETWEEN 0 AND 253402300799 * :ticks
          )
        )
      )
    )
    AND (
      CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END IS NULL
      OR (
        typeof(
          CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END
        ) IN ('real', 'integer')
        AND CASE typeof(NULL)
          WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL
        END BETWEEN 0.0 AND 1.0
      )
    )
  ) IS NOT TRUE
ORDER BY f."the ""key""";

-- read_batch (batch)
SELECT ⟨fact_columns⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key"""
LIMIT :limit;

-- read_batch_raw (batch)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
ORDER BY f."the ""key"""
LIMIT :limit;

-- tally_batch (batch)
SELECT count(*), typeof(max(key)) = 'text',
  CASE typeof(max(key)) WHEN 'text' THEN CAST(max(key) AS BLOB) ELSE max(key) END, count(plain_update),
  total(plain_update), count(plain_update) FILTER (WHERE is_timeless),
  group_concat(source, char(10)) FILTER (WHERE plain_update IS NOT NULL),
  group_concat(key, char(10)) FILTER (WHERE plain_update IS NOT NULL)
FROM (
  SELECT key, source, created_at IS NULL AS is_timeless,
    CASE
      WHEN (
        NOT (must_be_read)
        AND (typeof(key) = 'integer' OR (typeof(key) = 'text' AND octet_length(key) <= 1000))
        AND coalesce(source, '!') COLLATE BINARY BETWEEN '!' AND '~'
        AND (
          (
            :ticks IS NULL
            AND (
              created_at IS NULL
              OR (datetime(created_at) = created_at COLLATE BINARY AND created_at >= '0001-01-01' COLLATE BINARY)
              OR (
                typeof(created_at) = 'text'
                AND datetime(substr(created_at, 1, 19)) = replace(substr(created_at, 1, 19), 'T', ' ')
                AND substr(created_at, 1, 19) >= '0001-01-01'
                AND CASE octet_length(created_at)
                  WHEN 19 THEN 1
                  WHEN 20 THEN substr(created_at, 20) = 'Z'
                  WHEN 23 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]'
                  WHEN 24 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]Z'
                  WHEN 25 THEN substr(created_at, 20) = '+00:00'
                  WHEN 26 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
                  WHEN 27 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
                  WHEN 32 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'
                  ELSE 0
                END
              )
            )
          )
          OR (
            :ticks IS NOT NULL
            AND (
              created_at IS NULL
              OR (
                typeof(created_at) IN ('integer', 'text')
                AND CAST(CAST(created_at AS INTEGER) AS TEXT) = CAST(created_at AS TEXT) COLLATE BINARY
                AND CAST(created_at AS INTEGER) BETWEEN 0 AND 253402300799 * :ticks
              )
            )
          )
        )
        AND (confidence IS NULL OR (typeof(confidence) IN ('real', 'integer') AND confidence BETWEEN 0.0 AND 1.0))
      ) THEN has_metadata
    END AS plain_update
  FROM (
    SELECT f."the ""key""" AS key,
      coalesce(CASE WHEN octet_length(f."source_url") > 1000 THEN x'' ELSE f."source_url" END, NULL) AS source,
      CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS created_at,
      CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END AS confidence,
      m."fact_id" IS NOT NULL AS has_metadata, l."fact_id" IS NOT NULL
      OR ⟨text_twin⟩ AS must_be_read
    FROM ⟨witnessed⟩
    WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
      AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
      AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
      AND ⟨residual⟩
    ORDER BY f."the ""key"""
    LIMIT :limit
  )
  LIMIT -1
);

-- stage_batch (batch, writes)
INSERT INTO temp.am_backfill_staging (
  fact_id, source_doc, extracted_at, confidence_lower, confidence_upper, is_update, is_timeless, key
)
SELECT CAST(CASE WHEN octet_length(key) <= 1000 THEN key END AS TEXT), source,
  CASE
    WHEN created_at IS NULL THEN :default_extracted_at
    WHEN :ticks IS NULL THEN CASE
      WHEN octet_length(created_at) = 19 THEN replace(created_at, ' ', 'T') || '.000Z'
      WHEN substr(created_at, 20, 4) LIKE '.%' THEN replace(substr(created_at, 1, 19), ' ', 'T') || substr(created_at, 20, 4) || 'Z'
      ELSE replace(substr(created_at, 1, 19), ' ', 'T') || '.000Z'
    END
    ELSE strftime(
      '%Y-%m-%dT%H:%M:%S', CAST(created_at AS INTEGER) / :ticks, 'unixepoch'
    ) || format(
      '.%03dZ', CAST(created_at AS INTEGER) % :ticks * (1000 / :ticks)
    )
  END,
  max(0.0, confidence - :confidence_width), min(1.0, confidence + :confidence_width),
  CASE
    WHEN (
      NOT (must_be_read)
      AND (typeof(key) = 'integer' OR (typeof(key) = 'text' AND octet_length(key) <= 1000))
      AND coalesce(source, '!') COLLATE BINARY BETWEEN '!' AND '~'
      AND (
        (
          :ticks IS NULL
          AND (
            created_at IS NULL
            OR (datetime(created_at) = created_at COLLATE BINARY AND created_at >= '0001-01-01' COLLATE BINARY)
            OR (
              typeof(created_at) = 'text'
              AND datetime(substr(created_at, 1, 19)) = replace(substr(created_at, 1, 19), 'T', ' ')
              AND substr(created_at, 1, 19) >= '0001-01-01'
              AND CASE octet_length(created_at)
                WHEN 19 THEN 1
                WHEN 20 THEN substr(created_at, 20) = 'Z'
                WHEN 23 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]'
                WHEN 24 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]Z'
                WHEN 25 THEN substr(created_at, 20) = '+00:00'
                WHEN 26 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
                WHEN 27 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
                WHEN 32 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'
                ELSE 0
              END
            )
          )
        )
        OR (
          :ticks IS NOT NULL
          AND (
            created_at IS NULL
            OR (
              typeof(created_at) IN ('integer', 'text')
              AND CAST(CAST(created_at AS INTEGER) AS TEXT) = CAST(created_at AS TEXT) COLLATE BINARY
              AND CAST(created_at AS INTEGER) BETWEEN 0 AND 253402300799 * :ticks
            )
          )
        )
      )
      AND (confidence IS NULL OR (typeof(confidence) IN ('real', 'integer') AND confidence BETWEEN 0.0 AND 1.0))
    ) THEN has_metadata
  END,
  created_at IS NULL, CASE WHEN octet_length(key) <= 1000 THEN key END
FROM (
  SELECT f."the ""key""" AS key,
    coalesce(CASE WHEN octet_length(f."source_url") > 1000 THEN x'' ELSE f."source_url" END, NULL) AS source,
    CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS created_at,
    CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END AS confidence,
    m."fact_id" IS NOT NULL AS has_metadata, l."fact_id" IS NOT NULL
    OR ⟨text_twin⟩ AS must_be_read
  FROM ⟨witnessed⟩
  WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
    AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
    AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
    AND ⟨residual⟩
  ORDER BY f."the ""key"""
  LIMIT :limit
);

-- read_odd_facts (batch)
SELECT ⟨fact_columns_raw⟩
FROM ⟨witnessed⟩
WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END)
  AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END)
  AND NOT (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
  AND ⟨residual⟩
  AND (
    NOT (l."fact_id" IS NOT NULL OR ⟨text_twin⟩)
    AND (
      typeof(f."the ""key""") = 'integer'
      OR (typeof(f."the ""key""") = 'text' AND octet_length(f."the ""key""") <= 1000)
    )
    AND coalesce(
      coalesce(CASE WHEN octet_length(f."source_url") > 1000 THEN x'' ELSE f."source_url" END, NULL), '!'
    ) COLLATE BINARY BETWEEN '!' AND '~'
    AND (
      (
        :ticks IS NULL
        AND (
          CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END IS NULL
          OR (
            datetime(
              CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END
            ) = CASE
              WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL
            END COLLATE BINARY
            AND CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END >= '0001-01-01' COLLATE BINARY
          )
          OR (
            typeof(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END) = 'text'
            AND datetime(
              substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 1, 19)
            ) = replace(
              substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 1, 19), 'T', ' '
            )
            AND substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 1, 19) >= '0001-01-01'
            AND CASE octet_length(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END)
              WHEN 19 THEN 1
              WHEN 20 THEN substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20) = 'Z'
              WHEN 23 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9]'
              WHEN 24 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9]Z'
              WHEN 25 THEN substr(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20) = '+00:00'
              WHEN 26 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'
              WHEN 27 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z'
              WHEN 32 THEN substr(
                CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END, 20
              ) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00'
              ELSE 0
            END
          )
        )
      )
      OR (
        :ticks IS NOT NULL
        AND (
          CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END IS NULL
          OR (
            typeof(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END) IN ('integer', 'text')
            AND CAST(
              CAST(CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS INTEGER) AS TEXT
            ) = CAST(
              CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS TEXT
            ) COLLATE BINARY
            AND CAST(
              CASE WHEN octet_length(NULL) > 1000 THEN x'' ELSE NULL END AS INTEGER
            ) BETWEEN 0 AND 253402300799 * :ticks
          )
        )
      )
    )
    AND (
      CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END IS NULL
      OR (
        typeof(
          CASE typeof(NULL) WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL END
        ) IN ('real', 'integer')
        AND CASE typeof(NULL)
          WHEN 'real' THEN NULL WHEN 'text' THEN x'' WHEN 'blob' THEN x'' ELSE NULL
        END BETWEEN 0.0 AND 1.0
      )
    )
  ) IS NOT TRUE
ORDER BY f."the ""key""";

-- latest_attestation (batch)
SELECT max(l."attestation_id") FROM "am_fact_attestation_log" AS l WHERE l."fact_id" = :fact_id;

-- attested_metadata (batch)
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
  CASE
    WHEN m."ed25519_sig" = zeroblob(64) THEN EXISTS (
      SELECT 1
      FROM "am_fact_attestation_log" AS e
      WHERE e."fact_id" = m."fact_id" AND e."signature_hex" IS NOT hex(zeroblob(64))
    )
  END
FROM "am_fact_metadata" AS m
LEFT JOIN "am_fact_attestation_log" AS l
  ON l."attestation_id" = (
    SELECT max(x."attestation_id") FROM "am_fact_attestation_log" AS x WHERE x."fact_id" = m."fact_id"
  )
WHERE m."fact_id" = :fact_id;

-- old_metadata (batch)
SELECT m."source_doc", m."extracted_at", m."verified_by", m."confidence_lower", m."confidence_upper"
FROM "am_fact_metadata" AS m
WHERE m."fact_id" = :fact_id;

-- read_run (chunk)
SELECT plan_id, plan, started_at, finished_at, attester, key_id FROM "am_backfill_run" WHERE run_id = :run_id;

-- open_run (chunk, writes)
INSERT INTO "am_backfill_run" (run_id, plan_id, plan, kind, state, started_at, attester, key_id, host, pid)
VALUES (:run_id, :plan_id, :plan, :kind, 'running', :now, :attester, :key_id, :host, :pid)
ON CONFLICT (run_id)
DO NOTHING;

-- finish_run (chunk, writes)
UPDATE "am_backfill_run"
SET finished_at = :now, state = 'done', stop_reason = :stop_reason, remaining = :remaining
WHERE run_id = :run_id AND finished_at IS NULL;

-- stop_run (chunk, writes)
UPDATE "am_backfill_run"
SET state = 'stopped', stop_reason = :stop_reason
WHERE run_id = :run_id AND finished_at IS NULL;

-- last_budgeted_run (once)
SELECT finished_at, remaining
FROM "am_backfill_run"
WHERE finished_at IS NOT NULL
  AND remaining IS NOT NULL
  AND run_id <> :run_id
  AND CASE WHEN json_valid(plan) THEN plan ->> '$.max_rows' END IS NOT NULL
ORDER BY rowid DESC
LIMIT 1;

-- last_budgeted_key (once)
SELECT typeof(cursor) = 'text', CASE typeof(cursor) WHEN 'text' THEN CAST(cursor AS BLOB) ELSE cursor END
FROM "am_backfill_chunk"
WHERE cursor IS NOT NULL
  AND run_id = (
    SELECT run_id
    FROM "am_backfill_run"
    WHERE CASE WHEN json_valid(plan) THEN plan ->> '$.max_rows' END IS NOT NULL
    ORDER BY rowid DESC
    LIMIT 1
  )
ORDER BY state = 'done', CASE state WHEN 'done' THEN -chunk ELSE chunk END
LIMIT 1;

-- read_chunk (batch)
SELECT chunk, plan_id, typeof(after_key) = 'text',
  CASE typeof(after_key) WHEN 'text' THEN CAST(after_key AS BLOB) ELSE after_key END, typeof(through_key) = 'text',
  CASE typeof(through_key) WHEN 'text' THEN CAST(through_key AS BLOB) ELSE through_key END, typeof(cursor) = 'text',
  CASE typeof(cursor) WHEN 'text' THEN CAST(cursor AS BLOB) ELSE cursor END, eligible, inserted, updated, unchanged,
  rejected, signed, placeholder, created_at_missing, confidence_not_numeric, state, attempts, host, pid, started_at,
  finished_at, seconds
FROM "am_backfill_chunk"
WHERE run_id = :run_id AND chunk = :chunk;

-- read_chunks (chunk)
SELECT chunk, plan_id, typeof(after_key) = 'text',
  CASE typeof(after_key) WHEN 'text' THEN CAST(after_key AS BLOB) ELSE after_key END, typeof(through_key) = 'text',
  CASE typeof(through_key) WHEN 'text' THEN CAST(through_key AS BLOB) ELSE through_key END, typeof(cursor) = 'text',
  CASE typeof(cursor) WHEN 'text' THEN CAST(cursor AS BLOB) ELSE cursor END, eligible, inserted, updated, unchanged,
  rejected, signed, placeholder, created_at_missing, confidence_not_numeric, state, attempts, host, pid, started_at,
  finished_at, seconds
FROM "am_backfill_chunk"
WHERE run_id = :run_id
ORDER BY chunk;

-- settled_by (batch)
SELECT total(inserted + updated), total(rejected) FROM "am_backfill_chunk" WHERE run_id = :run_id;

-- claim_chunk (chunk, writes)
INSERT INTO "am_backfill_chunk" (
  run_id, chunk, plan_id, after_key, through_key, cursor, state, attempts, host, pid, started_at, updated_at
)
VALUES (
  :run_id, :chunk, :plan_id, (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END),
  (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END),
  (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END), 'running', 1, :host, :pid, :now, :now
)
ON CONFLICT (run_id, chunk)
DO UPDATE SET attempts = attempts + 1, host = excluded.host, pid = excluded.pid, updated_at = excluded.updated_at
WHERE state = 'running' AND plan_id = excluded.plan_id;

-- advance_chunk (batch, writes)
UPDATE "am_backfill_chunk"
SET cursor = (CASE WHEN :cursor_is_text THEN CAST(:cursor AS TEXT) ELSE :cursor END),
  eligible = eligible + :eligible, inserted = inserted + :inserted, updated = updated + :updated,
  unchanged = unchanged + :unchanged, rejected = rejected + :rejected, signed = signed + :signed,
  placeholder = placeholder + :placeholder, created_at_missing = created_at_missing + :created_at_missing,
  confidence_not_numeric = confidence_not_numeric + :confidence_not_numeric, state = :state, updated_at = :now,
  finished_at = CASE :state WHEN 'done' THEN :now END, seconds = seconds + :seconds
WHERE run_id = :run_id
  AND chunk = :chunk
  AND plan_id = :plan_id
  AND state = 'running'
  AND cursor IS (CASE WHEN :expected_is_text THEN CAST(:expected AS TEXT) ELSE :expected END);

-- note_failure (chunk, writes)
UPDATE "am_backfill_chunk"
SET last_error = :error, updated_at = :now
WHERE run_id = :run_id AND chunk = :chunk AND state = 'running';

-- append_ledger_batch (batch, writes)
INSERT INTO "am_backfill_batch" (
  run_id, chunk, batch, after_key, through_key, eligible, inserted, updated, unchanged, rejected, signed, placeholder,
  first_attestation_id, last_attestation_id, key_id, content, host, pid, began_at, committed_at, reading_seconds,
  deriving_seconds, signing_seconds, waiting_seconds, locked_seconds
)
VALUES (
  :run_id, :chunk,
  (SELECT coalesce(max(batch), 0) + 1 FROM "am_backfill_batch" WHERE run_id = :run_id AND chunk = :chunk),
  (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END),
  (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END), :eligible, :inserted, :updated,
  :unchanged, :rejected, :signed, :placeholder, :first_attestation_id, :last_attestation_id, :key_id, :content,
  :host, :pid, :began_at, :committed_at, :reading_seconds, :deriving_seconds, :signing_seconds, :waiting_seconds,
  :locked_seconds
);

-- read_ledger_batches (chunk)
SELECT chunk, typeof(after_key) = 'text',
  CASE typeof(after_key) WHEN 'text' THEN CAST(after_key AS BLOB) ELSE after_key END, typeof(through_key) = 'text',
  CASE typeof(through_key) WHEN 'text' THEN CAST(through_key AS BLOB) ELSE through_key END, eligible, inserted,
  updated, unchanged, rejected, signed, placeholder, first_attestation_id, last_attestation_id, key_id, content
FROM "am_backfill_batch"
WHERE run_id = :run_id
ORDER BY chunk, batch;

-- read_ledger_batches_of_chunk (chunk)
SELECT chunk, typeof(after_key) = 'text',
  CASE typeof(after_key) WHEN 'text' THEN CAST(after_key AS BLOB) ELSE after_key END, typeof(through_key) = 'text',
  CASE typeof(through_key) WHEN 'text' THEN CAST(through_key AS BLOB) ELSE through_key END, eligible, inserted,
  updated, unchanged, rejected, signed, placeholder, first_attestation_id, last_attestation_id, key_id, content
FROM "am_backfill_batch"
WHERE run_id = :run_id AND chunk = :chunk
ORDER BY batch;

-- count_log_rows (batch)
SELECT count(*) FROM "am_fact_attestation_log" WHERE "attestation_id" BETWEEN :first AND :last;

-- count_log_rows_of (batch)
SELECT count(*)
FROM "am_fact_attestation_log"
WHERE "attester" = :attester AND "attestation_id" BETWEEN :first AND :last;

-- clear_staging (batch, writes)
DELETE FROM temp.am_backfill_staging;

-- stage_row (batch, writes)
INSERT INTO temp.am_backfill_staging (
  fact_id, source_doc, extracted_at, confidence_lower, confidence_upper, ed25519_sig, signature_hex, is_update
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- stage_superseding_row (batch, writes)
INSERT INTO temp.am_backfill_staging (
  fact_id, source_doc, extracted_at, confidence_lower, confidence_upper, ed25519_sig, signature_hex, is_update,
  supersedes, notes
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- look_at_staging (batch)
SELECT count(*), typeof((SELECT key FROM temp.am_backfill_staging ORDER BY rowid DESC LIMIT 1)) = 'text',
  CASE typeof((SELECT key FROM temp.am_backfill_staging ORDER BY rowid DESC LIMIT 1))
    WHEN 'text' THEN CAST((SELECT key FROM temp.am_backfill_staging ORDER BY rowid DESC LIMIT 1) AS BLOB)
    ELSE (SELECT key FROM temp.am_backfill_staging ORDER BY rowid DESC LIMIT 1)
  END,
  count(is_update), total(is_update), count(is_update) FILTER (WHERE is_timeless),
  group_concat(source_doc, char(10)) FILTER (WHERE is_update IS NOT NULL),
  group_concat(fact_id, char(10)) FILTER (WHERE is_update IS NOT NULL)
FROM temp.am_backfill_staging;

-- drop_odd_rows (batch, writes)
DELETE FROM temp.am_backfill_staging WHERE is_update IS NULL;

-- was_attested_since (batch)
SELECT 1
FROM temp.am_backfill_staging AS b
CROSS JOIN "am_fact_attestation_log" AS l ON l."fact_id" = b.fact_id
WHERE b.supersedes IS NULL OR l."attestation_id" > b.supersedes
LIMIT 1;

-- insert_metadata (batch, writes)
INSERT INTO "am_fact_metadata" (
  "fact_id", "source_doc", "extracted_at", "verified_by", "confidence_lower", "confidence_upper", "ed25519_sig"
)
SELECT b.fact_id, b.source_doc, b.extracted_at, :attester, b.confidence_lower, b.confidence_upper,
  coalesce(b.ed25519_sig, zeroblob(64))
FROM temp.am_backfill_staging AS b
WHERE b.is_update = 0
ORDER BY b.rowid
ON CONFLICT ("fact_id")
DO NOTHING;

-- update_metadata (batch, writes)
UPDATE "am_fact_metadata" AS m
SET "source_doc" = b.source_doc, "extracted_at" = b.extracted_at, "verified_by" = :attester,
  "confidence_lower" = b.confidence_lower, "confidence_upper" = b.confidence_upper,
  "ed25519_sig" = coalesce(b.ed25519_sig, zeroblob(64))
FROM temp.am_backfill_staging AS b
WHERE b.is_update = 1 AND m."fact_id" = b.fact_id AND m."source_doc" IS NULL;

-- append_log (batch, writes)
INSERT INTO "am_fact_attestation_log" ("fact_id", "attester", "signature_hex", "notes")
SELECT b.fact_id, :attester,
  coalesce(
    b.signature_hex,
    '00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000'
  ),
  b.notes
FROM temp.am_backfill_staging AS b
ORDER BY b.rowid;

-- reject_fact (batch, writes)
INSERT INTO "am_backfill_reject" (run_id, chunk, fact_id, reason, detail, rejected_at)
VALUES (:run_id, :chunk, :fact_id, :reason, :detail, :now);

-- reject_set_aside (once, writes)
INSERT INTO "am_backfill_reject" (run_id, chunk, fact_id, reason, detail, rejected_at)
SELECT :run_id, :chunk,
  CASE typeof(f."the ""key""")
    WHEN 'null' THEN 'NULL' ELSE '(a key of ' || octet_length(f."the ""key""") || ' bytes)'
  END,
  CASE typeof(f."the ""key""") WHEN 'null' THEN :no_key ELSE :too_long END,
  CASE typeof(f."the ""key""")
    WHEN 'null' THEN :no_key_detail
    ELSE 'key: ' || octet_length(f."the ""key""") || ' bytes, at most ' || :longest_value
  END,
  :now
FROM "事実 table" AS f
WHERE (
  typeof(f."the ""key""") = 'null'
  OR (typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value)
);

-- was_rejected (once)
SELECT 1 FROM "am_backfill_reject" WHERE fact_id = :fact_id AND reason = :reason LIMIT 1;

-- was_rejected_by (once)
SELECT 1 FROM "am_backfill_reject" WHERE fact_id = :fact_id AND (:run_id IS NULL OR run_id = :run_id) LIMIT 1;

-- count_rejects (once)
SELECT chunk, count(*) FROM "am_backfill_reject" WHERE run_id = :run_id GROUP BY chunk;

-- reject_reasons (once)
SELECT reason, count(*) FROM "am_backfill_reject" WHERE run_id = :run_id GROUP BY reason ORDER BY reason;

-- reject_sample (once)
SELECT fact_id, reason, detail, chunk FROM "am_backfill_reject" WHERE run_id = :run_id ORDER BY reject_id LIMIT 20;

-- count_new_rejects (batch)
SELECT count(*)
FROM "am_backfill_reject" AS r
WHERE r.run_id = :run_id
  AND NOT EXISTS (
    SELECT 1
    FROM "am_backfill_reject" AS e
    WHERE e.fact_id = r.fact_id AND e.reason = r.reason AND e.reject_id < r.reject_id
  );

-- count_rejected_residual (once)
SELECT count(*)
FROM (SELECT DISTINCT fact_id FROM "am_backfill_reject" WHERE run_id = :run_id) AS r
CROSS JOIN "事実 table" AS f
LEFT JOIN "am_fact_metadata" AS m
  ON m."fact_id" = CASE
    WHEN typeof(f."the ""key""") IN ('integer', 'text')
      AND NOT (
        typeof(f."the ""key""") <> 'integer' AND octet_length(f."the ""key""") > :longest_value
      ) THEN CAST(f."the ""key""" AS TEXT)
  END
WHERE f."the ""key""" IN (r.fact_id, CAST(r.fact_id AS INTEGER))
  AND typeof(f."the ""key""") IN ('integer', 'text')
  AND CAST(f."the ""key""" AS TEXT) = r.fact_id
  AND ⟨residual⟩;

-- count_rejected_set_aside (once)
SELECT count(*)
FROM "am_backfill_reject"
WHERE run_id = :run_id
  AND ((fact_id = 'NULL' AND detail = :no_key_detail) OR (fact_id GLOB '(a key of * bytes)' AND reason = :too_long));
