"""The sealed log as it is stored: tiles of leaves, and the checkpoints over them."""

from __future__ import annotations

from typing import Any

from tasks.core import crash_points
from tasks.stores.protocols.sealed_log import NewCheckpoint, StoredCheckpoint, Tile, TileHead, unpacked_ids
from tasks.stores.sqlite.runner import StatementRunner


class LogTiles(StatementRunner):
    """Reads tiles and checkpoints, and appends them. See the protocol for what each method promises."""

    def last_checkpoint(self) -> StoredCheckpoint | None:
        rows = self._run("last_checkpoint")
        return _checkpoint(rows[0]) if rows else None

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All of them, the smallest first."""
        return [_checkpoint(row) for row in self._run("read_checkpoints")]

    def leaves_of_run(self, run_id: str) -> int:
        """How many leaves were sealed for a run, by whichever of its processes."""
        return int(self._run("leaves_of_run", run_id=run_id)[0][0])

    def last_attestation_of_run(self, run_id: str) -> int | None:
        """The greatest attestation id that the ledger of batches has of a run, None if it has logged nothing."""
        found: int | None = self._run("last_attestation_of_run", run_id=run_id)[0][0]
        return found

    def layout(self) -> list[TileHead]:
        """Every tile without its large columns, in leaf order."""
        return [tile_head(row) for row in self._run("read_layout")]

    def read_tile(self, head: TileHead) -> Tile:
        """A tile whose head has no objection."""
        row = self._run("read_tile", first_leaf=head.first_leaf)[0]
        return Tile(head.first_leaf, unpacked_ids(head, row[5]), row[4], row[6], row[7])

    def append(self, new: NewCheckpoint) -> bool:
        """Commit tiles and their checkpoint durably, all of it or nothing.

        False, with nothing written, if another sealer was faster: the log has another size than `grows_from` now.
        """
        crash_points.reach("before the seal's write lock")
        with self._transaction("begin_write"):
            self.check_schema()
            last = self._run("last_checkpoint")
            if (last[0][0] if last else 0) != new.grows_from:
                return False
            with self._translated("append_tile"):
                self._connection.executemany(self._sql["append_tile"], map(_tile_values, new.tiles))
            made = new.checkpoint
            self._run(
                "append_checkpoint", tree_size=made.tree_size, root=made.root, frontier=made.frontier,
                last_attestation_id=made.last_attestation_id, note=made.note.decode(), run_id=new.run_id, now=new.now,
            )  # fmt: skip
            crash_points.reach("before the seal commits")
        crash_points.reach("after the seal commits")
        return True


def _checkpoint(row: Any) -> StoredCheckpoint:
    size, root, frontier, last_attestation_id, note = row
    return StoredCheckpoint(size, root or b"", frontier or b"", last_attestation_id or 0, note or b"")


def tile_head(row: Any) -> TileHead:
    """A row of the layout."""
    first_leaf, leaves, first_id, last_id, roots, ids_length, marks_length, digests_length = row
    return TileHead(
        first_leaf, leaves or 0, first_id or 0, last_id or 0, roots or b"", ids_length, marks_length or 0,
        digests_length or 0,
    )  # fmt: skip


def _tile_values(tile: Tile) -> tuple[Any, ...]:
    ids = tile.attestation_ids
    return (
        tile.first_leaf, tile.leaves, ids[0], ids[-1], tile.roots, tile.packed_ids, tile.marks, tile.digests,
    )  # fmt: skip
