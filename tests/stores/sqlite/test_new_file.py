"""A new database appears whole or not at all, and never over a file."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tasks.core.errors import SampleError
from tasks.sample.database import build_sample
from tasks.stores.sqlite.new_file import new_database

KILLED_WHILE_BUILDING = """
import os, sys
from pathlib import Path
from tasks.stores.sqlite.new_file import new_database
with new_database(Path(sys.argv[1])) as connection:
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("INSERT INTO am_source (source_url) VALUES ('half')")
    connection.cache_flush()
    os._exit(9)
"""


def facts_in(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(connection.execute("SELECT count(*) FROM am_entity_facts").get)
    finally:
        connection.close()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_database_is_in_wal_mode_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    build_sample(tmp_path / "s.db", facts=50)
    assert names_in(tmp_path) == ["s.db"]
    connection = apsw.Connection(str(tmp_path / "s.db"))
    assert connection.execute("PRAGMA journal_mode").get == "wal"
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    connection.close()


def test_the_database_has_every_object_of_the_canonical_schema(tmp_path: Path) -> None:
    build_sample(tmp_path / "s.db", facts=50)
    canonical = apsw.Connection(":memory:")
    canonical.execute((Path(__file__).parents[3] / "config" / "schema" / "sqlite.sql").read_text(encoding="utf-8"))
    built = apsw.Connection(str(tmp_path / "s.db"))
    objects = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    assert built.execute(objects).fetchall() == canonical.execute(objects).fetchall()
    built.close()


def test_missing_folders_are_made(tmp_path: Path) -> None:
    build_sample(tmp_path / "var" / "deep" / "s.db", facts=50)
    assert facts_in(tmp_path / "var" / "deep" / "s.db") == 50


def test_an_existing_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"precious")
    with pytest.raises(SampleError, match=r"s\.db already exists; it is never overwritten"):
        build_sample(path, facts=50)
    assert path.read_bytes() == b"precious"
    assert names_in(tmp_path) == ["s.db"]


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(SampleError, match="never overwritten"):
        build_sample(tmp_path / "s.db", facts=50)
    assert names_in(tmp_path) == ["s.db"]


@pytest.mark.parametrize("suffix", ["-wal", "-journal", "-shm"])
def test_a_journal_of_a_file_that_is_gone_is_refused_since_it_would_be_replayed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"s.db{suffix}").write_bytes(b"of another database")
    with pytest.raises(SampleError, match=f"s.db{suffix} already exists"):
        build_sample(tmp_path / "s.db", facts=50)


def test_a_file_that_appears_while_the_sample_is_built_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with pytest.raises(SampleError, match="never overwritten"), new_database(path):
        path.write_bytes(b"precious")
    assert path.read_bytes() == b"precious"
    assert names_in(tmp_path) == ["s.db"]


def test_a_build_that_is_killed_leaves_nothing_at_the_path_and_the_next_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_BUILDING, str(path)], check=False, timeout=60)
    assert killed.returncode == 9
    assert names_in(tmp_path) == ["s.db.partial"]
    assert (tmp_path / "s.db.partial").stat().st_size > 0
    for suffix in ("-wal", "-shm", "-journal"):
        (tmp_path / f"s.db.partial{suffix}").write_bytes(b"left over as well")
    build_sample(path, facts=50)
    assert names_in(tmp_path) == ["s.db"]
    assert facts_in(path) == 50


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(SampleError, match=r"could not be built: .*no_such_table"),
        new_database(tmp_path / "s.db") as connection,
    ):
        connection.execute("SELECT * FROM no_such_table")
    assert names_in(tmp_path) == []


def test_a_build_under_way_is_left_alone(tmp_path: Path) -> None:
    partial = tmp_path / "s.db.partial"
    partial.write_bytes(b"somebody's work")
    descriptor = os.open(partial, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(SampleError, match="is being built by another process"):
            build_sample(tmp_path / "s.db", facts=50)
    finally:
        os.close(descriptor)
    assert partial.read_bytes() == b"somebody's work"


def test_a_left_over_that_is_a_finished_database_under_another_name_is_not_emptied(tmp_path: Path) -> None:
    finished = tmp_path / "moved-away.db"
    build_sample(finished, facts=50)
    (tmp_path / "s.db.partial").hardlink_to(finished)  # killed before the unlink, then moved
    with pytest.raises(SampleError, match="has 2 names, expected 1"):
        build_sample(tmp_path / "s.db", facts=50)
    assert facts_in(finished) == 50


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SampleError, match="could not be built"):
        build_sample(tmp_path / "file" / "s.db", facts=50)
