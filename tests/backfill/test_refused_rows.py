"""Rows that the database itself turns away: found, rejected by name, and everything else written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tasks.backfill import dry_run
from tasks.core import crash_points
from tasks.core.errors import RowRefusedError
from tasks.stores.sqlite import runner
from tasks.stores.sqlite.refusals import first_unreadable
from tasks.stores.sqlite.session import SqliteSession

FACTS = "am_entity_facts"
METADATA = "am_fact_metadata"
LOG = "am_fact_attestation_log"
REFUSED = "refused_by_database"


@pytest.fixture(autouse=True)
def _few_facts_are_read_for_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a dry run of these small stores counts most facts without reading them, as that of a large one does."""
    monkeypatch.setattr(dry_run, "READ_FOR_SAMPLE", 2)


def rows(inserted: int, rejected: int, *, updated: int = 0, unchanged: int = 0) -> dict[str, int]:
    eligible = inserted + updated + unchanged + rejected
    return {
        "eligible": eligible, "inserted": inserted, "updated": updated, "unchanged": unchanged, "rejected": rejected,
    }  # fmt: skip


def numbered(made: Any, count: int, **columns: Any) -> Any:
    made.add_facts(
        {"id": number, "source_url": f"https://a.test/{number}", **columns} for number in range(1, count + 1)
    )
    return made


def rehearsed(run: Any, config: Any, run_id: str = "run-1") -> dict[str, Any]:
    """A dry run and the live run after it, which must agree; the live report."""
    dry = run(config, run_id, dry_run=True)
    live: dict[str, Any] = run(config, run_id)
    assert live["dry_run"]["matches"] is True
    assert (dry["rows"], dry["rejects"]) == (live["rows"], live["rejects"])
    return live


def texts(schema: Any) -> Any:
    return schema.change_column(FACTS, "id", "id TEXT PRIMARY KEY")


WRITE_RULES = [
    (lambda s: s.add(METADATA, "CHECK (fact_id <> '17')"), ["17"], "CHECK constraint failed"),
    (lambda s: s.add(METADATA, "CHECK (source_doc NOT GLOB '*/[1-3]')"), ["1", "2", "3"], "CHECK constraint failed"),
    (lambda s: s.add(LOG, "CHECK (fact_id NOT IN ('1', '60'))"), ["1", "60"], "CHECK constraint failed"),
    (lambda s: s.then(f"CREATE UNIQUE INDEX ux ON {METADATA} (replace(fact_id, '59', '58'))"), ["59"], "UNIQUE"),
    (lambda s: s.then(f"CREATE INDEX ix ON {METADATA} (abs(fact_id - 30 + (-9223372036854775807 - 1)))"), ["30"],
     "integer overflow"),
    (lambda s: s.then(f"CREATE INDEX ix ON {METADATA} (extracted_at) WHERE json(iif(fact_id = '9', '{{', 'null'))"),
     ["9"], "malformed JSON"),
    (lambda s: s.add(METADATA, "doc TEXT AS (json(iif(fact_id = '44', '{', '1'))) STORED"), ["44"], "malformed JSON"),
]  # fmt: skip


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize(("mutate", "refused", "words"), WRITE_RULES)
def test_a_row_that_the_database_refuses_is_rejected_in_its_words_and_the_rest_is_written(
    store: Any, settings: Any, run: Any, request: Any, mutate: Any, refused: list[str], words: str, is_signed: bool
) -> None:
    if is_signed:
        request.getfixturevalue("signing_key")
    made = numbered(store(mutate), 60)
    report = rehearsed(run, settings(made, pacing={"chunk_rows": 60, "batch_rows": 25}))
    assert report["rows"] == rows(60 - len(refused), len(refused))
    assert report["rejects"] == {REFUSED: len(refused)}
    assert sorted(made.rejects()) == sorted((fact_id, REFUSED) for fact_id in refused)
    assert all(words in detail for (detail,) in made.execute("SELECT detail FROM am_backfill_reject"))
    assert set(made.metadata()) == {str(n) for n in range(1, 61)} - set(refused)
    assert sorted(fact_id for fact_id, *_ in made.log()) == sorted(made.metadata())


def test_a_refused_update_leaves_the_row_as_it_was(store: Any, settings: Any, run: Any) -> None:
    made = numbered(store(lambda s: s.add(METADATA, "CHECK (source_doc IS NOT 'https://a.test/7')")), 10)
    for number in range(1, 11):
        made.add_metadata(str(number))
    report = rehearsed(run, settings(made))
    assert report["rows"] == rows(0, 1, updated=9)
    assert made.metadata()["7"]["source_doc"] is None


