"""The database is moved away and another lies at its path: whoever is at work stops, and says where its rows are."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import crash_points
from tasks.core.errors import DatabaseError, StateError
from tasks.reporting.close import close_run
from tasks.runs.gate import gate_schema
from tasks.sealed_log.seal import seal_log, seal_run
from tasks.stores.sqlite.session import SqliteSession

CREATED_AT = "2026-11-22T00:00:00.000Z"


@pytest.fixture
def swap(tmp_path: Path) -> Any:
    """`swap(path)` moves a database away with what lies beside it, and puts a copy of how it began there."""

    def now(path: Path) -> None:
        for ending in ("", "-wal", "-shm"):
            if Path(f"{path}{ending}").exists():
                Path(f"{path}{ending}").rename(tmp_path / f"moved.db{ending}")
        shutil.copy(tmp_path / "began.db", path)

    return now


@pytest.fixture
def planned(store: Any, settings: Any, paths: Any, tmp_path: Path, request: Any) -> Any:
    """(settings, paths) of a run of three chunks of three batches each, in a journal mode that can be moved whole."""
    made = store(journal_mode="delete")
    made.add_facts({"id": n, "source_url": f"https://a/{n}", "created_at": "2026-05-01"} for n in range(1, 31))
    shutil.copy(made.path, tmp_path / "began.db")
    config = settings(made, small=True)
    found = paths(config, dry_run=getattr(request, "param", False))
    gate_schema(config, found)
    plan_backfill(config, found, max_rows=None, created_at=CREATED_AT)
    return config, found


def swap_at(monkeypatch: pytest.MonkeyPatch, point: str, swap: Any, path: Path) -> None:
    """Swap the first time that anything comes to the point."""
    reached: list[str] = []

    def reach(name: str) -> None:
        if name == point and not reached:
            reached.append(name)
            swap(path)

    monkeypatch.setattr(crash_points, "reach", reach)


def rows(path: Path) -> int:
    with closing(apsw.Connection(str(path))) as connection:
        return int(connection.execute("SELECT count(*) FROM am_fact_metadata").fetchall()[0][0])


@pytest.mark.parametrize(
    ("point", "written"),
    [("before the write lock", 0), ("after commit", 4), ("after the last commit, before the marker", 10)],
)
def test_a_chunk_stops_and_says_what_it_wrote_and_where(
    point: str, written: int, planned: Any, swap: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, where = planned
    swap_at(monkeypatch, point, swap, config.place.path)
    with pytest.raises(DatabaseError) as caught:
        run_chunk(config, where, 1, progress=lambda _: None)
    assert "moved, replaced or restored" in str(caught.value)
    assert f"with {written} rows written" in str(caught.value)
    assert not where.marker(1).exists()
    assert (rows(tmp_path / "moved.db"), rows(config.place.path)) == (written, 0)


@pytest.mark.parametrize("planned", [True], indirect=True)
def test_a_dry_run_stops_too(planned: Any, swap: Any) -> None:
    config, where = planned

    def progress(_: Any) -> None:
        if not (config.place.path.parent / "moved.db").exists():
            swap(config.place.path)

    with pytest.raises(DatabaseError, match="moved, replaced or restored"):
        run_chunk(config, where, 1, progress=progress)
    assert not where.marker(1).exists()


def test_the_next_chunk_does_not_begin_in_another_file(planned: Any, swap: Any) -> None:
    config, where = planned
    run_chunk(config, where, 1, progress=lambda _: None)
    swap(config.place.path)
    with pytest.raises(StateError, match=r"does not know run run-1, but .*chunk-000001.json says that chunk 1"):
        run_chunk(config, where, 2, progress=lambda _: None)
    assert rows(config.place.path) == 0


def test_a_seal_stops_before_it_commits(
    planned: Any, swap: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, where = planned
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())
    run_chunk(config, where, 1, progress=lambda _: None)
    swap_at(monkeypatch, "before the seal's write lock", swap, config.place.path)
    with pytest.raises(DatabaseError, match="moved, replaced or restored"):
        seal_log(config, run_id=None)
    with closing(apsw.Connection(str(tmp_path / "moved.db"))) as moved:
        assert moved.execute("SELECT count(*) FROM am_attestation_checkpoint").fetchall() == [(0,)]
    assert not list(Path(config.state_dir).rglob("*.checkpoint"))


def test_a_report_is_not_written_of_a_database_that_is_gone(
    planned: Any, swap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, where = planned
    for chunk in (1, 2, 3):
        run_chunk(config, where, chunk, progress=lambda _: None)
    seal_run(config, where)
    counts = SqliteSession.closing_counts

    def swapped(session: SqliteSession) -> Any:
        found = counts(session)
        swap(config.place.path)
        return found

    monkeypatch.setattr(SqliteSession, "closing_counts", swapped)
    with pytest.raises(DatabaseError, match="moved, replaced or restored"):
        close_run(config, where)
    assert not where.report.exists()
