"""A power cut at any moment: what was committed is there, and no marker knows more than the ledger.

SQLite writes through a VFS that notes what was synced. A power cut keeps exactly that, or that and an arbitrary part
of what was written since; the file system may also bring back a file whose deletion was never synced.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core import crash_points

SECTOR = 512


@dataclass
class KeptFile:
    """One file as the disk has it: what is safe, and what was written since in order."""

    synced: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    safe_name: bool = False
    deleted: bool = False

    def after_cut(self, chance: random.Random | None) -> bytes | None:
        """What is there after a power cut, None for no file: the least that is safe, or anything that `chance` allows.

        A deletion that was never synced is undone at the worst; a name that was never synced may be there or not.
        """
        if chance is None:
            return self.synced if self.safe_name else None
        if (self.deleted or not self.safe_name) and chance.random() < 0.5:
            return None
        content = bytearray(self.synced)
        for offset, data in self.pending:
            if chance.random() < 0.5:
                write(content, offset, data, chance)
        return bytes(content)


def write(content: bytearray, offset: int, data: bytes | None, chance: random.Random | None = None) -> None:
    """Apply one write, or a truncation (no data); with `chance`, each of its sectors only perhaps."""
    if data is None:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    for start in range(0, len(data), SECTOR):
        if chance is None or chance.random() < 0.8:
            part = data[start : start + SECTOR]
            content[offset + start : offset + start + len(part)] = part


class Disk(apsw.VFS):
    """The default VFS, noting every write, sync and deletion under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, KeptFile] = {}
        for path in folder.glob("*.db*"):
            self.files[path.name] = KeptFile(path.read_bytes(), safe_name=True)
        super().__init__("noting", "unix", makedefault=True)

    def kept(self, name: str) -> KeptFile:
        """What is known of a file; one outside the folder is nobody's business."""
        path = Path(name)
        return self.files.setdefault(path.name, KeptFile()) if path.parent == self.folder else KeptFile()

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return NotedFile(name, flags, self.kept(path) if path else KeptFile())

    def xDelete(self, filename: str, syncdir: bool) -> None:
        if not Path(filename).exists():  # what SQLite passes over in silence would be an error of this method
            return
        super().xDelete(filename, syncdir)
        kept = self.kept(filename)
        if syncdir:
            self.files.pop(Path(filename).name)
        else:
            kept.deleted = True

    def after_cut(self, into: Path, chance: random.Random | None = None) -> None:
        """Put the files as a power cut now would leave them into a new folder."""
        into.mkdir()
        for name, kept in self.files.items():
            content = kept.after_cut(chance)
            if content is not None and not name.endswith("-shm"):
                (into / name).write_bytes(content)


class NotedFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], kept: KeptFile) -> None:
        self._kept = kept
        if kept.deleted:  # a new file under the old name: the old one can no longer come back
            kept.synced, kept.pending, kept.deleted = b"", [], False
        super().__init__("unix", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        super().xWrite(data, offset)
        self._kept.pending.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._kept.pending.append((newsize, None))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        content = bytearray(self._kept.synced)
        for offset, data in self._kept.pending:
            write(content, offset, data)
        self._kept.synced, self._kept.pending, self._kept.safe_name = bytes(content), [], True


@pytest.fixture
def disk_under(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Disk]]:
    made: list[Disk] = []

    def make(folder: Path) -> Disk:
        made.append(Disk(folder))
        return made[-1]

    yield make
    for disk in made:
        disk.unregister()


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(1, 33)).hex())


def at_point(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
    monkeypatch.setattr(crash_points, "reach", lambda found: act() if found == name else None)


def written(path: Path) -> list[list[Any]]:
    """The rows of the tables that a run writes. SQLite first rolls back, or forward, what a journal beside it tells."""
    tables = ("am_fact_metadata", "am_fact_attestation_log", "am_backfill_chunk", "am_backfill_reject")
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs="unix")) as connection:
        return [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables]


