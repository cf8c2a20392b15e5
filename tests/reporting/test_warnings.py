"""What the gate and the printed summary warn of."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.core.clock import now_iso, utc_now
from tasks.job.paths import RunPaths
from tasks.reporting.close import close_run
from tasks.runs.gate import gate_schema

SAMPLE = "provenance-backfill/sample"


@pytest.fixture
def warned(run: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """`warned(settings, text)`: whether gate, report.json and report.md of a dry run all say it, or none does."""

    def look(config: Any, text: str, **options: Any) -> bool:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="luigi-interface"):
            report = run(config, **options)
        where = RunPaths(Path(config.state_dir), "run-1", options.get("dry_run", False))
        found = {any(text in line for line in report["warnings"]), text in where.report_markdown.read_text("utf-8")}
        assert len(found) == 1, "the two reports differ"
        return found.pop()

    return look


def fill(made: Any, created_at: Any = "2026-05-11 12:36:49", source_url: Any = "https://a.test/") -> None:
    made.add_facts({"id": key, "source_url": source_url, "created_at": created_at} for key in range(1, 9))


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_key_name_of_the_sample_on_another_store_is_warned_of(
    store: Any, settings: Any, warned: Any, signing_key: str, dry_run: bool
) -> None:
    made = store()
    fill(made)
    assert warned(settings(made), "key name of the sample", dry_run=dry_run)


def test_a_name_of_ones_own_the_sample_itself_and_no_key_are_not_warned_of(
    store: Any, settings: Any, warned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store()
    fill(made)
    assert not warned(settings(made), "of the sample")
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "11" * 32)
    own = store(name="own.db")
    fill(own)
    assert not warned(settings(own, state_dir="own", signing={"key_name": "example.org/facts"}), "of the sample")
    sample = store(name="sample.db")
    fill(sample)
    Path(f"{sample.path}.sample.json").write_text("{}")
    assert not warned(settings(sample, state_dir="sample"), "of the sample")


def test_a_log_name_of_the_sample_on_another_store_is_warned_of(
    store: Any, settings: Any, warned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", "22" * 32)
    made = store()
    fill(made)
    assert warned(settings(made), "the log is sealed under the name of the sample's")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_store_without_any_source_is_warned_of(store: Any, settings: Any, warned: Any, dry_run: bool) -> None:
    made = store()
    fill(made, source_url="\u200b")
    assert warned(settings(made), "NO FACT OF THIS STORE HAS A SOURCE", dry_run=dry_run)


def test_one_source_is_enough(store: Any, settings: Any, warned: Any) -> None:
    made = store()
    fill(made, source_url=None)
    made.add_fact(9, source_url="https://a.test/")
    assert not warned(settings(made), "SOURCE")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_run_that_rejects_everything_is_warned_of(store: Any, settings: Any, warned: Any, dry_run: bool) -> None:
    made = store()
    fill(made, created_at="soon")
    assert warned(settings(made), "EVERY FACT that was not done already was rejected: created", dry_run=dry_run)


@pytest.mark.parametrize(("mode", "is_warned"), [("wal", False), ("delete", True), ("truncate", True)])
def test_a_journal_that_blocks_readers_is_warned_of(
    store: Any, settings: Any, warned: Any, mode: str, is_warned: bool
) -> None:
    made = store(journal_mode=mode)
    fill(made)
    assert warned(settings(made), "journal mode is delete") == is_warned  # truncate is a connection's own, not a file's


@pytest.mark.parametrize(
    ("created_at", "created_at_as", "seen"),
    [
        (1_778_502_000, "text", "unix_seconds"),
        (1_778_502_000_000, "text", "unix_milliseconds"),
        ("2026-05-11", "unix_seconds", "text"),
        (1_778_502_000_000, "unix_seconds", "unix_milliseconds"),
    ],
)
def test_times_that_contradict_the_job_file_are_warned_of(
    store: Any, settings: Any, warned: Any, created_at: Any, created_at_as: str, seen: str
) -> None:
    made = store()
    fill(made, created_at=created_at)
    made.add_fact(9)
    config = settings(made, derivation={"created_at_as": created_at_as})
    assert warned(config, "looks like", dry_run=True)
    right = settings(made, state_dir="right", derivation={"created_at_as": seen})
    assert not warned(right, "looks like", dry_run=True)


def test_the_gate_alone_says_it_too(
    store: Any, settings: Any, caplog: pytest.LogCaptureFixture, signing_key: str
) -> None:
    made = store(journal_mode="delete")
    fill(made, created_at=1_778_502_000)
    config = settings(made)
    with caplog.at_level(logging.WARNING, logger="luigi-interface"):
        gate_schema(config, RunPaths(Path(config.state_dir), "run-1", True))
    said = "\n".join(record.getMessage() for record in caplog.records)
    for text in (
        "key name of the sample",
        "journal mode is delete",
        "looks like unix_seconds in 8 of 8 facts",
    ):
        assert text in said


def test_the_printed_summary_has_the_warnings_first(
    store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store(journal_mode="delete")
    fill(made)
    config = settings(made)
    run(config)
    lines = close_run(config, RunPaths(Path(config.state_dir), "run-1", False)).splitlines()
    assert lines[1].startswith("  WARNING: the database's journal mode is delete")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_clock_that_was_set_back_between_plan_and_signatures_is_warned_of(
    store: Any, settings: Any, warned: Any, dry_run: bool
) -> None:
    made = store()
    fill(made)
    ahead = now_iso(utc_now() + timedelta(minutes=3))
    assert warned(settings(made), "a clock was set back between", created_at=ahead, dry_run=dry_run)


def test_a_clock_that_goes_on_is_not_warned_of(store: Any, settings: Any, warned: Any) -> None:
    made = store()
    fill(made)
    assert not warned(settings(made), "a clock was set back between", created_at=now_iso(utc_now()))


def test_a_chunk_says_as_it_begins_that_the_clock_was_set_back(
    store: Any, settings: Any, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = store()
    fill(made)
    run(settings(made), created_at=now_iso(utc_now() + timedelta(minutes=3)))
    assert any("chunk 1" in line and "a clock was set back between" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("created_at", "said"),
    [
        ("2026-05-11", "times: of 8 facts with a created_at, text in 8; it is read as text"),
        (1_778_502_000, "times: of 8 facts with a created_at, unix_seconds in 8; it is read as text"),
        ("soon", "times: of 8 facts with a created_at, no time that is known in 8; it is read as text"),
        (None, "times: no fact of the sample has a created_at, it is read as text"),
    ],
)
def test_the_gate_always_says_how_times_are_written(
    store: Any, settings: Any, caplog: pytest.LogCaptureFixture, created_at: Any, said: str
) -> None:
    made = store()
    fill(made, created_at=created_at)
    config = settings(made)
    with caplog.at_level(logging.INFO, logger="luigi-interface"):
        gate_schema(config, RunPaths(Path(config.state_dir), "run-1", True))
    assert said in [record.getMessage() for record in caplog.records]
