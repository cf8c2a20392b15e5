"""What a crash of somebody else leaves beside the database, and who may clean it up."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core.errors import DatabaseError
from tasks.job.settings import Settings
from tasks.runs.gate import gate_schema
from tasks.stores.sqlite import opening
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.file import DatabaseFile, Reader, refuse_foreign_sidecars
from tasks.stores.sqlite.opening import open_connection
from tasks.stores.sqlite.session import open_session

_DIE_IN_A_TRANSACTION = """
import apsw, os, signal, sys
db = apsw.Connection(sys.argv[1])
db.execute("PRAGMA cache_size = 5").fetchall()
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE am_entity_facts SET field_value_text = hex(randomblob(2000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass
class Store:
    """A database by another name than the one that the fixture gave it."""

    path: Path

    def execute(self, sql: str) -> None:
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute(sql)


def at(path: Path, *, immutable: bool = False) -> Settings:
    """A job of which nothing but its database is known, even one that no job file can name."""
    return Settings(database="s.db", state_dir="s").model_copy(update={"database": str(path), "immutable": immutable})


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
    gate_schema(config, paths(config))
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
        gate_schema(config, paths(config, dry_run=True))
    assert crashed.path.read_bytes() == before
    assert Path(f"{crashed.path}-journal").exists()


def test_a_lock_is_asked_for_again_every_millisecond_until_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(opening.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(opening.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    wait = opening.Patience(0.05)
    for lock in range(2):
        tries = 0
        while wait(tries):
            tries += 1
        assert 49 <= tries <= 51, lock
    assert not opening.Patience(0)(0)


_READ_ONLY_MOUNT = """
mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && exec {python} -c "{code}"
"""
_COUNT = """
from pathlib import Path
from tasks.core.errors import DatabaseError
from tasks.job.settings import Settings
from tasks.stores.sqlite.opening import open_connection
try:
    connection = open_connection(Settings(database='{path}', state_dir='s', immutable={immutable}), write={write})
    print(connection.execute('SELECT count(*) FROM am_entity_facts').fetchall()[0][0])
except DatabaseError as error:
    print(error)
"""


def _count_on_a_read_only_disk(path: Path, *, immutable: bool = False, write: bool = False) -> str:
    """What a process prints for which the folder of a database is mounted read-only: a count, or the error."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    code = _COUNT.format(path=path, immutable=immutable, write=write)
    script = _READ_ONLY_MOUNT.format(folder=path.parent, python=sys.executable, code=code)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no mounts for this user: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture
def copied(store: Any, tmp_path: Path) -> Path:
    """A copy of a store of seven facts in WAL mode, alone in its folder."""
    made = store()
    made.add_facts({"id": key} for key in range(1, 8))
    (tmp_path / "mounted").mkdir()
    return Path(shutil.copy(made.path, tmp_path / "mounted" / "copy.db"))


def test_a_copy_in_wal_mode_on_a_read_only_disk_is_read_where_the_auditor_says_so(copied: Path) -> None:
    assert _count_on_a_read_only_disk(copied, immutable=True) == "7"
    assert sorted(path.name for path in copied.parent.iterdir()) == ["copy.db"]


def test_a_read_only_disk_alone_is_never_taken_for_a_database_that_nobody_writes_to(copied: Path) -> None:
    said = _count_on_a_read_only_disk(copied)
    assert "mounted read-only" in said and "--immutable" in said
    assert sorted(path.name for path in copied.parent.iterdir()) == ["copy.db"]


def test_a_read_only_mount_of_a_database_that_is_open_elsewhere_reads_what_was_committed_last(copied: Path) -> None:
    with closing(apsw.Connection(str(copied))) as application:
        application.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (8, 'a', 'b')")
        assert _count_on_a_read_only_disk(copied) == "8"


def test_a_live_run_on_a_read_only_disk_is_told_that_it_is_the_disk(store: Any, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    path = Path(shutil.copy(store(journal_mode="delete").path, tmp_path / "mounted" / "copy.db"))
    assert "its disk is mounted read-only" in _count_on_a_read_only_disk(path, write=True)
    assert _count_on_a_read_only_disk(path) == "0"


@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_a_copy_with_transactions_beside_it_is_not_read_as_immutable(copied: Path, ending: str) -> None:
    Path(f"{copied}{ending}").write_bytes(b"whatever is in it")
    with pytest.raises(DatabaseError, match=f"{ending} holds transactions that belong to it"):
        open_connection(at(copied, immutable=True), write=False)


def test_a_copy_that_changes_while_it_is_read_as_immutable_is_told(copied: Path, settings: Any) -> None:
    config = settings(Store(copied)).model_copy(update={"immutable": True})
    with pytest.raises(DatabaseError, match="it changed while it was read with --immutable"):  # noqa: SIM117
        with open_session(config, write=False):
            Store(copied).execute("UPDATE am_entity_facts SET confidence = 0.5")


# -- links, moves and other users --------------------------------------------------------------------


def test_a_journal_is_found_beside_the_file_that_a_link_leads_to(
    crashed: Any, tmp_path: Path, paths: Any, settings: Any
) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "database"
    link.symlink_to(crashed.path)
    config = settings(Store(link))
    with pytest.raises(DatabaseError, match=re.escape(f"{crashed.path}-journal holds a transaction")):
        gate_schema(config, paths(config, dry_run=True))
    gate_schema(config, paths(config))
    assert not Path(f"{crashed.path}-journal").exists()


def test_a_write_ahead_log_is_found_beside_the_file_that_a_link_leads_to(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(copied)
    Path(f"{copied}-wal").write_bytes(b"whatever is in it")
    with pytest.raises(DatabaseError, match="-wal holds transactions that belong to it"):
        open_connection(at(tmp_path / "link.db", immutable=True), write=False)


@pytest.mark.parametrize(
    ("path", "words"),
    [("none.db", "there is no such file"), ("a file/none.db", "not a directory: .*a file is a file"),
     ("dangling.db", "a symbolic link to .*nowhere, where there is no file"), ("a folder", "found a folder or device"),
     ("loop.db", "[Tt]oo many levels"), ("nul\0.db", "null")],
)  # fmt: skip
def test_a_path_that_is_no_database_gets_its_own_advice(path: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    (tmp_path / "dangling.db").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.db").symlink_to(tmp_path / "loop.db")
    with pytest.raises(DatabaseError, match=words):
        open_connection(at(tmp_path / path), write=False)


def test_a_file_that_is_moved_while_it_is_open_is_called_moved(store: Any, tmp_path: Path) -> None:
    made = store(journal_mode="delete")
    with closing(open_connection(at(made.path), write=True)) as connection:
        made.path.rename(tmp_path / "moved.db")
        with pytest.raises(DatabaseError, match="moved"), translated(made.path, "it ran", lock_timeout=1):
            connection.execute("UPDATE am_entity_facts SET confidence = 0.5")
            connection.execute("INSERT INTO am_entity_facts (entity_id, field_name) VALUES ('a', 'b')")


OWNER, OTHER = Reader(user=1001, group=1001), Reader(user=1002, group=1002)


def _owned(path: Path, mode: int, group: int = OWNER.group) -> DatabaseFile:
    """A file as it would be if it were OWNER's."""
    return replace(DatabaseFile.at(path), owner=OWNER.user, group=group, mode=mode)


@pytest.mark.parametrize(
    ("mode", "reader", "refused"),
    [(0o644, OTHER, True), (0o664, OTHER, True), (0o666, OTHER, False), (0o644, OWNER, False),
     (0o664, Reader(OTHER.user, OWNER.group), False), (0o644, Reader(OTHER.user, OWNER.group), True),
     (0o600, Reader(0, 0), False)],
)  # fmt: skip
def test_another_user_reads_only_where_the_owner_can_write_to_what_that_leaves(
    mode: int, reader: Reader, refused: bool, copied: Path
) -> None:
    file = _owned(copied, mode)
    if refused:
        with pytest.raises(DatabaseError, match="belongs to user 1001, this is user 1002"):
            refuse_foreign_sidecars(file, reader)
    else:
        refuse_foreign_sidecars(file, reader)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_what_another_user_left_beside_a_database_is_named(copied: Path) -> None:
    Path(f"{copied}-wal").touch()
    os.chown(f"{copied}-wal", OTHER.user, OTHER.group)
    with pytest.raises(DatabaseError, match=r"belongs to user 1001, but .*copy\.db-wal to user 1002"):
        refuse_foreign_sidecars(_owned(copied, 0o644), OTHER)


_AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from tasks.core.errors import DatabaseError
from tasks.job.settings import Settings
from tasks.stores.sqlite.opening import open_connection
os.setegid(4322); os.seteuid(4322)
try:
    connection = open_connection(Settings(database=sys.argv[1], state_dir='s'), write=False)
    print(connection.execute("SELECT count(*) FROM am_entity_facts").fetchall()[0][0])
except DatabaseError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
@pytest.mark.parametrize("folder_mode", [0o777, 0o755])
def test_a_reader_of_another_user_leaves_nothing_that_the_owner_cannot_write_to(store: Any, folder_mode: int) -> None:
    made = store()
    made.add_facts({"id": key} for key in range(1, 8))
    folder = Path(tempfile.mkdtemp())  # the folders of pytest may be entered by root alone
    try:
        path = Path(shutil.copy(made.path, folder / "copy.db"))
        path.chmod(0o644)
        os.chown(path, 4321, 4321)
        folder.chmod(folder_mode)
        ask = [sys.executable, "-c", _AS_ANOTHER_USER, str(path)]
        done = subprocess.run(ask, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True)
        assert ("belongs to user 4321" if folder_mode == 0o777 else "SQLite cannot open it") in done.stdout
        assert sorted(file.name for file in folder.iterdir()) == ["copy.db"]
        with closing(apsw.Connection(str(path))) as application:
            application.execute("INSERT INTO am_entity_facts (id, entity_id, field_name) VALUES (8, 'a', 'b')")
            for ending in ("-wal", "-shm"):
                os.chown(f"{path}{ending}", 4321, 4321)
            done = subprocess.run(ask, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True)
            assert done.stdout.strip() == "8"
    finally:
        shutil.rmtree(folder)
