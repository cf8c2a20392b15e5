"""Checkpoints outside of the database: append-only files that the database can be held against.

    <state_dir>/checkpoints/<origin>/<size, 20 digits>.checkpoint

They are what makes the log tamper-evident, so keep copies where whoever writes the database cannot reach: an object
store with retention, a git repository, an auditor's mailbox. Each file is a whole signed note and stands alone.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.attestation.log.checkpoints import Checkpoint, open_checkpoint
from tasks.attestation.log.notes import MAX_NOTE_BYTES, Note, VerifierKey
from tasks.core import durable, files
from tasks.core.errors import NOTHING_WRITTEN, NoteError, SealError, UnverifiedNoteError
from tasks.job.paths import checkpoint_folder
from tasks.stores.protocols.sealed_log import StoredCheckpoint

logger = logging.getLogger("luigi-interface")

_SUFFIX = ".checkpoint"
_NAME = re.compile(r"([0-9]{20})\.checkpoint")


class Published(NamedTuple):
    """A checkpoint in the folder, signed by a key that is known (`verified`), or by others only."""

    tree_size: int
    path: Path
    note: bytes
    verified: bool


class CheckpointFiles:
    """The folder of one log's checkpoints. Nothing is created by asking."""

    def __init__(self, state_dir: str, origin: str) -> None:
        self.root, self.origin = Path(state_dir), origin
        self.folder = checkpoint_folder(state_dir, origin)

    def path(self, tree_size: int) -> Path:
        return self.folder / f"{tree_size:020d}{_SUFFIX}"

    def published(self, keys: Sequence[VerifierKey]) -> list[Published]:
        """The checkpoints of this log that lie here, the largest first. A file is believed only as far as its signature
        goes: what is no checkpoint of this log and of the size in its name, or was altered after one of `keys` signed
        it, counts for nothing, and a warning says so. Raises SealError if the folder cannot be read.
        """
        found = []
        for path in sorted(map(self.folder.joinpath, self._names()), reverse=True):
            try:
                found.append(self._published(path, keys))
            except (SealError, NoteError) as error:
                logger.warning("%s: counts for nothing: %s See who put it there, and remove it.", path, error)
        return found

    def refuse_long_name(self) -> None:
        """Raise SealError if the log's name is too long for the folder of its checkpoints, as a file system counts."""
        existing = next(folder for folder in self.folder.absolute().parents if folder.is_dir())
        most, size = os.pathconf(existing, "PC_NAME_MAX"), len(os.fsencode(self.folder.name))
        if size > most:
            raise SealError(
                f"the checkpoints of {self.origin} would go to a folder whose name has {size} bytes "
                f"(each byte of a letter beyond ASCII takes three), and {existing} takes names of up to "
                f"{most}",
                where="sealing.origin",
                hint="Choose a shorter sealing.origin",
                written=NOTHING_WRITTEN,
            )

    def prepare(self) -> None:
        """Make the folder, if it is missing. Raises SealError if nothing could be published there."""
        self.refuse_long_name()
        try:
            with files.opened_folder(self.folder, root=self.root, create=True) as folder:
                if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
                    raise PermissionError(errno.EACCES, "Permission denied")
        except OSError as error:
            raise SealError(
                "checkpoints cannot be published there",
                where=str(self.folder),
                seen=error.strerror,
                written=NOTHING_WRITTEN,
            ) from None

    def _names(self) -> list[str]:
        try:
            return [name for name in files.names_in(self.folder, root=self.root) if _NAME.fullmatch(name)]
        except OSError as error:
            raise SealError(
                "cannot be read", where=str(self.folder), seen=error.strerror, written=NOTHING_WRITTEN
            ) from None

    def _published(self, path: Path, keys: Sequence[VerifierKey]) -> Published:
        """Raises NoteError or SealError for a file that is no checkpoint of this log and this size."""
        data = self.read(path)
        checkpoint = Checkpoint.parse(Note.parse(data).text)
        if path != self.path(checkpoint.size) or checkpoint.origin != self.origin:
            raise NoteError(f"it is a checkpoint of {checkpoint.size} leaves of {checkpoint.origin}.")
        try:
            open_checkpoint(data, keys)
        except UnverifiedNoteError:  # perhaps the key before this one, perhaps anybody's
            return Published(checkpoint.size, path, data, False)
        return Published(checkpoint.size, path, data, True)

    def publish(self, checkpoints: Iterable[StoredCheckpoint]) -> None:
        """Write the files that are missing, durably. A file that is there is never changed.

        Raises SealError if a file holds another checkpoint for that size.
        """
        for one in checkpoints:
            path = self.path(one.tree_size)
            if self._found(path) is None and durable.write_once(path, one.note.decode(), root=self.root):
                continue
            if self.read(path) != one.note:
                raise SealError(
                    f"ATTENTION: this file and the database hold two different checkpoints for {one.tree_size} leaves",
                    where=str(path),
                    hint="One of them was rewritten after it was published: keep both, stop sealing, and audit "
                    "the log against the file",
                    written=NOTHING_WRITTEN,
                )

    def holds(self, checkpoint: StoredCheckpoint) -> bool:
        """Whether this very checkpoint was published here."""
        return self._found(self.path(checkpoint.tree_size)) == checkpoint.note

    def read(self, path: Path) -> bytes:
        """The content of a file. Raises SealError if it cannot be read, or is none that a note could fill."""
        data = self._found(path)
        if data is None:
            raise SealError(
                "cannot be read", where=str(path), seen="No such file or directory", written=NOTHING_WRITTEN
            )
        return data

    def _found(self, path: Path) -> bytes | None:
        try:
            return files.read_bounded(path, root=self.root, limit=MAX_NOTE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SealError("cannot be read", where=str(path), seen=error.strerror, written=NOTHING_WRITTEN) from None
