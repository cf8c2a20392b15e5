"""The statements that fill a new database, of which nothing is known but the canonical schema."""

from __future__ import annotations

from typing import Final

BEGIN: Final = ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -65536", "BEGIN")
COMPLETE: Final = ("COMMIT", "PRAGMA journal_mode = WAL")
INSERT_SOURCE: Final = "INSERT INTO am_source VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_FACT: Final = "INSERT INTO am_entity_facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_METADATA: Final = """
    INSERT INTO am_fact_metadata
           (fact_id, source_doc, extracted_at, verified_by, ed25519_sig, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, zeroblob(64), ?5, ?5)"""
INSERT_LOG: Final = """
    INSERT INTO am_fact_attestation_log (fact_id, attester, signed_at, signature_hex)
    VALUES (?1, ?2, ?3, hex(zeroblob(64)))"""
READ_AS_TEXT: Final = {
    "source_url": "UPDATE am_entity_facts SET source_url = CAST(source_url AS TEXT) WHERE id = ?",
    "created_at": "UPDATE am_entity_facts SET created_at = CAST(created_at AS TEXT) WHERE id = ?",
}
READ_SOURCE_AS_TEXT: Final = "UPDATE am_source SET source_url = CAST(source_url AS TEXT) WHERE id = ?"
COUNT_SOURCES: Final = "SELECT count(*) FROM am_source"

# Both take a whole FactLine: ?1 entity_id, ?2 field_name, ?3 value, ?4 source_url, ?5 fetched_at.
INSERT_SOURCE_OF_LINE: Final = """
    INSERT INTO am_source (source_url, first_seen, last_verified) VALUES (?4, ?5, ?5)
    ON CONFLICT (source_url) DO NOTHING"""
INSERT_FACT_OF_LINE: Final = """
    INSERT INTO am_entity_facts (entity_id, field_name, field_value_text, field_kind, source_id,
                                 confirming_source_count, created_at)
    VALUES (?1, ?2, ?3, 'text', (SELECT id FROM am_source WHERE source_url = ?4), 1, ?5)"""
