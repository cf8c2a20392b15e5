"""The gate on tables of other shapes: those that work end to end, and those that are refused with their mend."""

from __future__ import annotations

from typing import Any

import pytest

FACTS, METADATA, LOG = "am_entity_facts", "am_fact_metadata", "am_fact_attestation_log"


# -- the facts' key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declaration",
    ["id TEXT PRIMARY KEY", "id TEXT NOT NULL UNIQUE", "id INTEGER UNIQUE", "id INT PRIMARY KEY", "id PRIMARY KEY",
     "id BLOB PRIMARY KEY", "id NUMERIC UNIQUE", "id INTEGER PRIMARY KEY DESC", "id BIGINT UNIQUE", "id UUID UNIQUE"],
)  # fmt: skip
def test_any_unique_key_of_integers_or_text_works(store: Any, works: Any, declaration: str) -> None:
    made = store(lambda schema: schema.change_column(FACTS, "id", declaration))
    keys: list[Any] = [f"事実-{n}" for n in range(30)] if "TEXT" in declaration else [7, -7, 2**63 - 1, -(2**63), 0]
    made.add_facts({"id": key} for key in keys)
    assert works(made)["rows"]["inserted"] == len(keys)
    assert set(made.metadata()) == {str(key) for key in keys}


def test_a_unique_index_beside_the_table_makes_a_key_as_well(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.add(FACTS, "uuid TEXT").then(f"CREATE UNIQUE INDEX u ON {FACTS} (uuid DESC)"))
    made.add_facts({"id": n, "uuid": f"u{n}"} for n in range(12))
    works(made, tables={"facts": {"key": "uuid"}})
    assert set(made.metadata()) == {f"u{n}" for n in range(12)}


@pytest.mark.parametrize("declaration", ["id TEXT PRIMARY KEY", "id INTEGER PRIMARY KEY"])
def test_facts_without_a_rowid_work(store: Any, works: Any, declaration: str) -> None:
    made = store(
        lambda schema: schema.change_column(FACTS, "id", declaration), lambda s: s.table_option(FACTS, "WITHOUT ROWID")
    )
    made.add_facts({"id": n} for n in range(12))
    assert works(made)["rows"]["inserted"] == 12


@pytest.mark.parametrize("table", [FACTS, "am_source", METADATA, LOG, "am_backfill_run", "am_backfill_reject"])
def test_strict_tables_work(store: Any, works: Any, table: str) -> None:
    made = store(lambda schema: schema.table_option(table, "STRICT"))
    made.add_source(1, "https://a.test/")
    made.add_facts([{"id": 1, "source_id": 1, "confidence": 0.5, "created_at": "no"}, {"id": 2, "source_id": 1}])
    assert works(made)["rows"]["inserted"] == 1


def test_metadata_without_a_rowid_works(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.table_option(METADATA, "WITHOUT ROWID"))
    made.add_facts([{"id": n, "source_url": "https://a.test/"} for n in range(12)])
    made.add_metadata("3")
    assert works(made)["rows"] == {"eligible": 12, "inserted": 11, "updated": 1, "unchanged": 0, "rejected": 0}


def test_a_composite_primary_key_is_refused_by_name(store: Any, settings: Any, drift: Any) -> None:
    made = store(
        lambda schema: schema.change_column(FACTS, "id", "id INTEGER"),
        lambda schema: schema.add(FACTS, "PRIMARY KEY (entity_id, id)"),
    )
    message = drift(settings(made))
    assert f'{FACTS}: "id" is part of the composite primary key (entity_id, id), which is not supported' in message
    assert "tables.facts.key" in message


def test_a_key_that_is_not_unique_is_refused_and_a_unique_one_suggested(store: Any, settings: Any, drift: Any) -> None:
    message = drift(settings(store(), tables={"facts": {"key": "entity_id"}}))
    assert f'{FACTS}: "entity_id" is not unique by any primary key or unique index' in message
    assert "Unique here: id." in message
    message = drift(settings(store(lambda s: s.change_column(FACTS, "id", "id INTEGER"), name="other.db")))
    assert "It needs a unique index of its own." in message


