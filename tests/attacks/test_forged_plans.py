"""Somebody writes a plan, into the state folder or the ledger: it is checked like any input, and signs nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_iso, now_text
from tasks.core.documents import loads
from tasks.core.errors import StateError
from tasks.runs.frozen_plans import read_plan
from tasks.runs.gate import gate_schema
from tasks.runs.plans import Plan, plan_from_json, plan_from_ledger, plan_of, refuse_other_time


@pytest.fixture
def planned(store: Any, settings: Any, paths: Any, signing_key: str) -> Any:
    """(store, settings, paths, plan): 25 facts without a time in 3 chunks, planned and not begun; a key is there."""
    made = store()
    made.add_source(1, "https://a.test/")
    made.add_facts({"id": key, "source_id": 1} for key in range(1, 26))
    config = settings(made, small=True)
    return made, config, paths(config), plan_backfill(config, paths(config), max_rows=None, created_at=now_text())


def digested(content: dict[str, Any]) -> dict[str, Any]:
    """A forged plan with the digest that goes with it, as whoever can read this program can make."""
    import hashlib

    body = {name: value for name, value in content.items() if name != "planning_seconds"} | {"plan_id": ""}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode(errors="replace")).hexdigest()
    return {**content, "plan_id": digest}


def forged(plan: Plan, **changes: Any) -> dict[str, Any]:
    return digested({**plan.as_json(), **changes})


def chunks(plan: Plan, number: int, **changes: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plan.as_json()["chunks"]
    found[number - 1].update(changes)
    return found


def test_a_forged_digest_is_made_as_the_program_makes_it(planned: Any) -> None:
    """Else every forgery below would be refused for its digest alone, and prove nothing."""
    plan = planned[3]
    assert forged(plan) == plan.as_json()
    assert plan_from_json(forged(plan, unchanged_outside=7)) is not None


WRONG: dict[str, Any] = {
    "a time with control characters": lambda p: {"created_at": "2026-11-22T00:00:00.000Z\x1b[2J"},
    "a time with a newline": lambda p: {"created_at": "2026-11-22T00:00:00.000Z\n"},
    "a day that is none": lambda p: {"created_at": "2026-02-30T00:00:00.000Z"},
    "a date alone": lambda p: {"created_at": "2026-11-22"},
    "other digits": lambda p: {"created_at": "２026-11-22T00:00:00.000Z"},
    "no time": lambda p: {"created_at": None},
    "text for a number": lambda p: {"set_aside": "0"},
    "a float for a number": lambda p: {"set_aside": 0.0},
    "true for a number": lambda p: {"unchanged_outside": True},
    "less than nothing": lambda p: {"unchanged_outside": -1},
    "65 bits": lambda p: {"unchanged_outside": 2**64},
    "not a number": lambda p: {"planning_seconds": float("nan")},
    "a budget of nothing": lambda p: {"max_rows": 0},
    "another reason": lambda p: {"stop_reason": "because"},
    "a run id that is a path": lambda p: {"run_id": "../run-1"},
    "a run id with a line more": lambda p: {"run_id": "run-1\n"},
    "no database": lambda p: {"database": ""},
    "a digest that is none": lambda p: {"binding_digest": "x" * 64},
    "a key of 65 bits": lambda p: {"chunks": chunks(p, 3, through=2**64)},
    "a key that is half a character": lambda p: {"chunks": chunks(p, 3, through="\ud800")},
    "a key that is true": lambda p: {"chunks": chunks(p, 3, through=True)},
    "a key that is not a number": lambda p: {"chunks": chunks(p, 3, through={"real": "nan"})},
    "a key that is an object": lambda p: {"chunks": chunks(p, 3, through={"blob_hex": 7})},
    "a chunk without an end": lambda p: {"chunks": chunks(p, 3, through=None)},
    "a chunk that begins behind its end": lambda p: {"chunks": chunks(p, 3, through=5)},
    "an empty chunk": lambda p: {"chunks": chunks(p, 3, after=25)},
    "chunks that overlap": lambda p: {"chunks": chunks(p, 2, after=3)},
    "chunks in another order": lambda p: {"chunks": p.as_json()["chunks"][::-1]},
    "a number twice": lambda p: {"chunks": chunks(p, 2, chunk=1)},
    "text for a chunk's number": lambda p: {"chunks": chunks(p, 2, chunk="2")},
    "residual text": lambda p: {"chunks": chunks(p, 2, residual="5")},
    "no list of chunks": lambda p: {"chunks": {"1": 2}},
    "more chunks than anybody plans": lambda p: {"chunks": [7] * 20_000},
}


@pytest.mark.parametrize("how", WRONG)
def test_a_plan_that_planning_could_not_have_made_is_no_plan(planned: Any, how: str) -> None:
    """In the file it is not followed and written again; in the ledger it ends the run with what is wrong."""
    made, config, where, plan = planned
    content = forged(plan, **WRONG[how](plan))
    with pytest.raises(ValueError, match=r"."):
        plan_of(content)
    where.plan.write_text(json.dumps(content), encoding="utf-8")
    assert read_plan(where, config) is None
    with pytest.raises(StateError, match=r"run run-1: the plan in the ledger is none that this job has made: ."):
        plan_from_ledger(content["plan_id"], json.dumps(content), started_at=now_text(), run_id="run-1")
    assert made.count("am_fact_metadata") == 0


def test_a_file_that_is_no_plan_is_replaced_with_a_word(
    planned: Any, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made, config, where, plan = planned
    where.plan.write_text(json.dumps(forged(plan, set_aside="0")), encoding="utf-8")
    report = run(config)
    assert "plan.json: no plan that could be followed (set_aside: " in caplog.text
    assert report["rows"]["inserted"] == 25
    assert {row["extracted_at"][:4] for row in made.metadata().values()} == {now_text()[:4]}


def moved(days: int) -> str:
    return now_iso(datetime.now(timezone.utc) + timedelta(days=days))


@pytest.mark.parametrize("days", [-10_000, -32, 1, 1_000_000])
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_plan_of_another_time_signs_nothing(planned: Any, paths: Any, days: int, *, dry_run: bool) -> None:
    made, config, _, plan = planned
    where = paths(config, dry_run=dry_run)
    where.plan.write_text(json.dumps(forged(plan, created_at=moved(days))), encoding="utf-8")
    assert read_plan(where, config) is not None
    with pytest.raises(StateError, match=r"its plan says that it was made at .* expected at most 31 days"):
        run_chunk(config, where, 1, progress=lambda _: None)
    for table in ("am_fact_metadata", "am_fact_attestation_log", "am_backfill_run", "am_backfill_chunk"):
        assert made.count(table) == 0


def test_a_plan_is_good_for_some_weeks_of_rehearsing_and_no_longer() -> None:
    plan = Plan(
        run_id="r", created_at="2026-05-12T01:23:45.000Z", database="/d", settings_digest="0" * 64,
        schema_fingerprint="0" * 64, binding_digest="0" * 64, chunks=(),
    )  # fmt: skip
    for started_at in ("2026-05-12T01:23:45.000Z", "2026-06-12T01:23:45.000Z", "2026-05-12T01:18:45.000Z"):
        refuse_other_time(plan, started_at=started_at)
    for started_at in ("2026-06-12T01:23:45.001Z", "2026-05-12T01:18:44.999Z"):
        with pytest.raises(StateError, match="extracted_at of facts without one"):
            refuse_other_time(plan, started_at=started_at)


def plant_run(made: Any, **columns: Any) -> None:
    row = {"run_id": "run-1", "started_at": now_text(), "attester": "x", "host": "h", "pid": 1}
    made.insert("am_backfill_run", [{**row, **columns}])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "it is no JSON"),
        pytest.param("[" * 200_000, "it is no JSON", id="deep list"),
        pytest.param('{"a":' * 200_000, "it is no JSON", id="deep object"),
        ("[]", "it is no JSON object"),
        pytest.param("9" * 5000, "it is no JSON", id="long number"),
        ("{}", "Field required"),
        (b"\x00\xff", "bytes where text"),
    ],
)
def test_what_is_no_plan_in_the_ledger_ends_in_one_message(planned: Any, text: Any, words: str) -> None:
    made, config, where, _ = planned
    where.plan.unlink()
    plant_run(made, plan_id="0" * 64, plan=text)
    with pytest.raises(StateError, match=rf"(?s)run run-1: .*{words}.*Nothing was written\."):
        plan_backfill(config, where, max_rows=None, created_at=now_text())


@pytest.mark.parametrize(
    "columns",
    [{"started_at": "yesterday"}, {"started_at": b"\xff"}, {"plan_id": "\x1b"}, {"finished_at": "2026-02-30"}],
)
def test_a_run_in_the_ledger_that_the_job_did_not_write_ends_in_one_message(planned: Any, columns: Any) -> None:
    made, config, where, plan = planned
    plant_run(made, **{"plan_id": plan.plan_id, "plan": json.dumps(plan.as_json()), **columns})
    with pytest.raises(StateError, match=r"its row in am_backfill_run is none that this job has written"):
        run_chunk(config, where, 1, progress=lambda _: None)
    assert made.count("am_fact_metadata") == 0


def test_text_in_the_ledger_that_is_not_utf_8_ends_in_one_message(planned: Any) -> None:
    made, config, where, plan = planned
    plant_run(made, plan_id=plan.plan_id, plan="x")
    made.execute("UPDATE am_backfill_run SET plan = CAST(x'ff' AS TEXT)")
    where.plan.unlink()
    with pytest.raises(StateError, match=r"none that this job has written"):
        plan_backfill(config, where, max_rows=None, created_at=now_text())


@pytest.mark.parametrize("whose", ["plan", "run", "both"])
def test_a_planted_run_of_another_time_signs_nothing(planned: Any, whose: str) -> None:
    """Plan and run row may agree with each other: they still have to be of this time."""
    made, config, where, plan = planned
    long_ago = "1999-01-01T00:00:00.000Z"
    content = forged(plan, created_at=plan.created_at if whose == "run" else long_ago)
    started_at = now_text() if whose == "plan" else long_ago
    plant_run(made, plan_id=content["plan_id"], plan=json.dumps(content), started_at=started_at)
    where.plan.unlink()
    with pytest.raises(StateError, match=r"its plan says that it was made at"):
        plan_backfill(config, where, max_rows=None, created_at=now_text())
        run_chunk(config, where, 1, progress=lambda _: None)
    assert made.count("am_fact_metadata") == made.count("am_fact_attestation_log") == 0


def test_a_plan_of_another_run_in_the_ledger_is_refused(planned: Any) -> None:
    made, config, where, plan = planned
    plant_run(made, plan_id="0" * 64, plan=json.dumps(plan.as_json()))
    where.plan.unlink()
    with pytest.raises(StateError, match=r"plan_id: the plan is .* the run has '0000"):
        plan_backfill(config, where, max_rows=None, created_at=now_text())


def test_the_command_line_says_it_in_one_message(planned: Any, luigi: Any, signing_key: str) -> None:
    made, config, where, plan = planned
    gate_schema(config, where)
    where.plan.write_text(json.dumps(forged(plan, created_at="1999-01-01T00:00:00.000Z")), encoding="utf-8")
    finished = luigi("Report", settings=config, key=signing_key)
    assert finished.code == 30, finished.output
    assert "its plan says that it was made at 1999-01-01T00:00:00.000Z" in finished.output
    assert "Traceback" not in finished.output
    assert made.count("am_fact_metadata") == 0


def test_a_document_has_a_bound() -> None:
    with pytest.raises(ValueError, match="characters, expected at most"):
        loads('{"a": "' + "x" * 17_000_000 + '"}')
