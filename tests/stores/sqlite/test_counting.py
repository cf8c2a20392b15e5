"""Counting what is residual: exact, afresh, and on two cores only where both see the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.stores.protocols.counts import PlainCounts
from tasks.stores.sqlite.fact_counts import even_ranges
from tasks.stores.sqlite.session import SqliteSession, open_session

BY_HAND = """
    SELECT count(*) FROM am_entity_facts AS f LEFT JOIN am_source AS s ON s.id = f.source_id
     WHERE NOT EXISTS (SELECT 1 FROM am_fact_metadata AS m WHERE m.fact_id = CAST(f.id AS TEXT))
        OR ((SELECT m.source_doc FROM am_fact_metadata AS m WHERE m.fact_id = CAST(f.id AS TEXT)) IS NULL
            AND (trim(coalesce(f.source_url, '')) <> '' OR trim(coalesce(s.source_url, '')) <> ''))"""


def fill(made: Any, seed: int) -> None:
    """Facts with and without metadata, and metadata of facts that are not, with keys that only look alike."""
    dice = random.Random(seed)
    keys = [*dice.sample(range(-300, 900), 400), 2**63 - 1, -(2**63)]
    for source in (1, 2):
        made.add_source(source, f"https://source.test/{source}")
    made.add_facts(
        {"id": key, "source_id": dice.choice([None, 1, 2, 3]), "source_url": dice.choice([None, "", "https://a.test/"])}
        for key in keys
    )
    others = ["007", "7.0", " 7", "+7", "seven", "", "9223372036854775808", "-0", "1e2", "０"]
    fact_ids = [str(key) for key in [*dice.sample(keys, 250), *range(2000, 2040)]] + others
    made.insert(
        "am_fact_metadata", [metadata(fact_id, dice.choice([None, "https://old.test/"])) for fact_id in fact_ids]
    )


def metadata(fact_id: str, source_doc: str | None) -> dict[str, Any]:
    return {"fact_id": fact_id, "source_doc": source_doc, "extracted_at": "2026-01-01T00:00:00.000Z",
            "verified_by": "etl_prov_backfill_v1", "ed25519_sig": bytes(64)}  # fmt: skip


@pytest.fixture
def session(store: Any, settings: Any) -> Iterator[Callable[..., SqliteSession]]:
    """`session(seed, *mutations)` is an open session on a store full of facts, and the store."""
    opened: list[AbstractContextManager[SqliteSession]] = []

    def make(seed: int, *mutations: Any, **options: Any) -> tuple[SqliteSession, Any]:
        made = store(*mutations, name=f"counting-{seed}.db", **options)
        fill(made, seed)
        opened.append(open_session(settings(made), write=False))
        return opened[-1].__enter__(), made

    yield make
    for context in opened:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_the_count_is_that_of_the_plain_query(session: Any, seed: int, journal_mode: str) -> None:
    opened, made = session(seed, journal_mode=journal_mode)
    expected = made.execute(BY_HAND)[0][0]
    assert expected > 100
    assert opened.count_residual() == expected
    with opened.snapshot():
        assert opened.count_residual() == expected


BY_HAND_SOURCES = """
    SELECT source_doc, count(*) FROM am_fact_metadata WHERE source_doc IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"""


@pytest.mark.parametrize("key", ["INTEGER PRIMARY KEY", "TEXT PRIMARY KEY"])
def test_the_closing_counts_are_those_of_one_moment(session: Any, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Another connection writes between the pieces, and is not seen."""
    opened, made = session(5, lambda schema: schema.change_column("am_entity_facts", "id", f"id {key}"))
    expected = (made.execute(BY_HAND)[0][0], made.execute(BY_HAND_SOURCES))
    run_on, added = opened._run_on, iter(range(10_000, 20_000))

    def disturbed(connection: apsw.Connection, name: str, **parameters: Any) -> list[Any]:
        if name.startswith(("count_", "top_")):
            with writing:
                fact_id = next(added)
                made.add_facts([{"id": fact_id}, {"id": -fact_id}])
                made.insert("am_fact_metadata", [metadata(str(fact_id), "https://new.test/")])
        return run_on(connection, name, **parameters)

    writing = Lock()
    monkeypatch.setattr(opened, "_run_on", disturbed)
    assert opened.closing_counts() == expected
    assert next(added) > 10_001


