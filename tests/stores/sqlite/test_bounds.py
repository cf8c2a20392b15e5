"""A value that is too long is rejected for its length, which SQL knows without reading it."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from tasks.core.values import TooLong
from tasks.stores.sqlite.session import SqliteSession, open_session

LONG_SOURCE, LONG_VALUE = "x" * 65_537, "1" * 1_025
LONGEST_SOURCE, LONGEST_VALUE = "x" * 65_536, "2026-05-11 12:36:49." + "1" * 1_004
MODES = ["unsigned", "signed", "dry run", "budget", "dry run with a budget"]


def configured(mode: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if mode == "signed":
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "11" * 32)
    return {"dry_run": "dry run" in mode, "max_rows": 1000 if "budget" in mode else None}


@pytest.mark.parametrize("mode", MODES)
def test_a_value_of_a_fact_may_be_as_long_as_its_bound_and_no_longer(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    made = store()
    made.add_source(1, LONG_SOURCE)
    made.add_source(2, "y" * 65_536)
    made.add_facts([
        {"id": 1, "source_url": LONGEST_SOURCE}, {"id": 2, "source_url": LONG_SOURCE}, {"id": 3, "source_id": 1},
        {"id": 4, "source_id": 2}, {"id": 5, "source_url": "https://a.test/", "source_id": 1},
        {"id": 6, "created_at": LONGEST_VALUE}, {"id": 7, "created_at": LONGEST_VALUE + "1"},
        {"id": 8, "confidence": "0." + "1" * 1_022 + "x"}, {"id": 9, "confidence": "h" * 1_024},
        {"id": 10, "source_url": b"\0" * 65_537}, {"id": 11, "source_url": "\0" * 65_537},
        {"id": 12, "source_url": " " * 65_537}, {"id": 13, "source_url": "法" * 21_846},
        {"id": 14, "confidence": b"\0" * 1_025},
    ])  # fmt: skip
    made.execute(
        "INSERT INTO am_entity_facts (id, entity_id, field_name, source_url) "
        "VALUES (15, 'e', 'f', CAST(zeroblob(65536) || x'ff' AS TEXT))"
    )
    report = run(settings(made), **configured(mode, monkeypatch))
    assert report["rejects"] == {"too_long": 10}
    assert (report["rows"]["inserted"], report["rows"]["rejected"]) == (5, 10)
    if "dry run" not in mode:
        assert sorted(made.rejects()) == sorted((str(n), "too_long") for n in (2, 3, 7, 8, 10, 11, 12, 13, 14, 15))
        details = dict(made.execute("SELECT fact_id, detail FROM am_backfill_reject"))
        assert details["2"] == details["3"] == "source: 65537 bytes, at most 65536"
        assert details["7"] == "created_at: 1025 bytes, at most 1024"
        assert report["remaining"] == 10


@pytest.mark.parametrize("has_source", [False, True])
def test_metadata_without_a_source_is_not_updated_with_one_that_is_too_long(
    store: Any, settings: Any, run: Any, has_source: bool
) -> None:
    made = store()
    made.add_source(1, LONG_SOURCE)
    made.add_facts([{"id": 1, "source_url": LONG_SOURCE}, {"id": 2, "source_id": 1}])
    for key in ("1", "2"):
        made.add_metadata(key, "https://old.test/" if has_source else None)
    rows = run(settings(made))["rows"]
    assert (rows["rejected"], rows["unchanged"]) == ((0, 2) if has_source else (2, 0))


def test_the_bounds_are_settings(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": "x" * 1_001}, {"id": 2, "created_at": LONG_VALUE}])
    wide = {"longest_source_bytes": 1_000, "longest_value_bytes": 2_000}
    assert run(settings(made, derivation=wide))["rejects"] == {"created_at_unparseable": 1, "too_long": 1}


@pytest.mark.parametrize("declared", ["id TEXT PRIMARY KEY", "id UNIQUE"])
@pytest.mark.parametrize("mode", MODES)
def test_a_fact_whose_key_is_too_long_is_rejected_and_bounds_nothing(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, declared: str, mode: str
) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", declared))
    long_keys = [prefix + "k" * 1_024 for prefix in ("a", "m", "mm", "z", "zz")]
    made.add_facts({"id": key, "source_url": "https://a.test/"} for key in [*"abcmyz", "n" * 1_024, *long_keys])
    options = configured(mode, monkeypatch)
    report = run(settings(made, small=True, pacing={"chunk_rows": 3, "batch_rows": 2}), **options)
    rejected = 0 if "budget" in mode else 5
    assert report["rows"] == {
        "eligible": 7 + rejected, "inserted": 7, "updated": 0, "unchanged": 0, "rejected": rejected,
    }  # fmt: skip
    assert report["rejects"] == ({"too_long": 5} if rejected else {})
    assert all(len(str(chunk["through"])) <= 1_024 for chunk in report["chunks"])
    if "dry run" not in mode:
        assert report["remaining"] == 5
        assert set(made.metadata()) == {*"abcmyz", "n" * 1_024}
    if mode == "unsigned":
        sql = "SELECT DISTINCT fact_id, detail FROM am_backfill_reject ORDER BY 1"
        assert made.execute(sql) == [
            ("(a key of 1025 bytes)", "key: 1025 bytes, at most 1024"),
            ("(a key of 1026 bytes)", "key: 1026 bytes, at most 1024"),
        ]


@pytest.mark.parametrize("mode", MODES)
def test_one_huge_fact_is_never_read(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """On connections that can hold no value of more than a megabyte, from planning to the closing counts."""
    made = store()
    made.add_facts({"id": key, "source_url": f"https://a.test/{key}"} for key in range(1, 9))
    huge = "CAST(zeroblob(8000000) AS TEXT)"
    made.execute(f"INSERT INTO am_source (id, source_url) VALUES (1, {huge})")
    made.execute(f"UPDATE am_entity_facts SET source_url = {huge} WHERE id = 3")
    made.execute(f"UPDATE am_entity_facts SET created_at = {huge} WHERE id = 4")
    made.execute("UPDATE am_entity_facts SET source_url = NULL, source_id = 1 WHERE id IN (5, 6)")
    made.add_metadata("6")
    begin = SqliteSession.__init__

    def with_a_low_limit(session: SqliteSession, connection: apsw.Connection, *given: Any) -> None:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, 2**20)
        begin(session, connection, *given)

    monkeypatch.setattr(SqliteSession, "__init__", with_a_low_limit)
    report = run(settings(made), **configured(mode, monkeypatch))
    assert report["rejects"] == {"too_long": 4}
    assert report["rows"]["inserted"] == 4


def test_a_value_that_is_too_long_comes_as_its_length(store: Any, settings: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": LONG_SOURCE}, {"id": 2, "created_at": LONG_VALUE}, {"id": 3}])
    asked: dict[str, Any] = {"after": None, "through": 3, "limit": 10, "with_set_aside": False}
    with open_session(settings(made), write=False) as session:
        for batch in (session.read_batch(**asked), session.tally_batch(**asked)):
            found = {fact[0]: fact[1:4] for fact in batch.facts}
            assert found[1] == (TooLong(65_537), None, None)
            assert found[2] == (None, None, TooLong(1_025))
