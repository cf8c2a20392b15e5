-- schema_version (batch)
PRAGMA schema_version;

-- journal_mode (once)
PRAGMA journal_mode;

-- commit_lazily (batch, writes)
PRAGMA synchronous = NORMAL;

-- commit_durably (batch, writes)
PRAGMA synchronous = EXTRA;

-- data_version (once)
PRAGMA data_version;

-- begin_read (batch)
BEGIN;

-- begin_write (batch, writes)
BEGIN IMMEDIATE;

-- commit (batch)
COMMIT;

-- rollback (batch)
ROLLBACK;

-- residual_key_first (once)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" IS NOT NULL AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT 1 OFFSET :skip;

-- residual_key (once)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT 1 OFFSET :skip;

-- fact_key_first (once)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END FROM "事実 table" AS f WHERE f."the ""key""" IS NOT NULL ORDER BY f."the ""key""" LIMIT 1 OFFSET :skip;

-- fact_key (once)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END FROM "事実 table" AS f WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) ORDER BY f."the ""key""" LIMIT 1 OFFSET :skip;

-- residual_facts (once)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END, typeof(f."source_url") = 'text', CASE typeof(f."source_url") WHEN 'text' THEN CAST(f."source_url" AS BLOB) ELSE f."source_url" END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" IS NOT NULL AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""";

-- was_rejected (once)
SELECT 1 FROM "am_backfill_reject" WHERE fact_id = :fact_id AND reason = :reason LIMIT 1;

-- count_null_keys (once)
SELECT count(*) FROM "事実 table" AS f WHERE f."the ""key""" IS NULL;

-- count_facts (once)
SELECT count(*) FROM "事実 table";

-- key_before (batch)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END FROM "事実 table" AS f WHERE f."the ""key""" < (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) ORDER BY f."the ""key""" DESC LIMIT 1;

-- count_through (once)
SELECT count(*) FROM "事実 table" AS f WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END);

-- count_beyond (once)
SELECT count(*) FROM "事実 table" AS f WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END);