@pytest.mark.parametrize(
    "index",
    ["(id) WHERE id > 0", "(id COLLATE NOCASE)", "(id COLLATE RTRIM)", "(id, entity_id)", "(lower(id))", "(abs(id))"],
)
def test_a_unique_index_that_guarantees_less_than_a_unique_key_is_refused(
    store: Any, settings: Any, drift: Any, index: str
) -> None:
    made = store(
        lambda schema: schema.change_column(FACTS, "id", "id TEXT").then(f"CREATE UNIQUE INDEX u ON {FACTS} {index}")
    )
    message = drift(settings(made))
    assert f"{FACTS}: " in message
    assert "not supported" in message or "not unique" in message


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_a_key_column_that_compares_by_another_collation_is_refused(
    store: Any, settings: Any, drift: Any, collation: str
) -> None:
    made = store(lambda schema: schema.change_column(FACTS, "id", f"id TEXT COLLATE {collation} PRIMARY KEY"))
    assert "collation other than BINARY" in drift(settings(made))
    made = store(
        lambda schema: schema.change_column(FACTS, "id", f"id TEXT COLLATE {collation}").then(
            f"CREATE UNIQUE INDEX u ON {FACTS} (id COLLATE BINARY)"
        ),
        name="other.db",
    )
    assert "for every batch" in drift(settings(made))


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_a_fact_id_that_compares_by_another_collation_is_refused(
    store: Any, settings: Any, drift: Any, collation: str
) -> None:
    made = store(
        lambda schema: schema.change_column(METADATA, "fact_id", f"fact_id TEXT PRIMARY KEY COLLATE {collation}")
    )
    assert f'{METADATA}: the unique index on "fact_id"' in drift(settings(made))


# -- what is no ordinary table -------------------------------------------------------------------------


def test_a_view_is_refused_by_name(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.then(f"CREATE VIEW facts_view AS SELECT * FROM {FACTS}"))
    message = drift(settings(made, tables={"facts": {"name": "facts_view"}}))
    assert "facts_view: is a view (contract: tables.facts.name" in message
    assert "name the one behind it" in message


def test_a_virtual_table_and_its_shadows_are_refused_by_name(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.then("CREATE VIRTUAL TABLE searchable USING fts5 (id, source_url)"))
    assert "searchable: is a virtual table" in drift(settings(made, tables={"facts": {"name": "searchable"}}))
    assert "searchable_data: is a shadow table" in drift(settings(made, tables={"source": {"name": "searchable_data"}}))
    assert "dbstat: no such table" in drift(settings(made, tables={"facts": {"name": "dbstat"}}))


@pytest.mark.parametrize("name", ["sqlite_schema", "sqlite_master", "sqlite_sequence", "sqlite_stat1"])
def test_sqlites_own_tables_are_no_fact_store(store: Any, settings: Any, drift: Any, name: str) -> None:
    assert f"{name}: no such table" in drift(settings(store(), tables={"facts": {"name": name}}))


def test_an_unrelated_broken_view_does_not_matter(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.then("CREATE VIEW broken AS SELECT gone FROM nowhere"))
    made.add_fact(1)
    works(made)


# -- plans ---------------------------------------------------------------------------------------------


def test_a_source_key_without_an_index_is_refused_because_each_batch_would_scan_it(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_source", "id", "id INTEGER"))
    assert 'am_source: "id" is not unique' in drift(settings(made))


def test_a_source_id_of_another_type_than_the_sources_key_is_refused_if_no_index_can_serve_it(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.change_column("am_source", "id", "id TEXT PRIMARY KEY"))
    message = drift(settings(made))
    assert "read_batch would scan am_source from end to end for every batch" in message
    assert "with the type of the column it is compared to" in message


def test_a_source_id_that_sqlite_can_convert_works(store: Any, works: Any) -> None:
    made = store(lambda schema: schema.change_column(FACTS, "source_id", "source_id TEXT"))
    made.add_source(12, "https://a.test/")
    made.add_facts([{"id": 1, "source_id": "12"}, {"id": 2, "source_id": "x"}])
    works(made)
    assert [made.metadata()[key]["source_doc"] for key in ("1", "2")] == ["https://a.test/", None]


def test_a_metadata_key_of_a_numeric_type_is_refused(store: Any, settings: Any, drift: Any) -> None:
    for number, declared in enumerate(("INTEGER", "INT", "NUMERIC", "REAL")):
        made = store(
            lambda s, d=declared: s.change_column(METADATA, "fact_id", f"fact_id {d} PRIMARY KEY"), name=f"{number}.db"
        )
        assert METADATA in drift(settings(made))


def test_a_ledger_without_its_primary_key_is_refused(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.replace("am_backfill_chunk", ", PRIMARY KEY (run_id, chunk)", ""))
    assert "claim_chunk does not compile" in drift(settings(made))
