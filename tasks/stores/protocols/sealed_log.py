"""What the sealed log needs of a store, whatever kind of database it is: values and one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tasks.attestation.fast.batch_hashing import HASH_BYTES
from tasks.attestation.log.leaves import (
    MARK_BYTES,
    NO_DIGEST,
    TILE_LEAVES,
    AttestedRow,
    LatestRow,
    LogRow,
    PayloadRow,
)
from tasks.attestation.log.rotation_record import RotationRow
from tasks.attestation.log.subtrees import count_subtrees
from tasks.contract.binding import SidecarBinding

Purpose = Literal["read", "gate", "seal", "rotate"]

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


class SealedLog(Protocol):
    """One verified connection to the sealed log and what it seals, that can write what it was opened for and no more:
    tiles and checkpoints, or one row of the attestation log, or nothing.

    It is opened and closed in one block and never crosses a fork. Ids of attestations only ever grow, and leaves are
    given in their order. Every method may raise DatabaseError or LockedError.
    """

    @property
    def binding(self) -> SidecarBinding: ...

    @property
    def opened(self) -> str:
        """The store that was opened, behind all links: as `StorePlace.absolute` named it then."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside the block is the same moment's."""

    def check_place(self) -> None:
        """Raise DatabaseError if the place means another store than when it was opened."""

    def check_schema(self) -> None:
        """Raise SchemaChangedError if the schema is no longer the one that was gated."""

    # -- rows of the log -----------------------------------------------------------------------------

    def last_attestation_id(self) -> int | None:
        """The greatest id up to which the log is complete, None if there is none: what is written later, and what is
        being written now, has a greater one.

        Where one writer at a time has the store, that is the greatest id of all. A store whose transactions can commit
        in another order than they took their ids leaves out what lies behind an open one.
        """

    def count_all_rows(self) -> int: ...

    def count_rows(self, first: int, last: int) -> int:
        """How many rows have an id from `first` to `last`."""

    def end_of_rows(self, first: int, last: int, rows: int) -> int | None:
        """The id of the `rows`-th row from `first` on; None if there are fewer up to `last`."""

    def read_attested(self, first: int, last: int) -> list[AttestedRow]:
        """The rows with ids from `first` to `last`, in order, each with its fact's metadata. Plain tuples."""

    def read_rows(self, first: int, last: int) -> list[LogRow]:
        """The rows with ids from `first` to `last`, in order. Plain tuples."""

    def read_log_row(self, attestation_id: int) -> LogRow | None:
        """One row, whatever is stored in it."""

    # -- checkpoints and tiles -----------------------------------------------------------------------

    def last_checkpoint(self) -> StoredCheckpoint | None: ...

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All of them, the smallest first."""

    def leaves_of_run(self, run_id: str) -> int:
        """How many leaves were sealed for a run, by whichever of its processes."""

    def last_attestation_of_run(self, run_id: str) -> int | None:
        """The greatest attestation id that the ledger of batches has of a run, None if it has logged nothing."""

    def append(self, new: NewCheckpoint) -> bool:
        """Commit tiles and their checkpoint durably, all of it or nothing.

        False, with nothing written, if another sealer was faster: the log has another size than `grows_from` now.
        """

    def layout(self) -> list[TileHead]:
        """Every tile without its large columns, in leaf order."""

    def read_tile(self, head: TileHead) -> Tile:
        """A tile whose head has no objection."""

    # -- the metadata against the log ----------------------------------------------------------------

    def read_latest(self, first: int, last: int) -> list[LatestRow]:
        """The rows from `first` to `last` that are the latest of their fact, with its metadata row. Plain tuples."""

    def read_metadata(self, fact_id: str) -> tuple[object, PayloadRow] | None:
        """The signature column of a fact and the columns of its payload."""

    def read_successions(self, first: int, last: int) -> list[Any]:
        """The rows from `first` to `last` that are not the latest of their fact, each with the next one about it.

        Tuples of (its id, the next one's id, fact id, notes), of any type.
        """

    def first_batch_attestation(self) -> int | None:
        """The least attestation id in the ledger of batches, None if no batch has logged anything."""

    def rows_that_supersede(self, *, before: int | None) -> Iterator[tuple[int, object]]:
        """(id, notes) of rows whose notes look as if they named an attestation that they supersede, in order. Others
        may be among them.
        """

    def unlogged(self) -> Iterator[object]:
        """The facts that have a metadata row and no row in the log."""

    def latest_of_fact(self, fact_id: str) -> int | None: ...

    def has_older(self, fact_id: str, signature_hex: str, *, before: int) -> bool:
        """Whether an earlier row of the log holds this signature for this fact."""

    def rotations(self) -> list[RotationRow]:
        """Rows that say they rotate a key, in the order of their ids."""

    def append_rotation(self, *, fact_id: str, attester: str, signature_hex: str, notes: str, now: str) -> int:
        """Append one row to the log, durably. Returns its attestation id."""