def test_sources_that_are_no_text_are_not_ranked(session: Any) -> None:
    opened, made = session(6)
    made.execute("UPDATE am_fact_metadata SET source_doc = CAST(x'ff' AS TEXT) WHERE source_doc IS NOT NULL")
    assert opened.closing_counts() == (made.execute(BY_HAND)[0][0], [])


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
@example(-(2**63), 2**63 - 1)
@example(7, 7)
def test_ranges_to_count_join_without_a_gap(one: int, other: int) -> None:
    lowest, highest = sorted((one, other))
    ranges = list(even_ranges(lowest, highest))
    assert (ranges[0][0], ranges[-1][1]) == (lowest, highest)
    assert [first for first, _ in ranges[1:]] == [last + 1 for _, last in ranges[:-1]]
    assert len(ranges) <= 16


def test_every_residual_key_can_be_found_by_its_number(session: Any) -> None:
    opened, _ = session(1)
    with opened.counting_snapshot():
        count = opened.count_residual()
        keys = [opened.residual_key(after=None, skip=skip) for skip in range(count)]
        assert keys == sorted(set(keys))
        assert [opened.residual_key(after=key, skip=0) for key in keys[:-1]] == keys[1:]


@pytest.mark.parametrize("key", ["INTEGER PRIMARY KEY", "TEXT PRIMARY KEY"])
def test_every_fact_can_be_found_by_its_number(session: Any, key: str) -> None:
    opened, made = session(1, lambda schema: schema.change_column("am_entity_facts", "id", f"id {key}"))
    if key.startswith("TEXT"):
        made.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (NULL, 'e', 'f')")
    keys = [row[0] for row in made.execute("SELECT id FROM am_entity_facts WHERE id IS NOT NULL ORDER BY id")]
    assert [opened.fact_key(after=None, skip=skip) for skip in range(len(keys))] == keys
    assert [opened.fact_key(after=after, skip=1) for after in keys[:-2]] == keys[2:]


def test_a_fact_is_tallied_once_however_many_sources_equal_its_reference(store: Any, settings: Any) -> None:
    """The keys 'a' and 'A' are unique byte for byte, and equal to a column that disregards case."""
    made = store(
        lambda schema: schema.change_column("am_source", "id", "id TEXT COLLATE NOCASE"),
        lambda schema: schema.change_column("am_entity_facts", "source_id", "source_id TEXT"),
        lambda schema: schema.then(
            "CREATE UNIQUE INDEX exact ON am_source (id COLLATE BINARY)", "CREATE INDEX loose ON am_source (id)"
        ),
    )
    for key in ("a", "A"):
        made.add_source(key, f"https://{key}.test/")
    made.add_facts({"id": key, "source_id": "a", "created_at": "2026-05-11 12:36:49"} for key in range(1, 11))
    with open_session(settings(made), write=False) as opened:
        batch = opened.tally_batch(after=None, through=10, limit=100, with_set_aside=False)
    assert (batch.facts, batch.eligible, batch.plain) == ([], 10, PlainCounts(inserted=10))


def test_metadata_whose_rows_have_no_number_is_counted_in_one_piece(session: Any) -> None:
    columns = ("rowid", "oid", "_rowid_")
    opened, made = session(2, *(lambda schema, c=c: schema.add("am_fact_metadata", f"{c} TEXT") for c in columns))
    assert opened.binding.metadata.row_number is None
    assert opened.count_residual() == made.execute(BY_HAND)[0][0]


def test_two_threads_count_only_where_both_see_the_same_moment(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application brings a fact its metadata between the two snapshots, `busy` times."""
    opened, made = session(3)
    plain_snapshot, busy, seen = opened.snapshot, 2, []
    made.add_facts({"id": key} for key in range(5000, 5100))

    @contextmanager
    def disturbed() -> Iterator[None]:
        nonlocal busy
        if busy:
            busy -= 1
            made.insert("am_fact_metadata", [metadata(str(5000 + busy), None)])
        with plain_snapshot():
            yield

    monkeypatch.setattr(opened, "snapshot", disturbed)
    with opened.counting_snapshot():
        seen.append(opened._helper is not None)
        assert opened.count_residual() == made.execute(BY_HAND)[0][0]
    busy = 50
    with opened.counting_snapshot():
        seen.append(opened._helper is not None)
        assert opened.count_residual() == made.execute(BY_HAND)[0][0]
    assert seen == [True, False]
    assert opened._helper is None


def test_the_helper_can_write_nothing(session: Any) -> None:
    opened, _ = session(4)
    with opened.counting_snapshot():
        assert opened._helper is not None
        for sql in ("DELETE FROM am_fact_metadata", "CREATE TABLE t (x)", "PRAGMA query_only = 0"):
            with pytest.raises(apsw.AuthError):
                opened._helper.execute(sql)
