"""What the gate finds by trying its writes: what would refuse a row, change one or write more than it."""

from __future__ import annotations

from typing import Any

import pytest

FACTS, METADATA, LOG = "am_entity_facts", "am_fact_metadata", "am_fact_attestation_log"


# -- what the trial finds -----------------------------------------------------------------------------


def changed(schema: Any, column: str, declaration: str) -> Any:
    """The metadata table with a column declared in another way."""
    return schema.change_column(METADATA, column, declaration)


@pytest.mark.parametrize(
    ("mutate", "said"),
    [
        (lambda s: s.replace(METADATA, "length(ed25519_sig) BETWEEN 64 AND 96", "length(ed25519_sig) = 64"),
         "a row of this job would be refused: CHECK"),
        (lambda s: s.add(METADATA, "reviewed_by TEXT NOT NULL"), "NOT NULL constraint failed"),
        (lambda s: s.add(METADATA, "CHECK (source_doc LIKE 'https://%')"), "CHECK"),
        (lambda s: changed(s, "source_doc", "source_doc TEXT NOT NULL"), "NOT NULL constraint failed"),
        (lambda s: changed(s, "source_doc", "source_doc TEXT UNIQUE"), "UNIQUE constraint failed"),
        (lambda s: changed(s, "confidence_lower", "confidence_lower TEXT"), '"confidence_lower" turns 0.0'),
        (lambda s: changed(s, "confidence_upper", "confidence_upper INTEGER"), '"confidence_upper" turns 1.0'),
        (lambda s: changed(s, "source_doc", "source_doc NUMERIC"), '"source_doc" turns \'7\' into 7'),
        (lambda s: changed(s, "extracted_at", "extracted_at INTEGER NOT NULL CHECK (extracted_at < 9)"), "CHECK"),
        (lambda s: changed(s, "verified_by", "verified_by TEXT CHECK (length(verified_by) < 3)"), "CHECK"),
        (lambda s: changed(s, "verified_by", "verified_by TEXT AS ('x')"), '"verified_by" is generated'),
        (lambda s: s.change_column(LOG, "fact_id", "fact_id INTEGER NOT NULL"), '"fact_id" turns'),
        (lambda s: s.change_column(LOG, "signature_hex", "signature_hex NUMERIC NOT NULL"), "CHECK"),
        (lambda s: s.replace(LOG, "BETWEEN 128 AND 256", "= 256"), "CHECK"),
        (lambda s: s.change_column(LOG, "attestation_id", "attestation_id TEXT NOT NULL PRIMARY KEY"), "NOT NULL"),
        (lambda s: s.change_column(LOG, "fact_id", "fact_id TEXT NOT NULL UNIQUE"), "UNIQUE constraint failed"),
        (lambda s: s.replace("am_backfill_chunk", "'done')", "'finished')"), "CHECK"),
        (lambda s: s.add("am_backfill_run", "team TEXT NOT NULL"), "NOT NULL constraint failed: am_backfill_run.team"),
        (lambda s: s.add("am_backfill_reject", "team TEXT NOT NULL"), "NOT NULL"),
    ],
)  # fmt: skip
def test_a_declaration_that_would_refuse_or_change_a_row_is_found_by_trying(
    store: Any, settings: Any, drift: Any, mutate: Any, said: str
) -> None:
    assert said in drift(settings(store(mutate)))


