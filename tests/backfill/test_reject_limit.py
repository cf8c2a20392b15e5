"""A run that rejects nearly everything stops early; one that meets old acquaintances goes on."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.errors import RejectsError

SMALL: dict[str, Any] = {"chunk_rows": 400, "batch_rows": 100}


def fill(made: Any, bad: int, good: int, *, first: int = 1) -> None:
    made.add_facts(
        {"id": first + n, "source_url": "https://a.test/", "created_at": 1_778_502_000 if n < bad else None}
        for n in range(bad + good)
    )


@pytest.mark.parametrize("signed", [False, True])
def test_a_run_that_rejects_nearly_all_stops_and_no_other_chunk_goes_on(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    if signed:
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "11" * 32)
    made = store()
    fill(made, 2000, 100)
    config = settings(made, pacing=SMALL)
    with pytest.raises(RejectsError, match=r"nearly every fact is rejected .created_at_unparseable 1000.: mend that"):
        run(config)
    assert len(made.rejects()) == 1000
    assert made.execute("SELECT state, stop_reason FROM am_backfill_run") == [("stopped", "rejects")]
    with pytest.raises(RejectsError, match=r"chunk 3 .* 1000 of 1000 facts of run run-1 were"):
        run(config)
    assert len(made.rejects()) == 1000


def test_the_same_command_goes_on_once_the_share_is_raised(store: Any, settings: Any, run: Any) -> None:
    made = store()
    fill(made, 1500, 100)
    with pytest.raises(RejectsError):
        run(settings(made, pacing=SMALL))
    report = run(settings(made, pacing={**SMALL, "max_rejects": 1}))
    assert (report["rows"]["inserted"], report["rows"]["rejected"]) == (100, 1500)
    assert made.execute("SELECT state, stop_reason FROM am_backfill_run") == [("done", "complete")]


@pytest.mark.parametrize(("bad", "good", "max_rejects"), [(700, 800, 0.5), (999, 0, 0.0), (1300, 200, 0.9)])
def test_fewer_do_not_stop_a_run(store: Any, settings: Any, run: Any, bad: int, good: int, max_rejects: float) -> None:
    made = store()
    fill(made, 0, good)
    fill(made, bad, 0, first=good + 1)
    pacing = {**SMALL, "max_rejects": max_rejects}
    assert run(settings(made, pacing=pacing))["rows"]["rejected"] == bad


def test_facts_that_stay_wrong_do_not_stop_the_runs_that_come_after(store: Any, settings: Any, run: Any) -> None:
    made = store()
    fill(made, 1500, 100)
    run(settings(made, pacing={**SMALL, "max_rejects": 1}))
    fill(made, 0, 5, first=5000)
    report = run(settings(made, pacing=SMALL), "run-2")
    assert (report["rows"]["inserted"], report["rows"]["rejected"]) == (5, 1500)


def test_a_dry_run_counts_them_all_and_warns(store: Any, settings: Any, run: Any) -> None:
    made = store()
    fill(made, 2000, 0)
    report = run(settings(made, pacing=SMALL), dry_run=True)
    assert report["rejects"] == {"created_at_unparseable": 2000}
    assert any(line.startswith("EVERY FACT") for line in report["warnings"])
