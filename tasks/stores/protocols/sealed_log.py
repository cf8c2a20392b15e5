"""What the sealed log needs of a store: its values, whatever kind of database it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.attestation.fast.batch_hashing import HASH_BYTES
from tasks.attestation.log.leaves import MARK_BYTES, NO_DIGEST, TILE_LEAVES
from tasks.attestation.log.subtrees import count_subtrees

_ID_BYTES = 8
FIRST_ID = -(2**63)
"""No id is smaller."""


@dataclass(frozen=True)
class Tile:
    """Up to TILE_LEAVES leaves in a row, the first of which is leaf `first_leaf`. Never crosses a multiple of that.

    `digests` and `marks` hold 32 and 8 bytes a leaf; `roots` are those of `subtrees`, 32 bytes each.
    """

    first_leaf: int
    attestation_ids: tuple[int, ...]
    roots: bytes
    marks: bytes
    digests: bytes

    @property
    def leaves(self) -> int:
        return len(self.attestation_ids)

    @property
    def end(self) -> int:
        """The leaf after the last one."""
        return self.first_leaf + self.leaves

    def digest(self, leaf: int) -> bytes:
        at = (leaf - self.first_leaf) * HASH_BYTES
        return self.digests[at : at + HASH_BYTES]

    def mark(self, leaf: int) -> bytes:
        at = (leaf - self.first_leaf) * MARK_BYTES
        return self.marks[at : at + MARK_BYTES]

    @property
    def packed_ids(self) -> bytes | None:
        """None if the ids have no gap, else 8 bytes each, little-endian."""
        if self.attestation_ids[-1] - self.attestation_ids[0] + 1 == self.leaves:
            return None
        return b"".join(one.to_bytes(_ID_BYTES, "little", signed=True) for one in self.attestation_ids)


@dataclass(frozen=True)
class TileHead:
    """A tile without its large columns, as the database holds it: nothing about it is checked yet."""

    first_leaf: int
    leaves: int
    first_id: int
    last_id: int
    roots: bytes
    ids_length: int | None
    marks_length: int
    digests_length: int

    @property
    def end(self) -> int:
        return self.first_leaf + self.leaves

    def objection(self) -> str | None:
        """What makes the row no tile, in words, or None."""
        if not 1 <= self.leaves <= TILE_LEAVES - self.first_leaf % TILE_LEAVES:
            return f"{self.leaves} leaves"
        if self.marks_length != MARK_BYTES * self.leaves:
            return f"leaf_marks of {self.marks_length} bytes for {self.leaves} leaves"
        if self.digests_length != len(NO_DIGEST) * self.leaves:
            return f"payload_digests of {self.digests_length} bytes for {self.leaves} leaves"
        if self.ids_length is None:
            dense = self.last_id - self.first_id + 1 == self.leaves
            return None if dense else f"no attestation_ids, though {self.first_id} to {self.last_id} has gaps"
        if self.ids_length != _ID_BYTES * self.leaves:
            return f"attestation_ids of {self.ids_length} bytes for {self.leaves} leaves"
        return None


def break_in(heads: Sequence[TileHead]) -> tuple[int, str] | None:
    """Where tiles in order of their leaves do not make one log: the leaf where the next tile had to begin, and why."""
    expected, behind = 0, FIRST_ID - 1
    for head in heads:
        objection = head.objection()
        if head.first_leaf != expected:
            objection = f"the next tile begins at leaf {head.first_leaf}"
        elif objection is None and len(head.roots) != HASH_BYTES * count_subtrees(head.first_leaf, head.end):
            objection = f"subtree_roots of {len(head.roots)} bytes"
        elif objection is None and head.first_id <= behind:
            objection = f"its ids begin at {head.first_id}, those before it end at {behind}"
        if objection:
            return expected, objection
        expected, behind = head.end, head.last_id
    return None


def unpacked_ids(head: TileHead, packed: bytes | None) -> tuple[int, ...]:
    """The attestation ids of a tile whose head has no objection."""
    if packed is None:
        return tuple(range(head.first_id, head.last_id + 1))
    at = range(0, len(packed), _ID_BYTES)
    return tuple(int.from_bytes(packed[i : i + _ID_BYTES], "little", signed=True) for i in at)


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint as the database holds it: nothing about it is checked yet."""

    tree_size: int
    root: bytes
    frontier: bytes
    last_attestation_id: int
    note: bytes


@dataclass(frozen=True)
class NewCheckpoint:
    """A checkpoint to append, with the tiles that lead to it from one of `grows_from` leaves."""

    checkpoint: StoredCheckpoint
    grows_from: int
    tiles: tuple[Tile, ...]
    run_id: str | None
    now: str


def next_id(last: int | None) -> int:
    """The first id after `last`, or of all."""
    return FIRST_ID if last is None else last + 1