-- tally_batch_first (batch)
SELECT count(*), typeof(max(key)) = 'text', CASE typeof(max(key)) WHEN 'text' THEN CAST(max(key) AS BLOB) ELSE max(key) END, count(plain_update), total(plain_update), count(plain_update) FILTER (WHERE is_timeless), group_concat(source, char(10)), group_concat(key, char(10)) FROM (SELECT key, source, created_at IS NULL AS is_timeless, CASE WHEN (typeof(key) IN ('integer', 'text') AND coalesce(source, '!') COLLATE BINARY BETWEEN '!' AND '~' AND (created_at IS NULL OR (datetime(created_at) = created_at COLLATE BINARY AND created_at >= '0001-01-01' COLLATE BINARY) OR (typeof(created_at) = 'text' AND datetime(substr(created_at, 1, 19)) = replace(substr(created_at, 1, 19), 'T', ' ') AND substr(created_at, 1, 19) >= '0001-01-01' AND CASE octet_length(created_at) WHEN 19 THEN 1 WHEN 20 THEN substr(created_at, 20) = 'Z' WHEN 23 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]' WHEN 24 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]Z' WHEN 25 THEN substr(created_at, 20) = '+00:00' WHEN 26 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]' WHEN 27 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z' WHEN 32 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00' ELSE 0 END)) AND (confidence IS NULL OR (typeof(confidence) IN ('real', 'integer') AND confidence BETWEEN 0.0 AND 1.0))) THEN has_metadata END AS plain_update FROM (SELECT f."the ""key""" AS key, coalesce(f."source_url", NULL) AS source, NULL AS created_at, NULL AS confidence, m."fact_id" IS NOT NULL AS has_metadata FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT :limit) LIMIT -1);

-- read_odd_facts_first (batch)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END, typeof(f."source_url") = 'text', CASE typeof(f."source_url") WHEN 'text' THEN CAST(f."source_url" AS BLOB) ELSE f."source_url" END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) AND (typeof(f."the ""key""") IN ('integer', 'text') AND coalesce(coalesce(f."source_url", NULL), '!') COLLATE BINARY BETWEEN '!' AND '~' AND (NULL IS NULL OR (datetime(NULL) = NULL COLLATE BINARY AND NULL >= '0001-01-01' COLLATE BINARY) OR (typeof(NULL) = 'text' AND datetime(substr(NULL, 1, 19)) = replace(substr(NULL, 1, 19), 'T', ' ') AND substr(NULL, 1, 19) >= '0001-01-01' AND CASE octet_length(NULL) WHEN 19 THEN 1 WHEN 20 THEN substr(NULL, 20) = 'Z' WHEN 23 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9]' WHEN 24 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9]Z' WHEN 25 THEN substr(NULL, 20) = '+00:00' WHEN 26 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]' WHEN 27 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z' WHEN 32 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00' ELSE 0 END)) AND (NULL IS NULL OR (typeof(NULL) IN ('real', 'integer') AND NULL BETWEEN 0.0 AND 1.0))) IS NOT TRUE ORDER BY f."the ""key""";

-- tally_batch (batch)
SELECT count(*), typeof(max(key)) = 'text', CASE typeof(max(key)) WHEN 'text' THEN CAST(max(key) AS BLOB) ELSE max(key) END, count(plain_update), total(plain_update), count(plain_update) FILTER (WHERE is_timeless), group_concat(source, char(10)), group_concat(key, char(10)) FROM (SELECT key, source, created_at IS NULL AS is_timeless, CASE WHEN (typeof(key) IN ('integer', 'text') AND coalesce(source, '!') COLLATE BINARY BETWEEN '!' AND '~' AND (created_at IS NULL OR (datetime(created_at) = created_at COLLATE BINARY AND created_at >= '0001-01-01' COLLATE BINARY) OR (typeof(created_at) = 'text' AND datetime(substr(created_at, 1, 19)) = replace(substr(created_at, 1, 19), 'T', ' ') AND substr(created_at, 1, 19) >= '0001-01-01' AND CASE octet_length(created_at) WHEN 19 THEN 1 WHEN 20 THEN substr(created_at, 20) = 'Z' WHEN 23 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]' WHEN 24 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9]Z' WHEN 25 THEN substr(created_at, 20) = '+00:00' WHEN 26 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]' WHEN 27 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z' WHEN 32 THEN substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00' ELSE 0 END)) AND (confidence IS NULL OR (typeof(confidence) IN ('real', 'integer') AND confidence BETWEEN 0.0 AND 1.0))) THEN has_metadata END AS plain_update FROM (SELECT f."the ""key""" AS key, coalesce(f."source_url", NULL) AS source, NULL AS created_at, NULL AS confidence, m."fact_id" IS NOT NULL AS has_metadata FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT :limit) LIMIT -1);

-- read_odd_facts (batch)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END, typeof(f."source_url") = 'text', CASE typeof(f."source_url") WHEN 'text' THEN CAST(f."source_url" AS BLOB) ELSE f."source_url" END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) AND (typeof(f."the ""key""") IN ('integer', 'text') AND coalesce(coalesce(f."source_url", NULL), '!') COLLATE BINARY BETWEEN '!' AND '~' AND (NULL IS NULL OR (datetime(NULL) = NULL COLLATE BINARY AND NULL >= '0001-01-01' COLLATE BINARY) OR (typeof(NULL) = 'text' AND datetime(substr(NULL, 1, 19)) = replace(substr(NULL, 1, 19), 'T', ' ') AND substr(NULL, 1, 19) >= '0001-01-01' AND CASE octet_length(NULL) WHEN 19 THEN 1 WHEN 20 THEN substr(NULL, 20) = 'Z' WHEN 23 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9]' WHEN 24 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9]Z' WHEN 25 THEN substr(NULL, 20) = '+00:00' WHEN 26 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]' WHEN 27 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]Z' WHEN 32 THEN substr(NULL, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]+00:00' ELSE 0 END)) AND (NULL IS NULL OR (typeof(NULL) IN ('real', 'integer') AND NULL BETWEEN 0.0 AND 1.0))) IS NOT TRUE ORDER BY f."the ""key""";

-- read_batch_first (batch)
SELECT f."the ""key""", f."source_url", NULL, NULL, NULL, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT :limit;

-- read_batch (batch)
SELECT f."the ""key""", f."source_url", NULL, NULL, NULL, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT :limit;

-- read_batch_first_raw (batch)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END, typeof(f."source_url") = 'text', CASE typeof(f."source_url") WHEN 'text' THEN CAST(f."source_url" AS BLOB) ELSE f."source_url" END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT :limit;

-- read_batch_raw (batch)
SELECT typeof(f."the ""key""") = 'text', CASE typeof(f."the ""key""") WHEN 'text' THEN CAST(f."the ""key""" AS BLOB) ELSE f."the ""key""" END, typeof(f."source_url") = 'text', CASE typeof(f."source_url") WHEN 'text' THEN CAST(f."source_url" AS BLOB) ELSE f."source_url" END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, typeof(NULL) = 'text', CASE typeof(NULL) WHEN 'text' THEN CAST(NULL AS BLOB) ELSE NULL END, m."fact_id" IS NOT NULL FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END) AND (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key""")) ORDER BY f."the ""key""" LIMIT :limit;

-- count_batch_first (batch)
SELECT count(*) FROM "事実 table" AS f WHERE f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END);

-- count_batch (batch)
SELECT count(*) FROM "事実 table" AS f WHERE f."the ""key""" > (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END) AND f."the ""key""" <= (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END);

-- old_metadata (batch)
SELECT m."source_doc", m."extracted_at", m."verified_by", m."confidence_lower", m."confidence_upper" FROM "am_fact_metadata" AS m WHERE m."fact_id" = :fact_id;

-- read_run (chunk)
SELECT plan_id, plan, started_at, finished_at, attester, key_id FROM "am_backfill_run" WHERE run_id = :run_id;

-- open_run (chunk, writes)
INSERT INTO "am_backfill_run" (run_id, plan_id, plan, started_at, attester, key_id, host, pid) VALUES (:run_id, :plan_id, :plan, :now, :attester, :key_id, :host, :pid) ON CONFLICT (run_id) DO NOTHING;

-- finish_run (chunk, writes)
UPDATE "am_backfill_run" SET finished_at = :now WHERE run_id = :run_id AND finished_at IS NULL;

-- read_chunk (batch)
SELECT chunk, plan_id, typeof(after_key) = 'text', CASE typeof(after_key) WHEN 'text' THEN CAST(after_key AS BLOB) ELSE after_key END, typeof(through_key) = 'text', CASE typeof(through_key) WHEN 'text' THEN CAST(through_key AS BLOB) ELSE through_key END, typeof(cursor) = 'text', CASE typeof(cursor) WHEN 'text' THEN CAST(cursor AS BLOB) ELSE cursor END, eligible, inserted, updated, unchanged, rejected, signed, placeholder, created_at_missing, confidence_not_numeric, state, attempts, host, pid, started_at, finished_at, seconds FROM "am_backfill_chunk" WHERE run_id = :run_id AND chunk = :chunk;

-- read_chunks (chunk)
SELECT chunk, plan_id, typeof(after_key) = 'text', CASE typeof(after_key) WHEN 'text' THEN CAST(after_key AS BLOB) ELSE after_key END, typeof(through_key) = 'text', CASE typeof(through_key) WHEN 'text' THEN CAST(through_key AS BLOB) ELSE through_key END, typeof(cursor) = 'text', CASE typeof(cursor) WHEN 'text' THEN CAST(cursor AS BLOB) ELSE cursor END, eligible, inserted, updated, unchanged, rejected, signed, placeholder, created_at_missing, confidence_not_numeric, state, attempts, host, pid, started_at, finished_at, seconds FROM "am_backfill_chunk" WHERE run_id = :run_id ORDER BY chunk;

-- claim_chunk (chunk, writes)
INSERT INTO "am_backfill_chunk" (run_id, chunk, plan_id, after_key, through_key, cursor, state, attempts, host, pid, started_at, updated_at) VALUES (:run_id, :chunk, :plan_id, (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END), (CASE WHEN :through_is_text THEN CAST(:through AS TEXT) ELSE :through END), (CASE WHEN :after_is_text THEN CAST(:after AS TEXT) ELSE :after END), 'running', 1, :host, :pid, :now, :now) ON CONFLICT (run_id, chunk) DO UPDATE SET attempts = attempts + 1, host = excluded.host, pid = excluded.pid, updated_at = excluded.updated_at WHERE state = 'running';

-- advance_chunk (batch, writes)
UPDATE "am_backfill_chunk" SET cursor = (CASE WHEN :cursor_is_text THEN CAST(:cursor AS TEXT) ELSE :cursor END), eligible = eligible + :eligible, inserted = inserted + :inserted, updated = updated + :updated, unchanged = unchanged + :unchanged, rejected = rejected + :rejected, signed = signed + :signed, placeholder = placeholder + :placeholder, created_at_missing = created_at_missing + :created_at_missing, confidence_not_numeric = confidence_not_numeric + :confidence_not_numeric, state = :state, updated_at = :now, finished_at = CASE :state WHEN 'done' THEN :now END, seconds = seconds + :seconds WHERE run_id = :run_id AND chunk = :chunk AND plan_id = :plan_id AND state = 'running' AND cursor IS (CASE WHEN :expected_is_text THEN CAST(:expected AS TEXT) ELSE :expected END);

-- reject_reasons (once)
SELECT reason, count(*) FROM "am_backfill_reject" WHERE run_id = :run_id GROUP BY reason ORDER BY reason;

-- reject_sample (once)
SELECT fact_id, reason, detail, chunk FROM "am_backfill_reject" WHERE run_id = :run_id ORDER BY reject_id LIMIT 20;

-- clear_staging (batch, writes)
DELETE FROM temp.backfill_batch;

-- stage_row (batch, writes)
INSERT INTO temp.backfill_batch VALUES (?, ?, ?, ?, ?, ?, ?);

-- insert_metadata (batch, writes)
INSERT INTO "am_fact_metadata" ("fact_id", "source_doc", "extracted_at", "verified_by", "confidence_lower", "confidence_upper", "ed25519_sig") SELECT fact_id, source_doc, extracted_at, :attester, confidence_lower, confidence_upper, ed25519_sig FROM temp.backfill_batch WHERE is_update = 0 ORDER BY rowid ON CONFLICT ("fact_id") DO NOTHING;

-- update_metadata (batch, writes)
UPDATE "am_fact_metadata" AS m SET "source_doc" = b.source_doc, "extracted_at" = b.extracted_at, "verified_by" = :attester, "confidence_lower" = b.confidence_lower, "confidence_upper" = b.confidence_upper, "ed25519_sig" = b.ed25519_sig FROM temp.backfill_batch AS b WHERE b.is_update = 1 AND m."fact_id" = b.fact_id AND m."source_doc" IS NULL;

-- append_log (batch, writes)
INSERT INTO "am_fact_attestation_log" ("fact_id", "attester", "signature_hex") SELECT fact_id, :attester, lower(hex(substr(ed25519_sig, CASE length(ed25519_sig) WHEN 64 THEN 1 ELSE 9 END, 64))) FROM temp.backfill_batch ORDER BY rowid;

-- reject_fact (batch, writes)
INSERT INTO "am_backfill_reject" (run_id, chunk, fact_id, reason, detail, rejected_at) VALUES (:run_id, :chunk, :fact_id, :reason, :detail, :now);

-- reject_null_keys (once, writes)
INSERT INTO "am_backfill_reject" (run_id, chunk, fact_id, reason, detail, rejected_at) SELECT :run_id, :chunk, 'NULL', :reason, :detail, :now FROM "事実 table" AS f WHERE f."the ""key""" IS NULL;

-- count_residual (once)
SELECT count(*) FROM "事実 table" AS f LEFT JOIN "am_fact_metadata" AS m ON m."fact_id" = CAST(f."the ""key""" AS TEXT) AND typeof(f."the ""key""") IN ('integer', 'text') WHERE (m."fact_id" IS NULL OR (m."source_doc" IS NULL AND (coalesce(trim(f."source_url", char(9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233, 8239, 8287, 12288)), '') <> ''))) AND NOT (typeof(f."the ""key""") = 'text' AND EXISTS (SELECT 1 FROM "事実 table" AS g WHERE g."the ""key""" = CAST(f."the ""key""" AS INTEGER) + 0 AND typeof(g."the ""key""") = 'integer' AND CAST(g."the ""key""" AS TEXT) = f."the ""key"""));

-- top_sources (once)
SELECT "source_doc", count(*) FROM "am_fact_metadata" WHERE "source_doc" IS NOT NULL GROUP BY "source_doc" ORDER BY count(*) DESC, "source_doc" LIMIT 10;
