"""Somebody without a key writes into state folder or ledger: nothing there ends a run, or says that it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.backfill.attempt import run_chunk
from tasks.core.errors import StateError
from tasks.reporting.close import close_run, report_is_done
from tasks.runs import ledger
from tasks.runs.markers import all_chunks_done, chunk_is_done
from tasks.runs.plans import Plan
from tasks.sealed_log.seal import is_sealed, read_seal, seal_run
from tasks.stores.open import open_store

LOG_KEY = "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
FACTS = 25  # three chunks


def chunk(planned: Any, number: int) -> None:
    _, config, where, _ = planned
    run_chunk(config, where, number, progress=lambda _: None)


def plant(path: Path, content: Any) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def plant_marker(where: Any, plan: Plan, number: int) -> None:
    plant(where.marker(number), {"plan_id": plan.plan_id, "chunk": number, "rows": {"eligible": 10}, "seconds": 1})


def plant_report(where: Any, plan: Plan) -> None:
    plant(where.report, {"plan_id": plan.plan_id, "run_id": plan.run_id, "mode": "live", "stop_reason": "complete"})
    where.report_markdown.write_text("# All is well\n", encoding="utf-8")


# -- markers -----------------------------------------------------------------------------------------


def test_a_forged_marker_is_not_believed_and_its_chunk_is_run(planned: Any, run: Any) -> None:
    made, config, where, plan = planned
    chunk(planned, 1)
    for number in (2, 3):
        plant_marker(where, plan, number)
    assert [chunk_is_done(config, where, number) for number in (1, 2, 3)] == [True, False, False]
    assert not all_chunks_done(config, plan, where)
    report = run(config)
    assert report["rows"]["inserted"] == made.count("am_fact_metadata") == FACTS - 1
    assert all_chunks_done(config, plan, where)
    assert json.loads(where.marker(2).read_text(encoding="utf-8"))["rows"]["inserted"] == 10


def test_forged_markers_of_a_run_that_never_began_end_in_one_message(planned: Any) -> None:
    made, config, where, plan = planned
    plant_marker(where, plan, 1)
    assert not chunk_is_done(config, where, 1)
    with pytest.raises(StateError, match=r"the ledger of .* does not know it: the database was replaced or restored"):
        chunk(planned, 1)
    assert made.count("am_fact_metadata") == 0


def test_the_ledger_is_asked_once_however_many_chunks_are(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, config, where, plan = planned
    for number in (1, 2, 3):
        chunk(planned, number)
    opened: list[Any] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append(arguments)
        return open_store(*arguments, **options)

    monkeypatch.setattr(ledger, "open_store", counted)
    for _ in range(100):
        assert all(chunk_is_done(config, where, number) for number in (1, 2, 3))
        assert all_chunks_done(config, plan, where)
    assert len(opened) == 1


# -- report.json -------------------------------------------------------------------------------------


def test_a_forged_report_does_not_end_a_run(planned: Any, luigi: Any, signing_key: str) -> None:
    made, config, where, plan = planned
    chunk(planned, 1)
    plant_report(where, plan)
    assert not report_is_done(config, where, None)
    finished = luigi("Report", settings=config, key=signing_key)
    assert finished.code == 0, finished.output
    assert made.count("am_fact_metadata") == FACTS - 1
    assert json.loads(where.report.read_text(encoding="utf-8"))["rows"]["eligible"] == FACTS
    assert report_is_done(config, where, None)


@pytest.mark.parametrize("content", [[], 7, "text", {"plan_id": 7}, {"plan_id": ["x"]}, {}])
def test_a_report_that_is_none_is_no_report(planned: Any, content: Any) -> None:
    _, config, where, plan = planned
    plant_report(where, plan)
    plant(where.report, content)
    assert not report_is_done(config, where, None)


# -- seal.json ---------------------------------------------------------------------------------------

SEAL = {"state": "sealed", "tree_size": 2994, "root": "ab" * 32, "unsealed_rows": 0, "checkpoint_file": "x",
        "new_leaves": 2994, "seconds": 0.1}  # fmt: skip


@pytest.mark.parametrize(
    "forged",
    [SEAL, {**SEAL, "tree_size": 0, "root": None}, {**SEAL, "tree_size": "24"}, {**SEAL, "root": "<b>"},
     {**SEAL, "state": "dry_run"}, {**SEAL, "unsealed_rows": -1}, {"state": "sealed"}],
)  # fmt: skip
def test_a_forged_seal_is_not_believed_and_the_log_is_sealed(
    planned: Any, run: Any, monkeypatch: pytest.MonkeyPatch, forged: Any
) -> None:
    monkeypatch.setenv(LOG_KEY, "07" * 32)
    made, config, where, _ = planned
    run(config, "earlier", max_rows=3)
    plant(where.seal, forged)
    assert not is_sealed(config, where)
    with pytest.raises(StateError, match=r"seal\.json: (missing or torn|the database holds no such checkpoint)"):
        read_seal(config, where)
    report = run(config)
    assert report["sealed"]["tree_size"] == made.count("am_fact_attestation_log")
    assert report["sealed"]["unsealed_rows"] == 0


@pytest.mark.parametrize("before", ["the run", "its last chunks", "its close"])
def test_the_seal_of_an_earlier_run_is_none_of_this_one(
    planned: Any, run: Any, paths: Any, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setenv(LOG_KEY, "07" * 32)
    made, config, where, _ = planned
    run(config, "earlier", max_rows=3)
    genuine = json.loads(paths(config, "earlier").seal.read_text(encoding="utf-8"))
    if before == "the run":
        plant(where.seal, genuine)
    for number in (1, 2, 3):
        if (before, number) == ("its last chunks", 2):
            plant(where.seal, genuine)
        chunk(planned, number)
    if before == "its close":
        seal_run(config, where)
        plant(where.seal, genuine)
    assert not is_sealed(config, where)
    with pytest.raises(StateError, match=r"the database holds no such checkpoint over all that the run wrote"):
        close_run(config, where)
    assert run(config)["sealed"]["tree_size"] == made.count("am_fact_attestation_log")


def test_a_seal_of_nothing_does_not_count_once_the_run_has_logged(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOG_KEY, "07" * 32)
    _, config, where, _ = planned
    plant(where.seal, {**SEAL, "tree_size": 0, "root": None})
    assert is_sealed(config, where)
    chunk(planned, 1)
    assert not is_sealed(config, where)


def test_a_seal_without_a_key_is_counted_afresh(planned: Any, run: Any) -> None:
    _, config, where, _ = planned
    plant(where.seal, {**SEAL, "state": "no_key", "unsealed_rows": 0})
    sealed = run(config)["sealed"]
    assert (sealed["state"], sealed["tree_size"], sealed["unsealed_rows"]) == ("no_key", 0, FACTS - 1)


# -- a plan of nothing -------------------------------------------------------------------------------


def plant_empty_plan(where: Any, plan: Plan, outside: int) -> Plan:
    from dataclasses import replace

    empty = replace(plan, chunks=(), unchanged_outside=outside)
    plant(where.plan, empty.as_json())
    return empty


@pytest.mark.parametrize("outside", [0, FACTS, 3000])
@pytest.mark.parametrize("with_report", [False, True])
def test_a_plan_of_nothing_does_not_complete_a_run_over_residual_facts(
    planned: Any, luigi: Any, outside: int, *, with_report: bool
) -> None:
    made, config, where, plan = planned
    empty = plant_empty_plan(where, plan, outside)
    if with_report:
        plant_report(where, empty)
    finished = luigi("Report", settings=config)
    assert finished.code == 30, finished.output
    assert "run run-1 is NOT COMPLETE: 24 facts, the first '1', are residual, though its plan says" in finished.output
    assert "Traceback" not in finished.output
    assert made.count("am_fact_metadata") == 0
    assert luigi("Report", settings=config, run_id="run-2").code == 0
    assert made.count("am_fact_metadata") == FACTS - 1


def test_a_plan_that_ends_early_does_not_complete_a_run(planned: Any, run: Any) -> None:
    from dataclasses import replace

    _, config, where, plan = planned
    short = replace(plan, chunks=plan.chunks[:1], unchanged_outside=FACTS - 10)
    plant(where.plan, short.as_json())
    with pytest.raises(
        StateError, match=r"NOT COMPLETE: 15 facts, the first '11', are residual, though the ledger calls"
    ):
        run(config)
    assert not where.report.exists()
