"""Attested facts that are no longer what was attested are counted and shown, whatever happened to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from tasks.cli.main import main
from tasks.derivation.stale import StaleFact
from tasks.reporting import fresh_counts
from tasks.rows.stale import count_stale, stale_facts
from tasks.stores.sqlite.session import open_session

OLD, NEW = "https://example.test/old", "https://example.test/new"
TIMES = [
    "2026-05-12 01:23:45", "2026-05-12T01:23:45", "2026-05-12T01:23:45Z", "2026-05-12T01:23:45.250Z", "2026-05-12",
    "2026-05-12 01:23", "2026-05-12 01:23:45.5", "2026-05-12 01:23:45+09:00", "2026-05-12 01:23:45.123456", None,
]  # fmt: skip


def found(config: Any) -> list[StaleFact]:
    with open_session(config, write=False) as session:
        return sorted(stale_facts(session, config.derivation.rules("")), key=lambda fact: fact.fact_id)


@pytest.fixture
def attested(store: Any, settings: Any, run: Any) -> Any:
    """(store, settings) of facts of every kind that are attested, and one that nobody ever logged."""
    made = store()
    made.add_source(1, OLD)
    made.add_facts({"id": number, "source_url": OLD, "created_at": time} for number, time in enumerate(TIMES, 1))
    made.add_facts([{"id": 20, "source_id": 1}, {"id": 21}, {"id": 22, "source_url": " ", "source_id": 1}])
    made.add_fact(30, source_url=NEW)
    made.add_metadata("30", OLD)
    config = settings(made)
    run(config)
    return made, config


def test_what_is_as_it_was_attested_is_not_stale(attested: Any) -> None:
    assert found(attested[1]) == []


@pytest.mark.parametrize("number", range(1, len(TIMES)))
def test_a_time_that_moved_is_told_whatever_its_spelling(attested: Any, number: int) -> None:
    made, config = attested
    made.execute("UPDATE am_entity_facts SET created_at = '2026-06-01 00:00:00' WHERE id = ?", number)
    [fact] = found(config)
    assert (fact.fact_id, fact.column, fact.now) == (str(number), "extracted_at", "'2026-06-01T00:00:00.000Z'")


@pytest.mark.parametrize(
    "created_at", ["2026-05-12 01:23:45+09:00", "2026-05-12 01:23:46", "2026-05-12", "2026-05-12 01:23:45.001Z"]
)
def test_a_time_that_looks_alike_is_another(attested: Any, created_at: str) -> None:
    made, config = attested
    made.execute("UPDATE am_entity_facts SET created_at = ? WHERE id = 1", created_at)
    assert [fact.fact_id for fact in found(config)] == ["1"]


def test_another_spelling_of_the_same_time_is_the_same(attested: Any) -> None:
    made, config = attested
    made.execute("UPDATE am_entity_facts SET created_at = '2026-05-12 10:23:45+09:00' WHERE id = 1")
    assert found(config) == []


@pytest.mark.parametrize(
    ("change", "now"),
    [
        (f"UPDATE am_entity_facts SET source_url = '{NEW}' WHERE id = 1", repr(NEW)),
        ("UPDATE am_entity_facts SET source_url = NULL WHERE id = 1", "None"),
        ("UPDATE am_entity_facts SET source_url = ' ' WHERE id = 1", "None"),
        (f"UPDATE am_source SET source_url = '{NEW}' WHERE id = 1", repr(NEW)),
        ("UPDATE am_entity_facts SET source_url = x'00' WHERE id = 1", "source_not_text: source: b'\\x00'"),
    ],
)
def test_a_source_that_moved_is_told_with_what_was_attested(attested: Any, change: str, now: str) -> None:
    made, config = attested
    made.execute(change)
    stale = found(config)
    assert [fact.fact_id for fact in stale] == (["20", "22"] if "am_source SET" in change else ["1"])
    assert all((fact.now, OLD in fact.attested) == (now, True) for fact in stale)


def test_another_fact_under_a_used_id_is_told(store: Any, settings: Any, run: Any) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id INTEGER PRIMARY KEY"))
    made.add_facts([{"id": None, "source_url": OLD}])
    config = settings(made)
    warned = " ".join(run(config)["absences"])
    assert 'am_entity_facts: "id" is used again' in warned
    made.execute("DELETE FROM am_entity_facts")
    made.add_fact(None, source_url=NEW, entity_id="houjin:2")
    report = run(config, "second")
    assert report["rows"]["unchanged"] == 1
    assert report["stale"] == {
        "count": 1,
        "sample": [{"fact_id": "1", "column": "source_doc", "attested": repr(OLD), "now": repr(NEW)}],
    }


def test_ids_that_are_never_used_again_are_not_warned_of(attested: Any) -> None:
    with open_session(attested[1], write=False) as session:
        assert "is used again" not in " ".join(session.binding.absences)


@pytest.mark.parametrize("declared", ["id TEXT PRIMARY KEY", "id UNIQUE"])
def test_facts_with_other_keys_are_compared_too(store: Any, settings: Any, run: Any, declared: str) -> None:
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", declared))
    made.add_facts([{"id": "事実", "source_url": OLD}, {"id": "7", "source_url": OLD}, {"id": "8", "source_url": OLD}])
    config = settings(made)
    run(config)
    assert found(config) == []
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id <> '8'", NEW)
    assert [fact.fact_id for fact in found(config)] == ["7", "事実"]


def test_all_are_counted_and_some_are_shown(store: Any, settings: Any, run: Any) -> None:
    made = store()
    made.add_facts({"id": key, "source_url": OLD} for key in range(1, 31))
    config = settings(made)
    run(config)
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    with open_session(config, write=False) as session:
        stale = count_stale(session, config.derivation.rules(""))
    assert (stale.count, len(stale.sample)) == (30, 20)


def test_a_report_says_when_they_are_not_counted(store: Any, settings: Any, run: Any, paths: Any) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}])
    config = settings(made, reporting={"count_stale": False})
    run(config)
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    assert run(config, "second")["stale"] is None
    assert "not counted" in paths(config, "second").report_markdown.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["live", "dry-run"])
def test_the_report_tells_people_of_them(
    store: Any, settings: Any, run: Any, paths: Any, capsys: Any, mode: str
) -> None:
    made = store()
    made.add_facts([{"id": 1, "source_url": OLD}])
    config = settings(made)
    run(config)
    assert "## Stale" not in paths(config).report_markdown.read_text(encoding="utf-8")
    made.execute("UPDATE am_entity_facts SET source_url = ?", NEW)
    run(config, "second", dry_run=mode == "dry-run")
    told = paths(config, "second", dry_run=mode == "dry-run").report_markdown.read_text(encoding="utf-8")
    assert "stale: 1 attested facts" in told
    assert "| 1 | source\\_doc |" in told


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_line_lists_them_all(attested: Any, as_json: bool) -> None:
    made, config = attested
    arguments = ["verify", "--job", config.job_file, "--against-facts", *(["--json"] if as_json else [])]
    clean = CliRunner().invoke(main, arguments)
    assert clean.exit_code == 0, clean.output
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id IN (1, 2)", f"{NEW}\x1b[2J")
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 1
    assert "\x1b" not in told.output
    if as_json:
        assert json.loads(clean.output)["facts"] == []
        content = json.loads(told.output)
        assert (content["stale"], [fact["fact_id"] for fact in content["facts"]]) == (2, ["1", "2"])
    else:
        assert "2 attested facts are no longer what was attested" in told.output


def test_a_run_that_inserts_every_fact_looks_for_no_stale_ones_and_any_other_does(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    monkeypatch.setattr(fresh_counts, "count_stale", lambda *given: looks.append(given) or count_stale(*given))
    made = store()
    made.add_facts({"id": number, "source_url": OLD, "created_at": "2026-05-12"} for number in range(1, 4))
    config = settings(made)
    assert run(config, dry_run=True)["stale"] == run(config)["stale"] == {"count": 0, "sample": []}
    assert not looks
    made.add_fact(4, source_url=OLD)
    made.execute("UPDATE am_entity_facts SET source_url = ? WHERE id = 2", NEW)
    assert run(config, "run-2")["stale"]["count"] == 1
    made.add_fact(5, source_url=OLD)
    assert run(config, "run-3", max_rows=1)["stale"]["count"] == 1
    assert len(looks) == 2
