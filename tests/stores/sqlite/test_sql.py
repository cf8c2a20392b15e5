"""The text of every statement, for a canonical store and for an odd one.

A golden file holds one statement per section, under a line `-- name (scale)`. After a change that is meant:

    REWRITE_GOLDEN=1 python -m pytest tests/stores/sqlite/test_sql.py

and read what `git diff tests/stores/sqlite/golden` says.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, setup_statements
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.spelling import Statement, quoted

GOLDEN = Path(__file__).parent / "golden"


def as_text(statements: tuple[Statement, ...]) -> str:
    return "\n".join(f"-- {s.name} ({s.scale}{', writes' if s.writes else ''})\n{s.sql};\n" for s in statements)


def assert_golden(name: str, statements: tuple[Statement, ...]) -> None:
    path, text = GOLDEN / f"{name}.sql", as_text(statements)
    if os.environ.get("REWRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    diff = difflib.unified_diff(expected.splitlines(), text.splitlines(), str(path.name), "built now", lineterm="", n=1)
    assert text == expected, "\n".join(["the statements changed (see the head of this file):", *diff])


def bound(store: Any, settings: Any, **sections: Any) -> tuple[Statement, ...]:
    with open_session(settings(store, **sections), write=False) as session:
        return build_statements(session.binding)


def odd(store: Any) -> Any:
    """A key without a type, the optional columns gone, and names that need quotes."""
    return store(
        lambda schema: schema.change_column("am_entity_facts", "id", "id UNIQUE").drop_column(
            "am_entity_facts", "source_id"
        ),
        lambda schema: schema.drop_column("am_entity_facts", "confidence"),
        lambda schema: schema.drop_column("am_entity_facts", "created_at"),
        lambda schema: schema.drop_column("am_fact_metadata", "created_at"),
        lambda schema: schema.drop_column("am_fact_metadata", "updated_at"),
        lambda schema: schema.drop_column("am_fact_attestation_log", "signed_at"),
        lambda schema: schema.rename_column("am_entity_facts", "id", 'the "key"'),
        lambda schema: schema.rename_table("am_entity_facts", "事実 table"),
    )


ODD_TABLES = {"facts": {"name": "事実 table", "key": 'the "key"'}}


def test_the_statements_of_a_canonical_store_are_these(store: Any, settings: Any) -> None:
    assert_golden("canonical", bound(store(), settings))


def test_the_statements_of_an_odd_store_are_these(store: Any, settings: Any) -> None:
    assert_golden("odd", bound(odd(store), settings, tables=ODD_TABLES))


def test_the_statements_before_and_around_a_run_are_these() -> None:
    once = {s.name: s for write in (False, True) for s in setup_statements(cache_mib=64, write=write)}
    assert_golden("connection", (*once.values(), *CATALOGUE_STATEMENTS))


def test_every_statement_has_a_name_of_its_own(store: Any, settings: Any) -> None:
    names = [
        s.name for s in (*bound(store(), settings), *CATALOGUE_STATEMENTS, *setup_statements(cache_mib=1, write=True))
    ]
    assert len(set(names)) == len(names)


def test_no_statement_deletes_drops_or_checks_the_whole_database(store: Any, settings: Any) -> None:
    for statement in (*bound(store(), settings), *setup_statements(cache_mib=1, write=True)):
        words = statement.sql.upper()
        assert not words.startswith(("DROP", "ALTER", "VACUUM", "ANALYZE", "REINDEX", "ATTACH"))
        assert "INTEGRITY_CHECK" not in words
        assert "QUICK_CHECK" not in words
        assert not words.startswith("DELETE") or words.startswith("DELETE FROM TEMP.")


def test_what_only_a_live_run_executes_is_marked(store: Any, settings: Any) -> None:
    for statement in bound(store(), settings):
        writes = statement.sql.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE"))
        assert statement.writes == writes, statement.name


@pytest.mark.parametrize("name", ["plain", 'a "quoted" one', '"', "it's", "表", "a\nb", "--", "]", "what?"])
def test_a_quoted_identifier_is_read_back_as_the_very_name(name: str) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(f"CREATE TABLE {quoted(name)} ({quoted(name)})")
    assert connection.execute("SELECT name FROM sqlite_schema").get == name
    assert connection.execute("SELECT name FROM pragma_table_info(?)", (name,)).get == name
