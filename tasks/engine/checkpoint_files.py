"""Checkpoints outside of the database: append-only files that the database can be held against.

    <state_dir>/checkpoints/<origin>/<size, 20 digits>.checkpoint

They are what makes the log tamper-evident, so keep copies where whoever writes the database cannot reach: an object
store with retention, a git repository, an auditor's mailbox. Each file is a whole signed note and stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasks.engine import markers
from tasks.engine.errors import SealError
from tasks.engine.paths import checkpoint_folder
from tasks.stores.log_base import StoredCheckpoint

_SUFFIX = ".checkpoint"


class CheckpointFiles:
    """The folder of one log's checkpoints. Nothing is created by asking."""

    def __init__(self, state_dir: str, origin: str) -> None:
        self.folder = checkpoint_folder(state_dir, origin)

    def path(self, tree_size: int) -> Path:
        return self.folder / f"{tree_size:020d}{_SUFFIX}"

    def largest(self) -> int:
        """The size of the largest checkpoint that was ever published here; 0 if none was."""
        names = [path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"*{_SUFFIX}")]
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def publish(self, checkpoints: Iterable[StoredCheckpoint]) -> None:
        """Write the files that are missing, durably. A file that is there is never changed.

        Raises SealError if a file holds another checkpoint for that size.
        """
        for one in checkpoints:
            path = self.path(one.tree_size)
            if not path.exists() and markers.write_once(path, one.note.decode()):
                continue
            if self.read(path) != one.note:
                raise SealError(
                    f"{path}: ATTENTION: this file and the database hold two different checkpoints for {one.tree_size} "
                    f"leaves. One of them was rewritten after it was published: keep both, stop sealing, and run "
                    f"provenance audit --checkpoint {path}. Nothing was written."
                )

    def holds(self, checkpoint: StoredCheckpoint) -> bool:
        """Whether this very checkpoint was published here."""
        path = self.path(checkpoint.tree_size)
        return path.exists() and self.read(path) == checkpoint.note

    @staticmethod
    def read(path: Path) -> bytes:
        """The content of a file. Raises SealError if it cannot be read."""
        try:
            return path.read_bytes()
        except OSError as error:
            raise SealError(f"{path}: cannot be read: {error.strerror}. Nothing was written.") from None
