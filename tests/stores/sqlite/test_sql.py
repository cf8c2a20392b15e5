"""What holds of every statement, whatever its text (that is in test_golden_sql.py)."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.contract.binding import AttestationBinding
from tasks.stores import sqlite
from tasks.stores.sqlite.sealed_log import open_log_session
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.attestations import attestation_statements
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, setup_statements
from tasks.stores.sqlite.sql.resigning import resigning_statements
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.sealed_log import build_log_statements
from tasks.stores.sqlite.sql.spelling import Statement, quoted

MODULES = sorted(Path(next(iter(sqlite.__path__))).glob("*.py"))


def bound(store: Any, settings: Any, **sections: Any) -> tuple[Statement, ...]:
    with open_session(settings(store, **sections), write=False) as session:
        return build_statements(session.binding)


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


STATEMENT = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|PRAGMA|EXPLAIN|WITH|ATTACH) |(?:BEGIN|COMMIT|ROLLBACK)\b"
)


def test_no_module_outside_of_sql_writes_a_statement_of_its_own() -> None:
    found = [
        f"{module.name}: {node.value}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.match(node.value)
    ]
    assert found == []


ENDINGS = re.compile("(_first|_raw|_after|_through|_start|_between)+$")
"""What a method appends to the name of a statement: for a range that begins with the first row, for odd texts, …"""


def test_every_statement_is_named_by_a_method_that_executes_it(store: Any, settings: Any) -> None:
    """One that nothing executes is dead. Named are those whose name, or its beginning, is a literal outside of sql/."""
    config = settings(store())
    with open_session(config, write=False) as session, open_log_session(config, purpose="read") as log:
        binding = session.binding
        reader = AttestationBinding(binding.metadata, binding.log, binding.ledger.tile)
        statements = (
            *build_statements(binding), *attestation_statements(reader), *resigning_statements(binding),
            *build_log_statements(log.binding), *CATALOGUE_STATEMENTS,
        )  # fmt: skip
    trees = [ast.parse(module.read_text(encoding="utf-8")) for module in MODULES if module.stem != "guard"]
    literals = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    unnamed = [s.name for s in statements if not {s.name, ENDINGS.sub("", s.name)} & literals]
    assert unnamed == []


@pytest.mark.parametrize("name", ["plain", 'a "quoted" one', '"', "it's", "表", "a\nb", "--", "]", "what?"])
def test_a_quoted_identifier_is_read_back_as_the_very_name(name: str) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(f"CREATE TABLE {quoted(name)} ({quoted(name)})")
    assert connection.execute("SELECT name FROM sqlite_schema").get == name
    assert connection.execute("SELECT name FROM pragma_table_info(?)", (name,)).get == name
