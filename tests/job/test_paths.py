"""Where a run keeps its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import ParameterError
from tasks.job.paths import RunPaths

STATE = Path("state")


def test_the_files_of_a_run_lie_where_the_documents_say() -> None:
    live, dry = RunPaths(STATE, "2026-11-22", dry_run=False), RunPaths(STATE, "2026-11-22", dry_run=True)
    assert str(live.schema) == "state/2026-11-22/schema.json"
    assert str(live.plan) == "state/2026-11-22/plan.json"
    assert str(live.marker(17)) == "state/2026-11-22/live/chunks/chunk-000017.json"
    assert str(dry.marker(17)) == "state/2026-11-22/dry-run/chunks/chunk-000017.json"
    assert str(live.report) == "state/2026-11-22/live/report.json"
    assert str(dry.report_markdown) == "state/2026-11-22/dry-run/report.md"


def test_dry_and_live_run_share_the_plan_and_nothing_that_tells_what_is_done() -> None:
    live, dry = RunPaths(STATE, "r", dry_run=False), RunPaths(STATE, "r", dry_run=True)
    assert (live.plan, live.schema) == (dry.plan, dry.schema)
    assert live.marker(1) != dry.marker(1)
    assert live.report != dry.report
    assert (live.mode, dry.mode) == ("live", "dry-run")
    assert live.of_mode(dry_run=True) == dry


def test_asking_for_paths_creates_nothing(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "state", "r", dry_run=False)
    _ = paths.schema, paths.plan, paths.marker(1), paths.report, paths.report_markdown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("run_id", ["checkpoints", "payload-digests"])
def test_a_run_never_lies_where_all_runs_keep_something(run_id: str) -> None:
    with pytest.raises(ParameterError, match=f"--run-id '{run_id}' is taken"):
        RunPaths(STATE, run_id, dry_run=False)


@pytest.mark.parametrize("run_id", ["2026-11-22", "a", "7", "A_b.c-d", "z" * 100])
def test_a_run_id_can_be_any_plain_folder_name(run_id: str) -> None:
    assert RunPaths(STATE, run_id, dry_run=False).run == STATE / run_id


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../x", "/etc", "a/b", "a\\b", ".hidden", "-x", "a b", "a\n", "実行", "x" * 101, "a\0"]
)
def test_a_run_id_that_could_leave_its_folder_or_break_a_command_is_refused(run_id: str) -> None:
    with pytest.raises(ParameterError, match=r"--run-id .* is not usable: expected .* Nothing was written\."):
        RunPaths(STATE, run_id, dry_run=False)


def test_a_key_put_in_the_place_of_a_run_id_is_not_shown() -> None:
    key = "0123456789abcdef" * 4
    with pytest.raises(ParameterError) as refused:
        RunPaths(STATE, f"x{key}", dry_run=False)
    assert key not in str(refused.value)