def prove_consistent(path: Path, before: int) -> None:
    """Rows, log and ledger of one moment: SQLite's own recovery has run, and all three agree."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs="unix")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        new_rows = connection.execute("SELECT count(*) FROM am_fact_metadata").get - before
        new_log = connection.execute("SELECT count(*) FROM am_fact_attestation_log").get - before
        inserted, written, rejected = connection.execute(
            "SELECT coalesce(sum(inserted), 0), coalesce(sum(inserted + updated), 0), coalesce(sum(rejected), 0) "
            "FROM am_backfill_chunk"
        ).fetchall()[0]
        assert (new_rows, new_log) == (inserted, written)
        assert connection.execute("SELECT count(*) FROM am_backfill_reject").get == rejected


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_after_a_commit_a_power_cut_loses_nothing_of_it(
    journal_mode: str, sample: Any, run: Any, disk_under: Any, signed: None, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Right after each of twelve commits, the disk holds the very rows that a reader sees."""
    made = sample(journal_mode=journal_mode)
    disk = disk_under(made.path.parent)
    cuts: list[Path] = []

    def cut() -> None:
        cuts.append(tmp_path / f"cut-{len(cuts)}")
        disk.after_cut(cuts[-1])
        assert written(cuts[-1] / made.path.name) == written(made.path), f"commit {len(cuts)} was not durable"

    at_point(monkeypatch, "after commit", cut)
    run(made.settings)
    assert len(cuts) == 12


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_marker_appears_only_when_its_ledger_row_would_survive_a_power_cut(
    journal_mode: str, sample: Any, run: Any, disk_under: Any, signed: None, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """At the rename, the worst case for its order with the database, the ledger on the disk says done already."""
    made = sample(journal_mode=journal_mode)
    disk = disk_under(made.path.parent)
    synced: dict[int, int] = {}
    fsync, replace = os.fsync, os.replace
    appeared: list[str] = []

    def noted_fsync(handle: int) -> None:
        fsync(handle)
        synced[os.fstat(handle).st_ino] = os.fstat(handle).st_size

    def noted_replace(temporary: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        target = Path(f"/proc/self/fd/{dst_dir_fd}").readlink() / name
        if target.parent.name == "chunks":
            status = target.with_name(temporary).stat()
            assert synced.get(status.st_ino) == status.st_size, f"{target.name} would appear without its content"
            number = int(target.stem.removeprefix("chunk-"))
            folder = tmp_path / f"cut-{number}"
            disk.after_cut(folder)
            with closing(sqlite3.connect(folder / made.path.name)) as connection:
                rows = connection.execute("SELECT state FROM am_backfill_chunk WHERE chunk = ?", (number,)).fetchall()
            assert rows == [("done",)], f"{target.name} would be there and its ledger row lost"
            appeared.append(target.name)
        replace(temporary, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    run(made.settings)
    assert len(appeared) == 3


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_a_power_cut_at_any_write_leaves_rows_log_and_ledger_of_one_moment(
    journal_mode: str, sample: Any, run: Any, disk_under: Any, signed: None, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Cuts inside and outside of transactions, each with another part of the unsynced sectors on the disk."""
    made = sample(journal_mode=journal_mode, wal_autocheckpoint_pages=100)
    disk = disk_under(made.path.parent)
    chance = random.Random(7)
    cuts: list[Path] = []

    def cut(_: str) -> None:
        for _ in range(2):
            cuts.append(tmp_path / f"cut-{len(cuts)}")
            disk.after_cut(cuts[-1], chance)

    monkeypatch.setattr(crash_points, "reach", cut)
    run(made.settings)
    for folder in cuts:
        prove_consistent(folder / made.path.name, len(made.before))
    assert len(cuts) > 80


@pytest.mark.parametrize("nth", [1, 5, 12])
def test_after_a_power_cut_the_same_command_ends_the_run(
    nth: int, sample: Any, run: Any, check: Any, disk_under: Any, signed: None, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    made = sample()
    disk = disk_under(made.path.parent)
    reached = iter(range(1, 100))

    def cut() -> None:
        if next(reached) == nth:
            disk.after_cut(tmp_path / "cut", random.Random(nth))
            raise PowerCut

    at_point(monkeypatch, "before commit", cut)
    with pytest.raises(PowerCut):
        run(made.settings)
    monkeypatch.undo()
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(1, 33)).hex())
    for path in made.path.parent.glob(f"{made.path.name}*"):
        path.unlink()
    shutil.copytree(tmp_path / "cut", made.path.parent, dirs_exist_ok=True)
    run(made.settings)
    check(made)


class PowerCut(BaseException):
    """Nothing may handle this one."""


def test_the_disk_forgets_what_was_not_synced(sample: Any, disk_under: Any, tmp_path: Path) -> None:
    """The tests above would show nothing on a disk that keeps everything."""
    made = sample()
    disk = disk_under(made.path.parent)
    with closing(apsw.Connection(str(made.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        for mode in ("OFF", "FULL"):
            connection.execute(f"PRAGMA synchronous = {mode}")
            connection.execute("UPDATE am_source SET domain = ?", (mode,))
            disk.after_cut(tmp_path / mode)
            with closing(sqlite3.connect(tmp_path / mode / made.path.name)) as found:
                kept = found.execute("SELECT count(*) FROM am_source WHERE domain = ?", (mode,)).fetchone()[0]
            assert (kept > 0) == (mode == "FULL")
