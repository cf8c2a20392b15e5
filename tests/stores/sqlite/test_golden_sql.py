"""The text of every statement, over lines that a person can read in a diff.

A golden file holds one statement per section, under a line `-- name (scale)`, laid out by `laid_out`, which changes
nothing but white space. What several statements share is spelled once, at the head of the file under a line
`-- ⟨name⟩`, and stands as ⟨name⟩ where it is used. After a change that is meant:

    REWRITE_GOLDEN=1 python -m pytest tests/stores/sqlite/test_golden_sql.py

and read what `git diff tests/stores/sqlite/golden` says.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.contract.binding import AttestationBinding, Binding
from tasks.stores.sqlite.sealed_log import open_log_session
from tasks.stores.sqlite.session import open_session
from tasks.stores.sqlite.sql.attestations import AttestationSql, attestation_statements
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, setup_statements
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.resigning import resigning_statements
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.sealed_log import build_log_statements
from tasks.stores.sqlite.sql.spelling import Statement

GOLDEN = Path(__file__).parent / "golden"
WIDTH = 118

# -- laying out ----------------------------------------------------------------------------------------

_TOKEN = re.compile(r"""\s*('(?:[^']|'')*'|"(?:[^"]|"")*"|⟨\w+⟩|[:\w.?]+|<>|<=|>=|->>|\|\||\S)""")
_CLAUSES = {"SELECT", "FROM", "LEFT", "CROSS", "WHERE", "ORDER", "GROUP", "LIMIT", "VALUES", "SET", "DO"}
_HEADS = {*_CLAUSES, "ON", "AND", "OR", "WHEN", "ELSE", "INSERT", "UPDATE"}
_OPENING, _CLOSING = {"(", "CASE"}, {")", "END"}


class Group(list[Any]):
    """What stands between two parentheses, or in a CASE, with both ends. Everything else is a text."""


def laid_out(sql: str) -> str:
    """The same statement, its clauses, conditions and columns on lines of their own where they need room."""
    return "\n".join(_lines(_grouped(iter(_TOKEN.finditer(sql))), 0))


def _grouped(tokens: Iterator[re.Match[str]], *, until: bool = False) -> Group:
    """Texts, each with the white space before it as one space, and groups."""
    found = Group()
    for token in tokens:
        text = (" " if token.start(1) > token.start() else "") + token[1]
        if token[1] in _OPENING:
            inner = _grouped(tokens, until=True)
            found.append(Group([text, *inner]))
        else:
            found.append(text)
            if until and token[1] in _CLOSING:
                return found
    return found


def _flat(items: Iterable[Any]) -> str:
    return "".join(_flat(item) if isinstance(item, Group) else item for item in items)


def _lines(items: list[Any], indent: int) -> Iterator[str]:
    text = _flat(items).strip()
    if indent + len(text) <= WIDTH:
        yield " " * indent + text
        return
    deeper = 2 if _word(items, 0) in _HEADS else 0
    for is_cut in (_before_clause, _before_case, _before_condition, _after_comma):
        parts = list(_cut(items, is_cut))
        if len(parts) > 1:
            if is_cut is _after_comma:
                parts = list(_filled(parts, WIDTH - indent - deeper))
            yield from _lines(parts[0], indent)
            for part in parts[1:]:
                yield from _lines(part, indent + (0 if is_cut in (_before_clause, _before_case) else deeper))
            return
    yield from _opened(items, indent)


def _opened(items: list[Any], indent: int) -> Iterator[str]:
    """Every group that is long on lines of its own, between its ends."""
    line = ""
    for item in items:
        if isinstance(item, Group) and len(_flat(item)) > WIDTH // 3:
            subject = next((n for n in range(1, len(item)) if _word(item, n) == "WHEN"), 1)
            subject = subject if indent + len(line + _flat(item[:subject])) <= WIDTH else 1
            yield " " * indent + (line + _flat(item[:subject])).strip()
            is_closed = not isinstance(item[-1], Group)
            yield from _lines(item[subject:-1] if is_closed else item[subject:], indent + 2)
            line = item[-1].strip() if is_closed else ""
        else:
            line += _flat([item])
    if line:
        yield " " * indent + line.strip()


