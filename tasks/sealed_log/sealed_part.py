"""What a sealer sees of the log that is sealed already, on its way to the rows that are not: it goes on from no other.

1. The tiles make one log, and their roots lead to the root of the last checkpoint.
2. There are as many rows up to its last attestation as were sealed. If not: the first tile with more or fewer.
3. Where there are new rows, those of the last tile, beside which they will lie, are what was sealed.

That costs a count and one tile, however long the log is. It does not read the other rows again: an audit does.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.leaves import NO_DIGEST, PayloadRow, leaf_hashes, marks_of, payload_of
from tasks.attestation.log.merkle import Frontier
from tasks.attestation.log.subtrees import grow, subtree_roots
from tasks.core.errors import NOTHING_WRITTEN, SealError
from tasks.stores.protocols.sealed_log import FIRST_ID, SealedLog, StoredCheckpoint, TileHead, break_in

_MARK = 8
AUDIT = "Audit the log against a checkpoint that you kept"


def refuse_other_rows(session: SealedLog) -> None:
    """Raise SealError, which names the tile or the rows, if that much shows that the sealed log was altered."""
    with session.snapshot():
        last, heads = session.last_checkpoint(), session.layout()
        if last is None:
            last = StoredCheckpoint(0, Frontier().root(), Frontier().to_bytes(), 0, b"")
        refuse_other_tiles(heads, last)
        if heads:
            newest, behind = session.last_attestation_id(), heads[-1].last_id
            later = session.count_rows(behind + 1, newest) if newest is not None and newest > behind else 0
            _refuse_other_count(session, heads, session.count_all_rows() - later)
            if later:
                _refuse_other_end(session, heads)


def refuse_other_tiles(heads: Sequence[TileHead], last: StoredCheckpoint) -> None:
    """Raise SealError unless the tiles make one log with the root of the last checkpoint."""
    broken = break_in(heads)
    if broken:
        raise SealError(
            f"at leaf {broken[0]}: {broken[1]}", where="tiles of the sealed log", hint=AUDIT, written=NOTHING_WRITTEN
        )
    frontier = Frontier()
    for head in heads:
        grow(frontier, head.end, split_hashes(head.roots))
    if (frontier.size, frontier.root()) != (last.tree_size, last.root):
        raise SealError(
            f"{frontier.size} leaves with root {frontier.root().hex()}, but the last checkpoint "
            f"signs {last.tree_size} leaves with root {last.root.hex()}. Somebody altered them",
            where="tiles of the sealed log",
            hint=AUDIT,
            written=NOTHING_WRITTEN,
        )


def _refuse_other_count(session: SealedLog, heads: Sequence[TileHead], counted: int) -> None:
    if counted == heads[-1].end:
        return
    first = FIRST_ID
    for head in heads:
        rows = session.count_rows(first, head.last_id)
        if rows != head.leaves:
            what = "missing" if rows < head.leaves else "inserted"
            since = head.first_id if first == FIRST_ID else first
            raise SealError(
                f"{rows}, but {head.leaves} were sealed, as the leaves from {head.first_leaf} on: "
                f"{abs(rows - head.leaves)} {what}",
                where=f"rows {since} to {head.last_id} of the attestation log",
                hint=AUDIT,
                written=NOTHING_WRITTEN,
            )
        first = head.last_id + 1
    raise SealError(
        f"{heads[-1].end} rows were sealed, but it counts {counted} of them: an index does not agree with its table",
        where="the attestation log",
        hint=AUDIT,
        written=NOTHING_WRITTEN,
    )


def _refuse_other_end(session: SealedLog, heads: Sequence[TileHead]) -> None:
    head = heads[-1]
    tile = session.read_tile(head)
    rows = session.read_rows(heads[-2].last_id + 1 if len(heads) > 1 else FIRST_ID, head.last_id)
    ids = tuple(row[0] for row in rows)
    if ids != tile.attestation_ids:
        other = next((one for one, sealed in zip(ids, tile.attestation_ids, strict=False) if one != sealed), ids[-1])
        raise SealError(
            f"it is not among the leaves from {head.first_leaf} on, or one before it is missing",
            where=f"row {other} of the attestation log",
            hint=AUDIT,
            written=NOTHING_WRITTEN,
        )
    hashes = leaf_hashes(rows, tile.digests)
    if subtree_roots(head.first_leaf, hashes) == head.roots:
        return
    marks = marks_of(hashes)
    at = next((n for n in range(len(ids)) if marks[_MARK * n :][:_MARK] != tile.marks[_MARK * n :][:_MARK]), 0)
    raise SealError(
        "it, or what its tile keeps of it, is not what was sealed",
        where=f"row {ids[at]} of the attestation log, leaf {head.first_leaf + at}",
        hint=AUDIT,
        written=NOTHING_WRITTEN,
    )


def digest_of(row: PayloadRow) -> bytes:
    """The digest of the payload that a metadata row spells, or NO_DIGEST."""
    payload = payload_of(row)
    return NO_DIGEST if payload is None else sha256(payload).digest()
