"""Indexes that do not agree with their tables: no count comes from one, and none is trusted to find every row."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import apsw
import pytest

from tasks.core.errors import DatabaseError
from tasks.stores.open import open_store

FACTS, METADATA, LOG = "am_entity_facts", "am_fact_metadata", "am_fact_attestation_log"


def lose_entries(made: Any, index: str, where: str, meanwhile: str) -> None:
    """Leave entries out of an index, as a damaged disk would: it is partial while `meanwhile` writes, and then not."""
    with closing(apsw.Connection(str(made.path))) as connection:
        [(sql,)] = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).fetchall()
        connection.execute(f"DROP INDEX {index}")
        connection.execute(f"{sql} WHERE {where}")
        connection.execute(meanwhile)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, index))
        connection.execute("PRAGMA writable_schema = RESET")


def facts_of(made: Any, count: int = 100) -> Any:
    made.add_facts({"id": number, "source_url": f"https://a.test/{number}"} for number in range(1, count + 1))
    return made


def test_no_fact_is_missed_where_an_index_over_the_facts_lacks_entries(store: Any, settings: Any, run: Any) -> None:
    made = facts_of(store(lambda s: s.then(f"CREATE INDEX ix_source ON {FACTS} (source_id)")))
    lose_entries(made, "ix_source", "id > 30", "SELECT 1")
    assert made.execute(f"SELECT count(*) FROM {FACTS} INDEXED BY ix_source WHERE 1") == [(70,)]
    config = settings(made, small=True)
    assert run(config, dry_run=True)["rows"]["inserted"] == 100
    report = run(config)
    assert report["rows"] == {"eligible": 100, "inserted": 100, "updated": 0, "unchanged": 0, "rejected": 0}
    assert (report["remaining"], report["dry_run"]["matches"]) == (0, True)
    again = run(config, "run-2")
    assert again["rows"] == {"eligible": 100, "inserted": 0, "updated": 0, "unchanged": 100, "rejected": 0}


@pytest.mark.parametrize("max_rows", [None, 5])
def test_an_index_that_rows_are_found_by_and_that_lacks_some_stops_the_run_by_name(
    store: Any, settings: Any, run: Any, dump: Any, max_rows: int | None
) -> None:
    unique = lambda s: s.then(f"CREATE UNIQUE INDEX ux ON {METADATA} (fact_id)")  # noqa: E731
    made = facts_of(store(lambda s: s.change_column(METADATA, "fact_id", "fact_id TEXT NOT NULL"), unique))
    for number in range(1, 101):
        made.add_metadata(str(number), "https://old.test/")
    lose_entries(made, "ux", "fact_id > '3'", "SELECT 1")
    assert_refused(made, settings, run, dump, '"ux"', METADATA, max_rows)


def test_an_index_over_the_key_of_the_facts_that_lacks_some_stops_the_run(
    store: Any, settings: Any, run: Any, dump: Any
) -> None:
    unique = lambda s: s.then(f"CREATE UNIQUE INDEX ux ON {FACTS} (id)")  # noqa: E731
    made = facts_of(store(lambda s: s.change_column(FACTS, "id", "id INTEGER NOT NULL"), unique))
    lose_entries(made, "ux", "id > 30", "SELECT 1")
    assert_refused(made, settings, run, dump, "has 100 rows", FACTS)


def test_an_index_over_the_log_that_lacks_some_stops_the_run(store: Any, settings: Any, run: Any, dump: Any) -> None:
    """By it, a fact whose metadata row was deleted would look as if it had never been attested."""
    made = facts_of(store())
    run(settings(made))
    made.execute(f"DELETE FROM {METADATA} WHERE fact_id = '7'")
    lose_entries(made, f"ix_{LOG}_fact_id", "fact_id <> '7'", "SELECT 1")
    assert_refused(made, settings, run, dump, "has 100 rows", LOG, run_id="run-2")


def test_verifying_counts_the_rows_of_the_table_whatever_an_index_lacks(store: Any, settings: Any, run: Any) -> None:
    made = facts_of(store())
    run(settings(made))
    lose_entries(made, f"ix_{METADATA}_verified_by", "fact_id > '3'", "SELECT 1")
    assert made.execute(f"SELECT count(*) FROM {METADATA} INDEXED BY ix_{METADATA}_verified_by WHERE 1") == [(76,)]
    with open_store(settings(made)).attestations() as reader:
        assert reader.count_rows() == 100


def test_sealing_counts_the_rows_of_the_table_whatever_an_index_lacks(store: Any, settings: Any, run: Any) -> None:
    made = facts_of(store())
    run(settings(made))
    lose_entries(made, f"ix_{LOG}_attester", "attestation_id > 30", "SELECT 1")
    assert made.execute(f"SELECT count(*) FROM {LOG} INDEXED BY ix_{LOG}_attester WHERE 1") == [(70,)]
    with open_store(settings(made)).sealed_log(purpose="read") as session:
        assert session.count_all_rows() == 100


def assert_refused(
    made: Any,
    settings: Any,
    run: Any,
    dump: Any,
    said: str,
    table: str,
    max_rows: int | None = None,
    run_id: str = "run-1",
) -> None:
    before = dump(made.path)
    for dry_run in (True, False):
        with pytest.raises(DatabaseError) as caught:
            run(settings(made), run_id, dry_run=dry_run, max_rows=max_rows)
        assert f"{table} has" in str(caught.value) and said in str(caught.value)
        assert "REINDEX" in str(caught.value) and "Nothing was written." in str(caught.value)
    assert dump(made.path) == before


@pytest.mark.parametrize(
    "mutate",
    [
        lambda s: s.table_option(METADATA, "WITHOUT ROWID"),
        lambda s: s.change_column(FACTS, "id", "id TEXT PRIMARY KEY").table_option(FACTS, "WITHOUT ROWID"),
        lambda s: s.change_column(FACTS, "id", "id TEXT PRIMARY KEY"),
        lambda s: s.then(f'CREATE INDEX "odd "" name" ON {METADATA} (fact_id, notes)'),
        lambda s: s.then(f"CREATE INDEX part ON {METADATA} (fact_id) WHERE fact_id > '5'"),
    ],
)
def test_sound_indexes_of_every_kind_pass(store: Any, settings: Any, run: Any, mutate: Any) -> None:
    made = facts_of(store(mutate), 9)
    assert run(settings(made))["rows"]["inserted"] == 9
    assert run(settings(made), "run-2")["rows"]["unchanged"] == 9
