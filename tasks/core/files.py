"""Files that nobody else has a hand in: made under random names in folders of our own, read with a bound.

A folder is ours from `root` down: the state folder and everything in it, or the folder of a key. Each folder on the
way is opened by itself, below the one before it, and is refused if it is a symbolic link, belongs to anybody but this
user and root, or can be written by others. What leads to `root` is its owner's affair. With `root` None the folder
is one that a user named on the command line: it is taken as it is, and links to it are followed.

Sources: the descriptors are those of openat(2), so that no name is looked up twice; a FIFO is opened without waiting
for its writer (open(2), O_NONBLOCK), and nothing but a regular file is read.
"""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_NAME_CHARACTERS: Final = 50  # of at most 4 bytes: with what a temporary name adds, below the 255 bytes of a file name
_BLOCK: Final = 1 << 20


class UnfitError(OSError):
    """A file that is not read, or a folder that is not used, with the reason as its `strerror`."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)


class UnfitFolderError(UnfitError):
    """A folder of ours that others have a hand in. `strerror` names it and says what to do."""


@contextmanager
def opened_folder(folder: Path, *, root: Path | None, create: bool = False, sticky: bool = False) -> Iterator[int]:
    """A descriptor of `folder`, which is `root` or lies below it.

    With `create` what is missing is made, mode 0700 whatever the umask is. With `sticky` others may write to a
    folder in which nobody replaces a file of another (like /tmp). Raises UnfitFolderError, or OSError.
    """
    top, below = (folder, ()) if root is None else (root, folder.relative_to(root).parts)
    if create:
        _make_ancestors(top)
    handle = _open_folder(top, None, create=create, follow=root is None)
    try:
        _refuse_unfit(handle, top, top, ours=root is not None, sticky=sticky)
        at = top
        for name in below:
            at = at / name
            handle = _exchanged(handle, _open_folder(at, handle, create=create, follow=False))
            _refuse_unfit(handle, at, top, ours=True, sticky=sticky)
        yield handle
    finally:
        os.close(handle)


def _exchanged(old: int, new: int) -> int:
    os.close(old)
    return new


def _make_ancestors(folder: Path) -> None:
    """The folders above ours, where they are missing. Others may look into them, never write."""
    missing = [one for one in folder.parents if not one.exists()]
    for one in reversed(missing):
        with suppress(FileExistsError):
            one.mkdir(mode=0o755)


def _open_folder(folder: Path, parent: int | None, *, create: bool, follow: bool) -> int:
    """Open one folder by its path (`parent` None), or by its name in a folder that is open."""
    name = str(folder) if parent is None else folder.name
    flags = _FOLDER | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    except NotADirectoryError:
        if not follow and folder.is_symlink():
            raise UnfitFolderError(
                f"{folder} is a symbolic link, and none is followed where the files are kept: whoever set it leads "
                f"them elsewhere. If it is yours, name the folder itself, {folder.resolve()}, or remove the link"
            ) from None
        raise
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return os.open(name, flags, dir_fd=parent)
    handle = os.open(name, flags | os.O_NOFOLLOW, dir_fd=parent)
    os.fchmod(handle, 0o700)
    return handle


def _refuse_unfit(handle: int, folder: Path, top: Path, *, ours: bool, sticky: bool) -> None:
    """Raise UnfitFolderError if anybody but this user and root has a hand in an open folder."""
    status = os.fstat(handle)
    if not ours:
        return
    if not is_ours(status):
        raise UnfitFolderError(
            f"{folder} belongs to {_user(status.st_uid)}, and this runs as {_user(os.geteuid())}: run it as "
            f"{_user(status.st_uid)}, or name a folder of your own"
        )
    if status.st_mode & _OTHERS_WRITE and not (sticky and status.st_mode & stat.S_ISVTX):
        raise UnfitFolderError(
            f"{folder} can be written by others (mode {stat.S_IMODE(status.st_mode):04o}). See that everything in it "
            f"is yours, then `chmod -R go-w {shlex.quote(str(top))}`"
        )


def is_ours(status: os.stat_result) -> bool:
    """Whether a file belongs to the user who runs this, or to root."""
    return status.st_uid in (os.geteuid(), 0)


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"


# --- writing ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewFile:
    """A file under a random name, beside the place of the file that it is to become."""

    file: BinaryIO
    folder: int
    temporary: str
    name: str

    def sync(self) -> None:
        """Put what was written on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def replace(self) -> None:
        """Take the place of whatever has the name: a link there is replaced, never followed."""
        self.file.flush()
        os.replace(self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def link(self) -> bool:
        """Take the name if nothing has it; else False, and nothing is changed."""
        self.file.flush()
        try:
            os.link(
                self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder, follow_symlinks=False
            )  # fmt: skip
        except FileExistsError:
            return False
        return True


@contextmanager
def new_file(path: Path, *, root: Path | None, sticky: bool = False) -> Iterator[NewFile]:
    """A new file for `path`: mode 0600 whatever the umask is, and gone at the end unless it took its name.

    A file that a user named keeps the mode that it has. Raises UnfitError if something else than a file has that name.
    """
    with opened_folder(path.parent, root=root, create=True, sticky=sticky) as folder:
        mode = 0o600 if root is not None else _mode_of(path, folder)
        temporary = f".{path.name[:_NAME_CHARACTERS]}.{secrets.token_hex(8)}.tmp"
        handle = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                yield NewFile(file, folder, temporary, path.name)
        finally:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)


