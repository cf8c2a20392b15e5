"""tasks/stores/sqlite/schema.sql: what it creates, and what its CHECKs keep out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import apsw
import pytest

SCHEMA = (Path(__file__).parents[1] / "config" / "schema" / "sqlite.sql").read_text(encoding="utf-8")
TABLES = {
    "am_entity_facts": """id entity_id field_name field_value_text field_value_json field_value_numeric
        field_kind source_id source_url confidence confirming_source_count created_at""",
    "am_source": "id source_url source_type domain content_hash first_seen last_verified license",
    "am_fact_metadata": """fact_id source_doc extracted_at verified_by confidence_lower confidence_upper
        ed25519_sig notes created_at updated_at""",
    "am_fact_attestation_log": "attestation_id fact_id attester signed_at signature_hex notes",
    "am_backfill_run": """run_id plan_id plan kind state stop_reason remaining started_at finished_at attester key_id
        host pid""",
    "am_backfill_chunk": """run_id chunk plan_id after_key through_key cursor eligible inserted updated
        unchanged rejected signed placeholder created_at_missing confidence_not_numeric state attempts
        host pid started_at updated_at finished_at seconds last_error""",
    "am_backfill_batch": """run_id chunk batch after_key through_key eligible inserted updated unchanged
        rejected signed placeholder first_attestation_id last_attestation_id key_id content host pid began_at
        committed_at reading_seconds deriving_seconds signing_seconds waiting_seconds locked_seconds""",
    "am_backfill_reject": "reject_id run_id chunk fact_id reason detail rejected_at",
    "v_am_fact_attestation_latest": "fact_id latest_signed_at attestation_count",
    "v_am_fact_explainability": """fact_id source_doc extracted_at verified_by confidence_lower
        confidence_upper ed25519_sig latest_signed_at attestation_count""",
}
SIDECAR = ("am_fact_metadata", "am_fact_attestation_log", "am_fact_signature", "am_backfill_run",
           "am_backfill_chunk", "am_backfill_batch", "am_backfill_reject")  # fmt: skip


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA)
    return connection


def column(connection: apsw.Connection, sql: str, *values: Any) -> list[Any]:
    return [row[0] for row in connection.execute(sql, values)]


def insert(connection: apsw.Connection, table: str, row: dict[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_and_view_has_the_columns_of_the_design(connection: apsw.Connection, name: str) -> None:
    assert column(connection, "SELECT name FROM pragma_table_info(?)", name) == TABLES[name].split()


def test_every_index_is_named_after_its_table_so_that_a_renamed_copy_can_stand_beside_it(
    connection: apsw.Connection,
) -> None:
    indexes = connection.execute(
        "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    assert len(indexes) == 9
    for name, table in indexes:
        assert str(name).startswith(f"ix_{table}_")


def test_every_object_has_a_comment_right_above_it() -> None:
    lines = SCHEMA.splitlines()
    creates = [number for number, line in enumerate(lines) if line.startswith("CREATE")]
    assert len(creates) == 22
    assert all(lines[number - 1].startswith("-- ") for number in creates)


def test_no_literal_holds_an_identifier() -> None:
    code = "\n".join(line for line in SCHEMA.splitlines() if not line.startswith("--"))
    assert set(re.findall(r"'([^']*)'", code)) == {
        "%Y-%m-%dT%H:%M:%fZ", "now", "running", "done", "planned", "paused", "stopped", "undone",
        "backfill", "sign", "undo",
    }  # fmt: skip


@pytest.mark.parametrize("table", SIDECAR)
def test_a_sidecar_table_has_no_foreign_key(connection: apsw.Connection, table: str) -> None:
    assert column(connection, "SELECT * FROM pragma_foreign_key_list(?)", table) == []


def test_a_chunks_keys_and_cursor_keep_their_storage_class(connection: apsw.Connection) -> None:
    insert(connection, "am_backfill_chunk", CHUNK | {"after_key": 7, "through_key": "7", "cursor": 7.5})
    types = connection.execute(
        "SELECT typeof(after_key), typeof(through_key), typeof(cursor) FROM am_backfill_chunk"
    ).get
    assert types == ("integer", "text", "real")


METADATA: dict[str, Any] = {"fact_id": "1", "ed25519_sig": bytes(64)}
LOG: dict[str, Any] = {"fact_id": "1", "attester": "a", "signature_hex": "0" * 128}
CHUNK: dict[str, Any] = {
    "run_id": "r", "chunk": 1, "plan_id": "p", "eligible": 10, "inserted": 4, "updated": 3, "unchanged": 2,
    "rejected": 1, "signed": 5, "placeholder": 2, "state": "running", "host": "h", "pid": 1,
    "started_at": "t", "updated_at": "t",
}  # fmt: skip
RUN: dict[str, Any] = {
    "run_id": "r", "plan_id": "p", "plan": "{}", "started_at": "t", "attester": "a", "host": "h", "pid": 1,
}  # fmt: skip
BATCH: dict[str, Any] = {
    "run_id": "r", "chunk": 1, "batch": 1, "eligible": 10, "inserted": 4, "updated": 3, "unchanged": 2, "rejected": 1,
    "signed": 5, "placeholder": 2, "key_id": "k", "host": "h", "pid": 1, "began_at": "t", "committed_at": "t",
    **{f"{name}_seconds": 0.0 for name in ("reading", "deriving", "signing", "waiting", "locked")},
}  # fmt: skip


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("am_fact_metadata", METADATA),
        ("am_fact_metadata", METADATA | {"ed25519_sig": bytes(96)}),
        ("am_fact_metadata", METADATA | {"confidence_lower": 0.0, "confidence_upper": 1.0}),
        ("am_fact_metadata", METADATA | {"confidence_lower": 0.5, "confidence_upper": 0.5}),
        ("am_fact_attestation_log", LOG),
        ("am_fact_attestation_log", LOG | {"signature_hex": "f" * 256}),
        ("am_backfill_chunk", CHUNK),
        ("am_backfill_chunk", CHUNK | {"state": "done"}),
        ("am_backfill_run", RUN),
        ("am_backfill_run", RUN | {"kind": "sign", "state": "done"}),
        ("am_backfill_batch", BATCH),
        ("am_backfill_batch", BATCH | {"signed": 0, "placeholder": 7, "key_id": None}),
    ],
)
def test_a_sound_row_is_taken(connection: apsw.Connection, table: str, row: dict[str, Any]) -> None:
    insert(connection, table, row)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("am_fact_metadata", METADATA | {"ed25519_sig": bytes(63)}),
        ("am_fact_metadata", METADATA | {"ed25519_sig": bytes(97)}),
        ("am_fact_metadata", METADATA | {"ed25519_sig": None}),
        ("am_fact_metadata", METADATA | {"confidence_lower": 0.6, "confidence_upper": 0.5}),
        ("am_fact_metadata", METADATA | {"confidence_lower": -0.01, "confidence_upper": 0.5}),
        ("am_fact_metadata", METADATA | {"confidence_lower": 0.5, "confidence_upper": 1.01}),
        ("am_fact_metadata", METADATA | {"confidence_lower": 0.5, "confidence_upper": "high"}),
        ("am_fact_attestation_log", LOG | {"signature_hex": "0" * 127}),
        ("am_fact_attestation_log", LOG | {"signature_hex": "0" * 257}),
        ("am_fact_attestation_log", LOG | {"fact_id": None}),
        ("am_backfill_chunk", CHUNK | {"eligible": 11}),
        ("am_backfill_chunk", CHUNK | {"eligible": 9, "unchanged": 2}),
        ("am_backfill_chunk", CHUNK | {"signed": 6}),
        ("am_backfill_chunk", CHUNK | {"placeholder": 1}),
        ("am_backfill_chunk", CHUNK | {"state": "failed"}),
        ("am_backfill_run", RUN | {"kind": "other"}),
        ("am_backfill_run", RUN | {"state": "failed"}),
        ("am_backfill_batch", BATCH | {"eligible": 11}),
        ("am_backfill_batch", BATCH | {"placeholder": 1}),
        ("am_backfill_batch", BATCH | {"key_id": None}),
        ("am_backfill_batch", BATCH | {"signed": 0, "placeholder": 7}),
    ],
)
def test_an_unsound_row_is_kept_out(connection: apsw.Connection, table: str, row: dict[str, Any]) -> None:
    with pytest.raises(apsw.ConstraintError):
        insert(connection, table, row)


def test_a_fact_has_one_metadata_row_and_a_chunk_one_ledger_row(connection: apsw.Connection) -> None:
    for table, row in (("am_fact_metadata", METADATA), ("am_backfill_chunk", CHUNK), ("am_backfill_batch", BATCH)):
        insert(connection, table, row)
        with pytest.raises(apsw.ConstraintError):
            insert(connection, table, row)


def test_now_is_utc_with_milliseconds(connection: apsw.Connection) -> None:
    insert(connection, "am_fact_metadata", METADATA)
    insert(connection, "am_fact_attestation_log", LOG)
    for moment in connection.execute(
        "SELECT extracted_at, created_at, updated_at, signed_at FROM am_fact_metadata"
        " JOIN am_fact_attestation_log USING (fact_id)"
    ).get:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)


def test_the_views_show_the_latest_attestation_and_their_number(connection: apsw.Connection) -> None:
    insert(connection, "am_fact_metadata", METADATA)
    insert(connection, "am_fact_metadata", METADATA | {"fact_id": "2"})
    for moment in ("2026-05-02", "2026-05-03", "2026-05-01"):
        insert(connection, "am_fact_attestation_log", LOG | {"signed_at": moment})
    assert connection.execute(
        "SELECT fact_id, latest_signed_at, attestation_count FROM v_am_fact_explainability ORDER BY 1"
    ).fetchall() == [("1", "2026-05-03", 3), ("2", None, 0)]
