-- count_entries sqlite_autoindex_am_fact_metadata_1 (once)
SELECT count(*) FROM "am_fact_metadata" INDEXED BY "sqlite_autoindex_am_fact_metadata_1" WHERE 1;

-- count_rows am_fact_metadata (once)
SELECT count(*) FROM "am_fact_metadata" NOT INDEXED;

-- count_entries ix_am_fact_attestation_log_fact_id (once)
SELECT count(*) FROM "am_fact_attestation_log" INDEXED BY "ix_am_fact_attestation_log_fact_id" WHERE 1;

-- count_rows am_fact_attestation_log (once)
SELECT count(*) FROM "am_fact_attestation_log" NOT INDEXED;