def test_keys_that_differ_in_case_alone_meet_a_unique_index_on_lower(store: Any, settings: Any, run: Any) -> None:
    made = store(texts, lambda s: s.then(f"CREATE UNIQUE INDEX ux ON {METADATA} (lower(fact_id))"))
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in ("A", "B", "a", "c"))
    report = rehearsed(run, settings(made))
    assert report["rows"] == rows(3, 1)
    assert made.rejects() == [("a", REFUSED)]


@pytest.mark.parametrize("refused", [1, 3])
def test_to_find_a_refused_row_takes_a_logarithm_of_transactions(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    facts, names = 1000, ", ".join(f"'{300 * n + 11}'" for n in range(refused))
    made = numbered(store(lambda s: s.add(METADATA, f"CHECK (fact_id NOT IN ({names}))")), facts)
    begun = []
    points_of = crash_points.reach
    monkeypatch.setattr(crash_points, "reach", lambda point: (begun.append(point), points_of(point)))
    report = run(settings(made, pacing={"chunk_rows": facts, "batch_rows": facts}))
    assert report["rows"] == rows(facts - refused, refused)
    assert begun.count("before the write lock") <= refused * 2 * math.ceil(math.log2(facts)) + 4


def test_a_store_without_such_rows_is_never_narrowed(store: Any, settings: Any, run: Any, monkeypatch: Any) -> None:
    begun = []
    monkeypatch.setattr(crash_points, "reach", lambda point: begun.append(point))
    run(settings(numbered(store(), 100), pacing={"chunk_rows": 100, "batch_rows": 25}))
    assert begun.count("before the write lock") == begun.count("after commit") == 5


class Killed(BaseException):
    pass


@pytest.mark.parametrize("point", ["before the write lock", "before commit", "after commit"])
@pytest.mark.parametrize("reached", [2, 4, 7])
def test_a_kill_amid_the_search_costs_nothing(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, point: str, reached: int
) -> None:
    made = numbered(store(lambda s: s.add(METADATA, "CHECK (fact_id NOT IN ('13', '40'))")), 60)
    config = settings(made, pacing={"chunk_rows": 60, "batch_rows": 30})
    count = 0

    def kill(at: str) -> None:
        nonlocal count
        count += at == point
        if count == reached:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(crash_points, "reach", kill)
        with pytest.raises(Killed):
            run(config)
    report = run(config)
    assert report["rows"] == rows(58, 2)
    assert (made.count(METADATA), len(made.log()), sorted(made.rejects())) == (
        58,
        58,
        [("13", REFUSED), ("40", REFUSED)],
    )


def test_a_row_that_is_refused_every_day_does_not_use_up_the_budget_and_a_mended_one_is_written(
    store: Any, settings: Any, run: Any
) -> None:
    made = numbered(store(lambda s: s.add(METADATA, "CHECK (source_doc NOT GLOB '*/[1-3]')")), 9)
    config = settings(made)
    assert run(config, "run-1", max_rows=3)["rows"]["rejected"] == 3
    assert run(config, "run-2", max_rows=3)["rows"]["inserted"] == 3
    made.execute(f"UPDATE {FACTS} SET source_url = 'https://mended.test/' WHERE id = 2")
    assert run(config, "run-3", max_rows=4)["rows"]["inserted"] == 4
    assert "2" in made.metadata()


# -- rows that cannot be read --------------------------------------------------------------------------

JSON_COLUMN = "json_extract(field_value_json, '$.v')"


DECLARED = {"source_url": "TEXT", "created_at": "TEXT", "confidence": "REAL"}


def lacking(column: str) -> Any:
    return lambda s: s.drop_column(FACTS, column)


def with_json(made: Any, count: int, malformed: set[int], column: str, **columns: Any) -> Any:
    """Facts, then a column that is computed from their JSON each time it is read: SQLite adds it unseen."""
    made.add_facts(
        {"id": number, "field_value_json": "{" if number in malformed else "{}", **columns}
        for number in range(1, count + 1)
    )
    return compute(made, column)


def compute(made: Any, column: str) -> Any:
    made.execute(f"ALTER TABLE {FACTS} ADD COLUMN {column} {DECLARED[column]} AS ({JSON_COLUMN}) VIRTUAL")
    return made


@pytest.mark.parametrize("deferred", ["", " DEFERRABLE INITIALLY DEFERRED"])
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize(
    ("table", "column"), [(METADATA, "source_doc TEXT"), (LOG, "notes TEXT"), (METADATA, "fact_id TEXT PRIMARY KEY")]
)
def test_no_row_ever_breaks_a_foreign_key(
    store: Any, settings: Any, run: Any, request: Any, table: str, column: str, is_signed: bool, deferred: str
) -> None:
    if is_signed:
        request.getfixturevalue("signing_key")
    parent = f"{FACTS} (id)" if column.startswith("fact_id") else "am_source (source_url)"
    declared = f"{column} REFERENCES {parent}{deferred}"
    made = numbered(store(lambda s: s.change_column(table, column.split()[0], declared)), 40)
    for number in range(1, 41):
        if number not in (7, 8, 33):
            made.add_source(number, f"https://a.test/{number}")
    config = settings(made, pacing={"chunk_rows": 40, "batch_rows": 16})
    dry = run(config, dry_run=True)
    assert any("a foreign key: a dry run does not foresee" in text for text in dry["absences"])
    report = run(config)
    broken = 3 if column.startswith("source_doc") else 0
    assert report["rows"] == rows(40 - broken, broken)
    assert report["rejects"] == ({REFUSED: 3} if broken else {})
    assert made.execute("PRAGMA foreign_key_check") == []
    details = {detail for (detail,) in made.execute("SELECT detail FROM am_backfill_reject")}
    assert details == ({"FOREIGN KEY constraint failed"} if broken else set())


def test_what_a_dry_run_cannot_foresee_stands_in_its_report(store: Any, settings: Any, run: Any) -> None:
    made = store(texts, lambda s: s.then(f"CREATE UNIQUE INDEX ux ON {METADATA} (lower(fact_id))"))
    made.add_facts([{"id": "a"}, {"id": "b"}])
    made.add_metadata("A", "https://old.test/")
    config = settings(made)
    dry = run(config, dry_run=True)
    assert dry["rows"] == rows(2, 0)
    [said] = [text for text in dry["absences"] if "ux" in text]
    assert said.startswith(METADATA) and "does not foresee a conflict with a row that is there already" in said
    assert run(config)["rows"] == rows(1, 1)


@pytest.mark.parametrize(
    "mutate",
    [
        lambda s: s,
        lambda s: s.replace(METADATA, "CHECK (length(ed25519_sig)", 'check(/* 64 */ LENGTH( "ed25519_sig" )'),
        lambda s: s.drop("ix_am_fact_metadata_source_doc"),
        lambda s: s.table_option(METADATA, "WITHOUT ROWID"),
    ],
)
def test_the_canonical_rules_are_no_rules_of_its_own_however_they_are_spelt(
    store: Any, settings: Any, run: Any, mutate: Any
) -> None:
    made = numbered(store(mutate), 3)
    assert not [text for text in run(settings(made), dry_run=True)["absences"] if "rule of its own" in text]


@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.parametrize("malformed", [{1}, {60}, {24, 25, 26}, {3, 4, 30, 31, 59}, set(range(1, 61))])
@pytest.mark.parametrize("column", ["source_url", "created_at", "confidence"])
def test_a_fact_that_cannot_be_read_is_rejected_and_the_rest_is_written(
    store: Any, settings: Any, run: Any, request: Any, column: str, malformed: set[int], is_signed: bool
) -> None:
    if is_signed:
        request.getfixturevalue("signing_key")
    made = with_json(store(lacking(column)), 60, malformed, column)
    report = rehearsed(run, settings(made, pacing={"chunk_rows": 45, "batch_rows": 25}))
    assert report["rows"] == rows(60 - len(malformed), len(malformed))
    assert report["remaining"] == len(malformed)
    assert sorted(made.rejects()) == sorted((str(number), REFUSED) for number in malformed)
    assert {detail for (detail,) in made.execute("SELECT detail FROM am_backfill_reject")} == {"malformed JSON"}
    again = rehearsed(run, settings(made, pacing={"chunk_rows": 45, "batch_rows": 25}), "run-2")
    assert again["rows"] == rows(0, len(malformed), unchanged=60 - len(malformed))


def test_a_source_that_cannot_be_computed_is_the_fault_of_its_facts(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda s: s.drop_column("am_source", "source_url"))
    made.insert("am_source", [{"id": 1, "license": "1"}, {"id": 2, "license": "{"}])
    made.execute("ALTER TABLE am_source ADD COLUMN source_url TEXT AS (json(license))")
    made.add_facts({"id": number, "source_id": 1 + (number % 5 == 0)} for number in range(1, 21))
    assert rehearsed(run, settings(made, small=True))["rows"] == rows(16, 4)


@pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id TEXT PRIMARY KEY", "id UNIQUE"])
@pytest.mark.parametrize("max_rows", [None, 1000])
def test_planning_and_counting_outlive_a_fact_of_which_nothing_can_be_said(
    store: Any, settings: Any, run: Any, key: str, max_rows: int | None
) -> None:
    """It has metadata without a source: whether it is residual depends on what cannot be read."""
    made = store(lacking("source_url"), lambda s: s.change_column(FACTS, "id", key))
    with_json(made, 30, {2, 15, 16, 30}, "source_url")
    for number in range(1, 31):
        made.add_metadata(str(number), None if number in (2, 9, 15, 16) else "https://old.test/")
    config = settings(made, small=True)
    dry = run(config, dry_run=True, max_rows=max_rows)
    report = run(config, max_rows=max_rows)
    assert report["dry_run"]["matches"] is True
    assert dry["rows"]["rejected"] == report["rows"]["rejected"] == 3
    assert report["rejects"] == {REFUSED: 3}
    assert report["remaining"] == 3
    assert {fact_id for fact_id, _ in made.rejects()} == {"2", "15", "16"}  # what is attested for 30 needs no reading


def test_facts_that_stay_unreadable_do_not_use_up_the_budget_every_day(store: Any, settings: Any, run: Any) -> None:
    made = with_json(store(lacking("confidence")), 9, {1, 2, 3}, "confidence")
    config = settings(made)
    assert run(config, "run-1", max_rows=3)["rows"]["rejected"] == 3
    assert run(config, "run-2", max_rows=3)["rows"]["inserted"] == 3
    made.execute(f"UPDATE {FACTS} SET field_value_json = 'null' WHERE id = 2")
    assert run(config, "run-3", max_rows=4)["rows"]["inserted"] == 4


def test_text_that_is_not_utf8_beside_a_fact_that_cannot_be_read(store: Any, settings: Any, run: Any) -> None:
    made = with_json(store(lacking("confidence")), 20, {5, 15}, "confidence")
    made.execute(f"UPDATE {FACTS} SET source_url = CAST(x'68ff' AS TEXT) WHERE id IN (4, 6, 16)")
    report = rehearsed(run, settings(made, pacing={"batch_rows": 7, "chunk_rows": 20}))
    assert report["rejects"] == {REFUSED: 2, "not_utf8": 3}
    assert report["rows"] == rows(15, 5)


def test_long_values_beside_facts_that_cannot_be_read(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_MOST_BATCH_TEXT", 3000)
    made = store(lacking("confidence"))
    made.add_facts(
        {"id": n, "source_url": "https://" + "x" * 700, "field_value_json": "{" if n % 7 == 0 else "{}"}
        for n in range(1, 61)
    )
    compute(made, "confidence")
    assert rehearsed(run, settings(made))["rows"] == rows(52, 8)


# -- the search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [*range(20), 999, 1000])
def test_the_first_that_cannot_be_read_is_found_in_a_logarithm_of_looks(bad: int) -> None:
    looks = 0

    def cannot(key: Any) -> bool:
        nonlocal looks
        looks += 1
        return bool(key >= bad)

    assert first_unreadable(lambda number: number if number <= 1000 else None, cannot) == bad
    assert looks <= 2 * math.log2(bad + 2) + 2


def test_where_everything_can_be_read_none_is_found() -> None:
    assert first_unreadable(lambda number: number if number < 10 else None, lambda _: False) is None


def test_a_database_that_refuses_whatever_is_left_of_a_batch_stops_the_chunk_with_its_place(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RowRefusedError("a rule refuses the row", words="no", where="database")

    made = numbered(store(), 3)
    config = settings(made, small=True)
    monkeypatch.setattr(SqliteSession, "write_batch", refuse)
    with pytest.raises(
        RowRefusedError, match=r"^chunk 1 .*a rule refuses the row\. It stopped at .* 0 rows written; run"
    ):
        run(config)
    assert made.log() == []