def _cut(items: list[Any], is_cut: Callable[[list[Any], int], bool]) -> Iterator[list[Any]]:
    start = 0
    for at in range(1, len(items)):
        if is_cut(items, at):
            yield items[start:at]
            start = at
    yield items[start:]


def _word(items: list[Any], at: int) -> str:
    return items[at].strip() if 0 <= at < len(items) and isinstance(items[at], str) else ""


def _before_clause(items: list[Any], at: int) -> bool:
    if _word(items, at) == "ON":
        return _word(items, at + 1) == "CONFLICT"
    return _word(items, at) in _CLAUSES and (_word(items, at - 1), _word(items, at)) != ("UPDATE", "SET")


def _before_condition(items: list[Any], at: int) -> bool:
    between = [word for word in (_word(items, n) for n in range(at)) if word in ("BETWEEN", "AND", "OR")][-1:]
    return _word(items, at) in ("AND", "OR", "ON") and between != ["BETWEEN"]


def _before_case(items: list[Any], at: int) -> bool:
    return _word(items, at) in ("WHEN", "ELSE")


def _after_comma(items: list[Any], at: int) -> bool:
    return _word(items, at - 1) == ","


def _filled(parts: list[list[Any]], width: int) -> Iterator[list[Any]]:
    """As many of the parts on a line as there is room for."""
    line = list[Any]()
    for part in parts:
        if line and len(_flat([*line, *part])) > width:
            yield line
            line = []
        line = [*line, *part]
    yield line


# -- golden files --------------------------------------------------------------------------------------


def of_facts(binding: Binding) -> dict[str, str]:
    sql = FactSql(binding)
    names = ("residual", "derivable", "stale", "text_twin", "fact_columns", "fact_columns_raw", "fact_values_raw")
    return {**{name: getattr(sql, name) for name in names}, "witnessed": sql.joined + sql._witnessed}


def of_attestations(binding: AttestationBinding) -> dict[str, str]:
    sql = AttestationSql(binding)
    return {"attested": ", ".join(sql.attested), "ever_signed": sql.ever_signed, "joined": sql.joined}


def sections(statements: Iterable[Statement], shared: Mapping[str, str]) -> dict[str, str]:
    """Head -> text of what is shared and used, and of every statement. `shared` counts where it is long."""
    long = sorted(((name, sql) for name, sql in shared.items() if len(sql) > 80), key=lambda item: -len(item[1]))

    def short(sql: str, *, but: str = "") -> str:
        for name, text in long:
            sql = sql.replace(text, f"⟨{name}⟩") if name != but else sql
        return laid_out(sql)

    told = {f"-- ⟨{name}⟩": short(sql, but=name) for name, sql in long}
    made = {f"-- {s.name} ({s.scale}{', writes' if s.writes else ''})": f"{short(s.sql)};" for s in statements}
    used = " ".join([*made.values(), *told.values()])
    return {**{head: text for head, text in told.items() if head.removeprefix("-- ") in used}, **made}


