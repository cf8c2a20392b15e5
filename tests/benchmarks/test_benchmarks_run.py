"""The benchmark runs from end to end and notices wrong results. Nothing here looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

RUN = Path(__file__).with_name("run.py")
FACTS = 2000


def _benchmark(work_dir: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The finished command, and the JSON that it wrote."""
    outcome = work_dir / "outcome.json"
    command = [sys.executable, str(RUN), "--facts", str(FACTS), "--work-dir", str(work_dir), "--json", str(outcome)]
    finished = subprocess.run([*command, *options], capture_output=True, text=True)
    return finished, json.loads(outcome.read_text())


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that the database is built once."""
    return tmp_path_factory.mktemp("benchmarks")


def test_the_whole_benchmark_gives_every_ratio(work_dir: Path) -> None:
    finished, outcome = _benchmark(work_dir)

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert outcome["failures"] == []
    assert set(outcome["ratios"]) == {
        "job-signed / reference",
        "job-unsigned / reference",
        "job-dry / row-dry",
        "job-dry-1 / row-dry",
        "job-converged / row-converged",
        "signing-rate / reference",
        "job-signed / signing-rate",
        "job-sealed / job-signed",
        "job-verify / verify-rate",
    }
    assert set(outcome["limits"]) == {
        "peak MB of one process",
        "planning seconds",
        "audit seconds, root only",
        "sealing / the rest of its run",
        "explain ms, slowest",
    }
    for name, comparison in {**outcome["ratios"], **outcome["limits"]}.items():
        assert comparison["value"] >= 0, name
        assert comparison["verdict"] in (("stretch", "met", "MISSED") if comparison["goal"] else ("",)), name
        assert name in finished.stdout


def test_every_step_tells_time_rows_and_memory(work_dir: Path) -> None:
    finished, outcome = _benchmark(work_dir, "--only", "reference,row-live,job-unsigned,signing-rate")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    (results,) = outcome["rounds"]
    assert list(results) == ["reference", "job-unsigned", "signing-rate", "row-live"]
    for name, result in results.items():
        assert result["seconds"] > 0 and result["rows_per_second"] > 0 and result["peak_mb"] > 10, name
    assert results["job-unsigned"]["planning_seconds"] is not None
    assert results["reference"]["digest"] == results["job-unsigned"]["digest"] == results["row-live"]["digest"]


def test_repeated_rounds_give_pairs_and_their_median(work_dir: Path) -> None:
    finished, outcome = _benchmark(work_dir, "--only", "reference,job-unsigned", "--repeat", "3")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    comparison = outcome["ratios"]["job-unsigned / reference"]
    assert len(outcome["rounds"]) == len(comparison["pairs"]) == 3
    assert comparison["value"] == sorted(comparison["pairs"])[1]


def test_the_work_directory_keeps_nothing_but_the_database(work_dir: Path) -> None:
    _benchmark(work_dir, "--only", "reference")

    assert sorted(path.name for path in work_dir.iterdir()) == [f"facts-{FACTS}-clustered.db", "outcome.json"]


def test_other_counts_than_expected_fail(tmp_path: Path) -> None:
    build = [sys.executable, str(RUN.with_name("databases.py"))]
    database = tmp_path / f"facts-{FACTS}-clustered.db"
    subprocess.run([*build, str(database), str(FACTS - 1), "clustered"], check=True)

    finished, outcome = _benchmark(tmp_path, "--only", "reference,job-dry,job-converged")

    assert finished.returncode == 1
    assert [failure.partition(":")[0] for failure in outcome["failures"]] == [
        "reference",
        "job-sealed",
        "job-converged",
        "job-dry",
    ]
    assert f"'inserted': {FACTS - 1}" in outcome["failures"][0]
    assert outcome["rounds"] == [{}]


def test_different_rows_of_reference_and_job_fail(tmp_path: Path) -> None:
    _benchmark(tmp_path, "--only", "signing-rate")
    database = tmp_path / f"facts-{FACTS}-clustered.db"
    with closing(apsw.Connection(str(database))) as connection:  # a blank source: the reference would take it
        connection.execute("UPDATE am_entity_facts SET source_url = ' ' WHERE id = 1")

    finished, outcome = _benchmark(tmp_path, "--only", "reference,job-unsigned")

    assert finished.returncode == 1
    assert "not the same rows were written" in outcome["failures"][0]


def test_an_unknown_step_is_refused_with_those_there_are(tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--work-dir", str(tmp_path), "--only", "refrence"]
    finished = subprocess.run(command, capture_output=True, text=True)

    assert finished.returncode == 2
    assert "no such step: refrence. There are reference, job-unsigned" in finished.stderr
    assert list(tmp_path.iterdir()) == []
