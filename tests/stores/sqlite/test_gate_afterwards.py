"""What the gate leaves behind, and when it has to be passed again."""

from __future__ import annotations

import json
from typing import Any

import apsw
import pytest

from tasks.core.errors import SchemaChangedError
from tasks.runs.gate import gate_schema, is_gated
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.run import build_statements

FACTS, METADATA = "am_entity_facts", "am_fact_metadata"


def test_schema_json_tells_what_was_verified(store: Any, settings: Any, paths: Any) -> None:
    config = settings(store(lambda schema: schema.drop_column(FACTS, "confidence")))
    gate_schema(config, paths(config))
    content = json.loads(paths(config).schema.read_text(encoding="utf-8"))
    assert content["engine"] == {"name": "SQLite", "version": apsw.sqlite_lib_version()}
    assert len(content["fingerprint"]) == 64
    assert content["binding"]["facts"]["key"] == "id"
    assert content["binding"]["facts"]["confidence"] is None
    assert content["absences"] == [f'{FACTS} has no column "confidence", which is optional']
    assert content["signing"] == {"key_id": None, "key_name": "provenance-backfill/sample"}
    assert len(content["checks"]) == 5
    statements = {statement["name"]: statement for statement in content["statements"]}
    assert statements["read_batch"]["plan"][0].startswith("SEARCH f ")
    assert statements["insert_metadata"]["writes"] is True
    with open_session(config, write=False) as session:
        assert {s.name for s in build_statements(session.binding)} <= set(statements)


def test_schema_json_never_holds_the_key(store: Any, settings: Any, paths: Any, signing_key: str) -> None:
    config = settings(store())
    gate_schema(config, paths(config))
    text = paths(config).schema.read_text(encoding="utf-8")
    assert signing_key not in text
    assert json.loads(text)["signing"]["key_id"] is not None


def test_the_gate_is_passed_again_once_a_bound_table_changed(store: Any, settings: Any, paths: Any) -> None:
    made = store()
    config = settings(made)
    assert is_gated(config, paths(config)) is False
    gate_schema(config, paths(config))
    assert is_gated(config, paths(config)) is True
    made.execute("CREATE TABLE unrelated (x)")
    assert is_gated(config, paths(config)) is True
    made.execute(f"CREATE INDEX another ON {METADATA} (notes)")
    assert is_gated(config, paths(config)) is False


def test_the_gate_is_passed_again_once_the_contract_changed(store: Any, settings: Any, paths: Any) -> None:
    made = store()
    config = settings(made)
    gate_schema(config, paths(config))
    changed = settings(made, tables={"facts": {"confidence": None}})
    assert is_gated(changed, paths(changed)) is False


def test_a_schema_that_changes_under_a_session_is_noticed_before_the_next_batch(store: Any, settings: Any) -> None:
    made = store()
    with open_session(settings(made), write=True) as session:
        session.check_schema()
        made.execute(f"ALTER TABLE {FACTS} RENAME COLUMN id TO fact_id")
        with pytest.raises(SchemaChangedError, match="the schema changed"):
            session.check_schema()


def test_the_gate_executes_no_statement_of_the_run(store: Any, settings: Any) -> None:
    """A trace of everything that runs on the file while the gate is passed: setup, catalogue and EXPLAIN."""
    made = store()
    seen: list[str] = []

    def trace(cursor: Any, sql: str, bindings: Any) -> bool:
        seen.append(sql)
        return True

    def watch(connection: apsw.Connection) -> None:
        if connection.filename:  # the copy that the gate writes to is in memory
            connection.exec_trace = trace

    apsw.connection_hooks.append(watch)
    try:
        with open_session(settings(made), write=True) as session:
            statements = {s.sql for s in build_statements(session.binding)}
    finally:
        apsw.connection_hooks.remove(watch)
    assert any(sql.startswith("EXPLAIN QUERY PLAN SELECT") for sql in seen)
    assert any(sql.startswith("EXPLAIN QUERY PLAN INSERT") for sql in seen)
    assert statements & set(seen) == {"PRAGMA schema_version"}