def assert_golden(name: str, found: Mapping[str, str]) -> None:
    path, text = GOLDEN / f"{name}.sql", "\n".join(f"{head}\n{sql}\n" for head, sql in found.items())
    if os.environ.get("REWRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    diff = difflib.unified_diff(expected.splitlines(), text.splitlines(), path.name, "built now", lineterm="", n=1)
    assert text == expected, "\n".join(["the statements changed (see the head of this file):", *diff])


@example(["a" * 60, " ( ", "a" * 60, " ( "])
@given(st.lists(st.sampled_from(["SELECT", " ( ", ") ", "CASE", "END", "'a  b'", '"x ""y"', " AND ", ",", " ", "a"])))
def test_laying_out_changes_nothing_but_white_space(parts: list[str]) -> None:
    sql = "".join(parts)
    assert "".join(_TOKEN.findall(laid_out(sql))) == "".join(_TOKEN.findall(sql))


# -- stores --------------------------------------------------------------------------------------------


def odd_facts(store: Any) -> Any:
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


ODD_FACTS = {"tables": {"facts": {"name": "事実 table", "key": 'the "key"'}}}


def odd_metadata(store: Any) -> Any:
    """Names that need quotes, and the optional columns gone."""
    return store(
        lambda schema: schema.drop_column("am_fact_metadata", "updated_at"),
        lambda schema: schema.drop_column("am_fact_attestation_log", "signed_at"),
        lambda schema: schema.drop_column("am_fact_attestation_log", "notes"),
        lambda schema: schema.rename_table("am_fact_metadata", 'provenance "of" 事実'),
        lambda schema: schema.drop("v_am_fact_attestation_latest", "v_am_fact_explainability"),
    )


ODD_METADATA = {"tables": {"metadata": {"name": 'provenance "of" 事実'}}}
CANONICAL: dict[str, Any] = {}


def bound(config: Any) -> Binding:
    with open_session(config, write=False) as session:
        return session.binding


@pytest.mark.parametrize(("kind", "make", "names"), [
    ("canonical", lambda store: store(), CANONICAL),
    ("odd", odd_facts, ODD_FACTS),
])  # fmt: skip
def test_the_statements_of_a_run_are_these(kind: str, make: Any, names: Any, store: Any, settings: Any) -> None:
    binding = bound(settings(make(store), **names))
    assert_golden(f"{kind}/run", sections(build_statements(binding), of_facts(binding)))


def test_where_changes_are_followed_these_are_other_than_in_the_canonical_ones(store: Any, settings: Any) -> None:
    made = store()
    usual, following = (
        sections(build_statements(binding), of_facts(binding))
        for binding in (bound(settings(made)), bound(settings(made, derivation={"on_change": "reattest"})))
    )
    others = {head: text for head, text in following.items() if usual.get(head) != text}
    assert_golden("following/run", others)


@pytest.mark.parametrize(("kind", "make", "names"), [
    ("canonical", lambda store: store(), CANONICAL),
    ("odd", odd_metadata, ODD_METADATA),
])  # fmt: skip
class TestRowsAndLog:
    def test_the_statements_of_verification_are_these(
        self, kind: str, make: Any, names: Any, store: Any, settings: Any
    ) -> None:
        """odd: and the log was never sealed."""
        binding = bound(settings(make(store), **names))
        tile = binding.ledger.tile if kind == "canonical" else None
        reader = AttestationBinding(binding.metadata, binding.log, tile)
        assert_golden(f"{kind}/attestations", sections(attestation_statements(reader), of_attestations(reader)))

    def test_the_statements_of_signing_what_is_pending_are_these(
        self, kind: str, make: Any, names: Any, store: Any, settings: Any
    ) -> None:
        binding = bound(settings(make(store), **names))
        reader = AttestationBinding(binding.metadata, binding.log, binding.ledger.tile)
        assert_golden(f"{kind}/resigning", sections(resigning_statements(binding), of_attestations(reader)))

    def test_the_statements_over_the_sealed_log_are_these(
        self, kind: str, make: Any, names: Any, store: Any, settings: Any
    ) -> None:
        with open_log_session(settings(make(store), **names), purpose="read") as session:
            assert_golden(f"{kind}/sealed_log", sections(build_log_statements(session.binding), {}))


@pytest.mark.parametrize(("kind", "make", "names"), [
    ("canonical", lambda store: store(), CANONICAL),
    ("odd", odd_facts, ODD_FACTS),
])  # fmt: skip
def test_the_indexes_are_counted_by_these(kind: str, make: Any, names: Any, store: Any, settings: Any) -> None:
    with open_session(settings(make(store), **names), write=False) as session:
        counted = session._gated.indexes
    assert_golden(f"{kind}/indexes", sections((s for i in counted for s in (i.of_index, i.of_table)), {}))


def test_the_statements_before_and_around_a_run_are_these() -> None:
    once = {s.name: s for write in (False, True) for s in setup_statements(cache_mib=64, write=write)}
    assert_golden("connection", sections((*once.values(), *CATALOGUE_STATEMENTS), {}))
