"""What a crash of somebody else leaves beside the database, and who may clean it up."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.engine.errors import DatabaseError
from tasks.engine.verification import verify_schema
from tasks.stores import sqlite_open
from tasks.stores.sqlite import open_session

_DIE_IN_A_TRANSACTION = """
import apsw, os, signal, sys
db = apsw.Connection(sys.argv[1])
db.execute("PRAGMA cache_size = 5").fetchall()
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE am_entity_facts SET field_value_text = hex(randomblob(2000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


def _crash_in_a_transaction(path: Path) -> None:
    """Leave a hot rollback journal, as an application that is killed does."""
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA journal_mode = DELETE").fetchall() == [("delete",)]
    connection.close()
    died = subprocess.run([sys.executable, "-c", _DIE_IN_A_TRANSACTION, str(path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert Path(f"{path}-journal").stat().st_size > 0


@pytest.fixture
def crashed(store: Any) -> Any:
    made = store()
    made.add_facts([{"id": number, "field_value_text": "as it was"} for number in range(1, 200)])
    _crash_in_a_transaction(made.path)
    return made


def test_a_live_run_lets_sqlite_roll_back_what_a_crash_left_unfinished(crashed: Any, settings: Any, paths: Any) -> None:
    config = settings(crashed)
    verify_schema(config, paths(config))
    assert not Path(f"{crashed.path}-journal").exists()
    with open_session(config, write=False) as session:
        assert session.count_residual() == 199
    rows = (
        apsw.Connection(str(crashed.path)).execute("SELECT DISTINCT field_value_text FROM am_entity_facts").fetchall()
    )
    assert rows == [("as it was",)]


def test_a_dry_run_names_the_journal_that_it_may_not_roll_back(crashed: Any, settings: Any, paths: Any) -> None:
    config = settings(crashed)
    before = crashed.path.read_bytes()
    with pytest.raises(DatabaseError, match=r"-journal holds a transaction that a crash left unfinished"):
        verify_schema(config, paths(config, dry_run=True))
    assert crashed.path.read_bytes() == before
    assert Path(f"{crashed.path}-journal").exists()


def test_a_lock_is_asked_for_again_every_millisecond_until_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(sqlite_open.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sqlite_open.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    wait = sqlite_open.Patience(0.05)
    for lock in range(2):
        tries = 0
        while wait(tries):
            tries += 1
        assert 49 <= tries <= 51, lock
    assert not sqlite_open.Patience(0)(0)


_READ_ONLY_MOUNT = """
mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} &&
{python} -c "
from pathlib import Path
from tasks.engine.settings import Pacing
from tasks.stores.sqlite_open import open_connection
connection = open_connection(Path('{folder}/copy.db'), pacing=Pacing(), write=False)
print(connection.execute('SELECT count(*) FROM am_entity_facts').fetchall()[0][0])
"
"""


def test_a_copy_in_wal_mode_on_a_read_only_disk_can_be_read(store: Any, tmp_path: Path) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1, 8))
    folder = tmp_path / "mounted"
    folder.mkdir()
    shutil.copy(made.path, folder / "copy.db")
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    script = _READ_ONLY_MOUNT.format(folder=folder, python=sys.executable)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no mounts for this user: {done.stderr.strip()}")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "7", "")
    assert sorted(path.name for path in folder.iterdir()) == ["copy.db"]