def _mode_of(path: Path, folder: int) -> int:
    """The mode of the file that is about to be replaced, 0600 where there is none."""
    try:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return 0o600
    _refuse_irregular(status)
    return stat.S_IMODE(status.st_mode) & 0o777


def sync_folder(folder: int) -> None:
    """Put the names in an open folder on the disk."""
    os.fsync(folder)


# --- reading ----------------------------------------------------------------------------------------


def read_bounded(path: Path, *, root: Path | None, limit: int) -> bytes:
    """All of a regular file of at most `limit` bytes. Never waits for a writer, nor reads more than a byte too many.

    Raises FileNotFoundError, UnfitError with the reason, or another OSError.
    """
    with opened_file(path, root=root) as file:
        size = os.fstat(file.fileno()).st_size
        found = file.read(limit + 1) if size <= limit else b""
    if max(size, len(found)) > limit:
        raise UnfitError(f"it has {max(size, len(found)):,} bytes, expected at most {limit:,}")
    return found


@contextmanager
def opened_file(path: Path, *, root: Path | None) -> Iterator[BinaryIO]:
    """A regular file, open for reading; below `root` no link is followed. Raises as `read_bounded` does."""
    if root is None:
        handle = _open_for_reading(str(path), None, 0)
    else:
        with opened_folder(path.parent, root=root) as folder:
            handle = _open_for_reading(path.name, folder, os.O_NOFOLLOW)
    try:
        _refuse_irregular(os.fstat(handle))
    except UnfitError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb", buffering=_BLOCK) as file:
        yield file


def _open_for_reading(name: str, folder: int | None, flags: int) -> int:
    try:
        return os.open(name, _READ | flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UnfitError("it is a socket or a device, expected a regular file") from None
        if error.errno == errno.ELOOP and flags:
            raise UnfitError(
                "it is a symbolic link, and none is followed where the files are kept: remove it"
            ) from None
        raise


def _refuse_irregular(status: os.stat_result) -> None:
    kinds = (
        (stat.S_ISREG, None), (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISLNK, "a symbolic link"), (stat.S_ISSOCK, "a socket"),
    )  # fmt: skip
    kind = next((words for is_kind, words in kinds if is_kind(status.st_mode)), "a device")
    if kind is not None:
        raise UnfitError(f"it is {kind}, expected a regular file")


def names_in(folder: Path, *, root: Path) -> list[str]:
    """The names in a folder of ours; none where it does not exist. Raises UnfitFolderError or OSError."""
    try:
        with opened_folder(folder, root=root) as handle:
            return os.listdir(handle)  # noqa: PTH208  (an open folder has no path)
    except FileNotFoundError:
        return []


def remove(path: Path, *, root: Path) -> None:
    """Remove one name from a folder of ours, if it is there. Raises UnfitFolderError or OSError."""
    with suppress(FileNotFoundError), opened_folder(path.parent, root=root) as folder:
        os.unlink(path.name, dir_fd=folder)
