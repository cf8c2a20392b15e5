"""What can be told of a database file without opening it: its names, its owner, and whether a path still means it.

Everything here asks the file system about names (`stat`). Nothing here opens a file: POSIX locks belong to the process,
and closing any descriptor of a database drops every lock that SQLite holds on it, through whatever connection.
Source: https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import NOTHING_WRITTEN, DatabaseError

_NOTHING = "Nothing was written."


@dataclass(frozen=True)
class DatabaseFile:
    """A database file as it was found at `path`; `real` is the file itself, behind all symbolic links.

    SQLite keeps `-journal`, `-wal` and `-shm` beside the real file, whatever name it was opened by.
    """

    path: Path
    real: Path
    device: int
    inode: int
    owner: int
    group: int
    mode: int
    size: int
    modified_ns: int

    @classmethod
    def at(cls, path: Path) -> DatabaseFile:
        """The file that a path means now. Raises DatabaseError if there is none, or something else."""
        try:
            real = Path(os.path.realpath(path))
            found = real.stat()
        except (OSError, ValueError) as error:
            raise DatabaseError(f"database {path}: {_why_not_found(path, error)} {_NOTHING}") from None
        if not stat.S_ISREG(found.st_mode):
            raise DatabaseError(
                "expected a SQLite file, found a folder or device",
                where=f"database {path}",
                hint="Set AUTONOMATH_DB_PATH or the key database",
                written=NOTHING_WRITTEN,
            )
        return cls(
            path, real, found.st_dev, found.st_ino, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode),
            found.st_size, found.st_mtime_ns,
        )  # fmt: skip

    def beside(self, ending: str) -> Path:
        """A file that SQLite keeps with this one: `-journal`, `-wal` or `-shm`."""
        return Path(f"{self.real}{ending}")

    def refuse_another(self) -> None:
        """Raise DatabaseError if the path means another file by now. Costs one look at the folder."""
        try:
            found = self.path.stat()
            seen = "another file lies there now"
        except OSError as error:
            found, seen = None, f"now there is none ({error.strerror})"
        if found is None or (found.st_dev, found.st_ino) != (self.device, self.inode):
            raise DatabaseError(
                f"moved, replaced or restored while it was in use: {seen}. All that was committed before "
                "is in the file that was opened, wherever it is; nothing is in the other",
                where=f"database {self.path}",
                hint="Put that file back, or take a new --run-id for the other one",
            )

    def refuse_changed(self) -> None:
        """Raise DatabaseError if somebody wrote to a file that was read as one that nobody writes to."""
        now = DatabaseFile.at(self.path)
        if now != self:
            raise DatabaseError(
                "it changed while it was read with --immutable, which is for a copy that nothing writes "
                "to: what was read means nothing",
                where=f"database {self.path}",
                hint="Leave the option out, or take a copy",
                written=NOTHING_WRITTEN,
            )

    def refuse_unfinished(self) -> None:
        """Raise DatabaseError if the file alone, without what lies beside it, is not the whole database."""
        for ending in ("-wal", "-journal"):
            if _size(self.beside(ending)):
                raise DatabaseError(
                    f"{self.beside(ending)} holds transactions that belong to it, and --immutable would read "
                    "the file without them",
                    where=f"database {self.path}",
                    hint="Open the copy once where it can be written, or leave the option out",
                    written=NOTHING_WRITTEN,
                )

    @property
    def is_on_read_only_disk(self) -> bool:
        """Whether its file system is mounted read-only here. That says nothing of who writes to it elsewhere."""
        try:
            return bool(os.statvfs(self.real).f_flag & os.ST_RDONLY)
        except OSError:
            return False


def has_journal(path: Path) -> bool:
    """Whether a rollback journal lies beside the file that a path means."""
    try:
        return os.path.lexists(f"{os.path.realpath(path)}-journal")
    except (OSError, ValueError):  # such a path cannot be opened either, and that is said there
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _why_not_found(path: Path, error: OSError | ValueError) -> str:
    """What is wrong with a path, and the next step."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ENOTDIR:
        inside = next((parent for parent in path.parents if parent.is_file()), path.parent)
        return f"not a directory: {inside} is a file, nothing lies in it. Set AUTONOMATH_DB_PATH or the key database."
    if code == errno.EACCES:
        return "a folder on the way to it may not be entered by this user. Mend that folder's mode, or ask its owner."
    if code == errno.ENOENT and path.is_symlink():
        return f"it is a symbolic link to {os.path.realpath(path)}, where there is no file. Mend the link."
    if code == errno.ENOENT:
        return (
            "there is no such file, and it is never created. Set AUTONOMATH_DB_PATH or the key database, or make a "
            "sample there with the task MakeSample."
        )
    return f"{error.strerror if isinstance(error, OSError) else error}. Set AUTONOMATH_DB_PATH or the key database."


@dataclass(frozen=True)
class Reader:
    """Who opens a database: effective user and group."""

    user: int
    group: int

    @classmethod
    def this_process(cls) -> Reader:
        return cls(os.geteuid(), os.getegid())


def refuse_foreign_sidecars(file: DatabaseFile, reader: Reader) -> None:
    """Raise DatabaseError where reading in WAL mode would leave files that the database's owner could not write to.

    SQLite makes `-wal` and `-shm` with the mode of the database, but they belong to whoever made them; as root it gives
    them to the owner. What is there already is looked at the same way.
    """
    if reader.user in (0, file.owner) or file.owner == 0:
        return
    sidecars = [file.beside(ending) for ending in ("-wal", "-shm")]
    for sidecar in sidecars:
        owner, group = _owner_of(sidecar)
        if owner == reader.user and not _owner_could_write(file, group):
            raise DatabaseError(
                f"it belongs to user {file.owner}, but {sidecar} to user {reader.user}: the owner cannot "
                f"write to the database",
                where=f"database {file.path}",
                hint=f"When no process has it open, remove {sidecar} if it is empty, or give it to user {file.owner}",
                written=NOTHING_WRITTEN,
            )
    folder, missing = file.real.parent, [str(sidecar) for sidecar in sidecars if _owner_of(sidecar)[0] is None]
    could_be_made = missing and os.access(folder, os.W_OK, effective_ids=True)
    if could_be_made and not _owner_could_write(file, _group_of_new_files(folder, reader)):
        raise DatabaseError(
            f"it belongs to user {file.owner}, this is user {reader.user}, and reading it would "
            f"leave {' and '.join(missing)} as this user's: the owner could not write to the "
            "database any more",
            where=f"database {file.path}",
            hint=f"Read it as user {file.owner} (sudo -u), or while the application has it open, or take a copy",
            written=NOTHING_WRITTEN,
        )


def _owner_of(path: Path) -> tuple[int | None, int]:
    """User and group of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None, -1
    return found.st_uid, found.st_gid


def _owner_could_write(file: DatabaseFile, group: int) -> bool:
    """Whether the database's owner may write to another user's file with the database's mode and this group."""
    return bool(file.mode & stat.S_IWOTH or (file.mode & stat.S_IWGRP and group == file.group))


def _group_of_new_files(folder: Path, reader: Reader) -> int:
    found = folder.stat()
    return found.st_gid if found.st_mode & stat.S_ISGID else reader.group