@pytest.mark.parametrize(
    "mutate",
    [
        lambda s: s.add(METADATA, "reviewed_by TEXT NOT NULL DEFAULT 'nobody'"),
        lambda s: s.add(METADATA, "reviewed_by TEXT"),
        lambda s: s.add(METADATA, "key_id TEXT AS (hex(substr(ed25519_sig, 73)))"),
        lambda s: s.change_column(METADATA, "extracted_at", "extracted_at TIMESTAMP NOT NULL"),
        lambda s: s.change_column(METADATA, "fact_id", "fact_id PRIMARY KEY"),
        lambda s: s.change_column(METADATA, "fact_id", "fact_id VARCHAR(40) NOT NULL UNIQUE"),
        lambda s: s.change_column(METADATA, "confidence_lower", "confidence_lower DOUBLE PRECISION"),
        lambda s: s.change_column(METADATA, "ed25519_sig", "ed25519_sig"),
        lambda s: s.change_column(METADATA, "created_at", "created_at INTEGER NOT NULL DEFAULT 0"),
        lambda s: s.change_column(LOG, "attestation_id", "attestation_id INTEGER PRIMARY KEY"),
        lambda s: s.drop("ix_am_fact_metadata_source_doc", "ix_am_fact_metadata_verified_by"),
        lambda s: s.drop("v_am_fact_attestation_latest", "v_am_fact_explainability"),
        lambda s: s.drop("am_fact_signature"),
        lambda s: s.then(f"CREATE INDEX extra ON {METADATA} (lower(source_doc)) WHERE source_doc IS NOT NULL"),
        lambda s: s.change_column(FACTS, "created_at", "created_at TEXT AS ('2026-05-12')"),
        lambda s: s.change_column(METADATA, "fact_id", f"fact_id TEXT PRIMARY KEY REFERENCES {FACTS} (id)"),
    ],
)
def test_a_harmless_difference_from_the_canonical_shape_works(store: Any, works: Any, mutate: Any) -> None:
    made = store(mutate)
    made.add_source(1, "https://a.test/")
    made.add_facts(
        [{"id": 1, "source_id": 1, "confidence": 0.5}, {"id": 2}, {"id": 3, "source_id": 1, "confidence": 7}]
    )
    assert works(made)["rows"] == {"eligible": 3, "inserted": 2, "updated": 0, "unchanged": 0, "rejected": 1}


# -- triggers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["INSERT", "UPDATE", "UPDATE OF source_doc"])
@pytest.mark.parametrize("body", [f"UPDATE {FACTS} SET confidence = 0", f"UPDATE {METADATA} SET notes = 'x'",
                                  f"DELETE FROM {LOG}", "INSERT INTO am_source (source_url) VALUES ('x')"])  # fmt: skip
def test_a_trigger_that_writes_is_refused_by_its_name(
    store: Any, settings: Any, drift: Any, operation: str, body: str
) -> None:
    trigger = f"CREATE TRIGGER sneaky AFTER {operation} ON {METADATA} BEGIN {body}; END"
    message = drift(settings(store(lambda schema: schema.then(trigger))))
    assert "inside the trigger 'sneaky'" in message
    assert f"{METADATA}: " in message


@pytest.mark.parametrize(
    "table", [LOG, "am_backfill_chunk", "am_backfill_batch", "am_backfill_reject", "am_backfill_run"]
)
def test_a_trigger_that_writes_is_found_on_every_table_of_the_job(
    store: Any, settings: Any, drift: Any, table: str
) -> None:
    trigger = f"CREATE TRIGGER sneaky AFTER INSERT ON {table} BEGIN UPDATE {FACTS} SET confidence = 0; END"
    message = drift(settings(store(lambda schema: schema.then(trigger))))
    assert "inside the trigger 'sneaky'" in message
    assert f"{table}: " in message  # the table that holds the trigger, which is where it has to be dropped


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE"])
def test_a_trigger_that_keeps_the_log_append_only_is_welcome(store: Any, works: Any, operation: str) -> None:
    trigger = f"CREATE TRIGGER keep BEFORE {operation} ON {LOG} BEGIN SELECT RAISE(ABORT, 'append-only'); END"
    made = store(lambda schema: schema.then(trigger))
    made.add_fact(1)
    works(made)


def test_a_trigger_on_the_facts_is_none_of_our_business(store: Any, works: Any) -> None:
    trigger = f"CREATE TRIGGER touch AFTER UPDATE ON {FACTS} BEGIN UPDATE am_source SET license = 'x'; END"
    made = store(lambda schema: schema.then(trigger))
    made.add_fact(1)
    works(made)


@pytest.mark.parametrize("action", ["RAISE(ABORT, 'no')", "RAISE(IGNORE)"])
def test_a_trigger_that_turns_rows_away_is_found_by_trying(store: Any, settings: Any, drift: Any, action: str) -> None:
    trigger = (
        f"CREATE TRIGGER refuse BEFORE INSERT ON {METADATA} WHEN new.source_doc IS NULL BEGIN SELECT {action}; END"
    )
    assert METADATA in drift(settings(store(lambda schema: schema.then(trigger))))
