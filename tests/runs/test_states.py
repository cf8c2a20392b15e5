"""One table of states: the database, the README and the code know no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks.stores.protocols.states import CHUNK_EDGES, CHUNK_STATES, RUN_EDGES, RUN_STATES, Edge

ROOT = Path(__file__).resolve().parents[2]
DDL = (ROOT / "tasks/stores/sqlite/schema.sql").read_text()


def states_in_the_ddl(table: str) -> list[str]:
    found = re.search(rf"CREATE TABLE {table} .*?CHECK \(state IN \((.*?)\)\)", DDL, re.DOTALL)
    assert found
    return re.findall("'([a-z]+)'", found[1])


def test_the_ledger_takes_exactly_the_states_of_a_run() -> None:
    assert states_in_the_ddl("am_backfill_run") == list(RUN_STATES)


def test_the_ledger_takes_no_state_of_a_chunk_that_the_table_does_not_have() -> None:
    assert set(states_in_the_ddl("am_backfill_chunk")) <= set(CHUNK_STATES)


@pytest.mark.parametrize(("edges", "states"), [(RUN_EDGES, RUN_STATES), (CHUNK_EDGES, CHUNK_STATES)])
def test_every_state_is_reached_from_the_first_one_by_edges_of_known_states(
    edges: tuple[Edge, ...], states: tuple[str, ...]
) -> None:
    reached: set[str | None] = {None}
    for _ in edges:
        reached |= {edge.after for edge in edges if edge.before in reached}
    assert reached == {None, *states} and len(set(edges)) == len(edges)


def test_the_readme_tells_every_edge_that_a_chunk_takes_in_the_words_of_the_table() -> None:
    told = re.findall(r"^\| (\(no row\)|`[a-z]+`) \| (`[a-z]+`) \| (.*) \|$", (ROOT / "README.md").read_text(), re.M)
    kept = states_in_the_ddl("am_backfill_chunk")
    edges = [edge for edge in CHUNK_EDGES if edge.after in kept]
    assert told == [(f"`{e.before}`" if e.before else "(no row)", f"`{e.after}`", e.why) for e in edges]
