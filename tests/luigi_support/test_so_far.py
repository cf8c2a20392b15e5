"""A run that fails says how far it came, in files and words that nobody takes for its report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import patience
from tasks.core.errors import (
    AND_RUN_AGAIN,
    NOTHING_WRITTEN,
    RUN_AGAIN,
    DiskFullError,
    DriftError,
    LockedError,
    ProvenanceError,
)
from tasks.luigi_support.failures import MayPass
from tasks.report import Report
from tasks.reporting.close import report_is_done
from tasks.reporting.so_far import report_so_far


@pytest.fixture
def blocked(store: Any, settings: Any, paths: Any) -> Any:
    """(store, settings, paths, foreign) of five chunks, of which the second has a marker of another plan."""
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 51))
    config = settings(made, small=True)
    where = paths(config)
    plan_backfill(config, where, max_rows=None, created_at="2026-11-22T00:00:00.000Z")
    foreign = where.marker(2)
    foreign.parent.mkdir(parents=True, mode=0o700)
    foreign.write_text(json.dumps({"plan_id": "0" * 64, "chunk": 2}), encoding="utf-8")
    return made, config, where, foreign


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_fails_prints_and_writes_its_summary_so_far(blocked: Any, luigi: Any, workers: str) -> None:
    store, config, paths, foreign = blocked
    failed = luigi("Report", "--workers", workers, settings=config)
    assert failed.code == 30
    assert "run run-1 (live run): NOT COMPLETE." in failed.stdout
    assert "facts so far: inserted 40, updated 0, rejected 0; 40 of 50 that are residual" in failed.stdout
    assert "chunks: 4 of 5 done" in failed.stdout
    assert failed.stdout.splitlines()[-1] == f"report so far: {paths.so_far}"
    content = json.loads(paths.so_far.read_text(encoding="utf-8"))
    assert (content["complete"], content["settled"], content["chunks_done"]) == (False, 40, 4)
    assert [c["chunk"] for c in content["chunks"] if c["state"] == "waiting"] == [2]
    assert paths.so_far.with_suffix(".md").read_text(encoding="utf-8").startswith("# NOT COMPLETE: run run-1")
    assert not paths.report.exists()
    assert report_is_done(config, paths, None) is False

    foreign.unlink()
    finished = luigi("Report", "--workers", workers, settings=config)
    assert finished.code == 0, finished.output
    assert "NOT COMPLETE" not in finished.stdout
    assert not paths.so_far.exists() and not paths.so_far.with_suffix(".md").exists()
    assert store.count("am_fact_metadata") == 50


def test_a_run_that_never_began_says_nothing_more(store: Any, settings: Any, paths: Any) -> None:
    config = settings(store())
    assert report_so_far(config, paths(config)) == ""
    plan_backfill(config, paths(config), max_rows=None, created_at="2026-11-22T00:00:00.000Z")
    assert report_so_far(config, paths(config)) == ""
    assert not paths(config).so_far.exists()


def test_the_box_of_the_page_begins_with_what_to_do(store: Any, settings: Any) -> None:
    task = Report(job=settings(store()).job_file)
    locked = task.on_failure(LockedError("chunk 3 (20, 30]: database is locked by another writer for 30 s."))
    assert isinstance(locked, MayPass)
    assert locked[:80] == "Run the same command again. chunk 3 (20, 30]: database is locked by another writ"
    drift = task.on_failure(DriftError("/a/very/long/way/to/job.yaml line 3: no column.\nNothing was written."))
    assert drift.startswith("…/job.yaml line 3: no column.\n\n/a/very/long/way/to/job.yaml line 3")
    url = task.on_failure(DriftError("found 'https://a.test/b/c'"))
    assert url.startswith("found 'https://a.test/b/c'")


@pytest.mark.parametrize(
    "error",
    [
        LockedError("locked by another writer", written=NOTHING_WRITTEN, again=RUN_AGAIN, advice_last=True),
        DiskFullError("the disk is full", hint="Free some space", again=AND_RUN_AGAIN),
        LockedError(
            "locked", where="chunk 3", written="It stopped at 5", advice_last=True,
            again="; run the same command again once that is mended, it continues from there",
        ),
    ],
)  # fmt: skip
def test_who_tries_again_by_himself_does_not_tell_the_reader_to(
    error: ProvenanceError, monkeypatch: Any, caplog: Any
) -> None:
    outcomes = [error]

    def attempt() -> None:
        if outcomes:
            raise outcomes.pop()

    assert "the same command again" in str(error)
    monkeypatch.setattr(patience, "PAUSE", 0)
    with caplog.at_level("WARNING", logger="luigi-interface"):
        patience.patiently(attempt)
    (said,) = caplog.messages
    assert "Trying again in 0 s (attempt 2 of 3)." in said
    assert "the same command again" not in said
