"""Proving that the sealed log holds what a fact's metadata row says.

1. Find the leaf of the fact's latest row in the log, and the newest checkpoint that covers it.
2. Take the roots of all subtrees from the tiles, but for the leaf's own tile: that one is hashed from its rows.
3. Put the proof together, and check it before it is handed out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.checkpoints import Checkpoint, InclusionProof
from tasks.attestation.log.leaves import NO_DIGEST, leaf_data, leaf_hashes, payload_of
from tasks.attestation.log.merkle import Frontier, leaf_hash
from tasks.attestation.log.merkle_proofs import inclusion_ranges, verify_inclusion
from tasks.attestation.log.notes import Note, VerifierKey
from tasks.attestation.log.proofs import Checked, check_proof, encode_extra
from tasks.attestation.log.subtrees import subtrees
from tasks.core.errors import NoteError, ProofError
from tasks.core.fact_keys import ids_in_order
from tasks.job.commands import audit_command, provenance_command
from tasks.job.settings import Settings
from tasks.sealed_log.sealed_part import digest_of
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import SealedLog, Tile, TileHead


def prove(settings: Settings, fact_id: str) -> bytes:
    """The proof of what the fact's metadata row says now, as a file. Reads only.

    Raises ProofError if there is nothing to prove: no such fact, not sealed yet, changed since, or a log that does not
    match its checkpoint.
    """
    nothing = f"fact {fact_id!r}: nothing was attested about it in {settings.place}. There is no proof."
    if not ids_in_order([fact_id]):
        raise ProofError(nothing)
    with open_store(settings).sealed_log(purpose="read") as session, session.snapshot():
        attestation_id = session.latest_of_fact(fact_id)
        found = session.read_metadata(fact_id)
        if attestation_id is None or found is None:
            raise ProofError(nothing)
        blob, row = found
        heads = session.layout()
        tile = _tile_of(session, heads, attestation_id)
        if tile is None:
            raise ProofError(
                f"its attestation {attestation_id} is not sealed yet",
                where=f"fact {fact_id!r}",
                hint=f"Seal the log first: {provenance_command(settings, 'seal')}",
            )
        leaf = tile.first_leaf + tile.attestation_ids.index(attestation_id)
        digest, payload, audit = tile.digest(leaf), payload_of(row), audit_command(settings)
        if payload is None or not isinstance(blob, bytes) or digest in (NO_DIGEST, None) or digest_of(row) != digest:
            raise ProofError(
                f"its metadata row is not what was sealed with leaf {leaf}: {audit}", where=f"fact {fact_id!r}"
            )
        log_row = session.read_log_row(attestation_id)
        assert log_row is not None  # it was found a moment ago, in this snapshot
        data = leaf_data(log_row, digest)
        proof = _inclusion(session, heads, tile, leaf, leaf_hash(data), audit)
    extra = encode_extra(blob=blob, leaf=data, payload=payload)
    return InclusionProof(proof.index, proof.hashes, proof.checkpoint, extra).encode()


def check(data: bytes, row_keys: Sequence[VerifierKey], log_keys: Sequence[VerifierKey]) -> Checked:
    """What a proof shows, by these keys. Needs no database."""
    return check_proof(data, row_keys, log_keys)


def _tile_of(session: SealedLog, heads: Sequence[TileHead], attestation_id: int) -> Tile | None:
    for head in heads:
        if head.first_id <= attestation_id <= head.last_id and head.objection() is None:
            tile = session.read_tile(head)
            if attestation_id in tile.attestation_ids:
                return tile
    return None


def _inclusion(
    session: SealedLog, heads: Sequence[TileHead], tile: Tile, leaf: int, hashed: bytes, audit: str
) -> InclusionProof:
    last = session.last_checkpoint()
    if last is None:
        raise ProofError(f"the log has no checkpoint: {audit}.")
    nodes = _nodes(session, heads, tile)
    try:
        hashes = tuple(_root_of(nodes, *one) for one in inclusion_ranges(leaf, last.tree_size))
        root = Checkpoint.parse(Note.parse(last.note).text).root
    except (IndexError, KeyError, ValueError, NoteError) as error:
        raise ProofError(f"the tiles of the log are damaged ({error}): {audit}.") from None
    if not verify_inclusion(hashed, leaf, last.tree_size, hashes, root):
        raise ProofError(f"leaf {leaf} does not lead to the root of {last.tree_size} leaves: {audit}.")
    return InclusionProof(leaf, hashes, last.note)


def _nodes(session: SealedLog, heads: Sequence[TileHead], tile: Tile) -> dict[int, tuple[int, bytes]]:
    """First leaf to (level, root): the tiles' subtrees, and in the leaf's own tile every leaf by itself."""
    nodes = {}
    for head in heads:
        if head.first_leaf != tile.first_leaf:
            for (start, level), root in zip(
                subtrees(head.first_leaf, head.end), split_hashes(head.roots), strict=False
            ):
                nodes[start] = (level, root)
    ids = set(tile.attestation_ids)
    rows = [row for row in session.read_rows(tile.attestation_ids[0], tile.attestation_ids[-1]) if row[0] in ids]
    if len(rows) == tile.leaves:
        for at, one in enumerate(split_hashes(leaf_hashes(rows, tile.digests)), tile.first_leaf):
            nodes[at] = (0, one)
    return nodes


def _root_of(nodes: dict[int, tuple[int, bytes]], start: int, end: int) -> bytes:
    """The root over leaves `start` to `end`, from the subtrees that it is made of."""
    levels, at = Frontier(), start
    while at < end:
        level, root = nodes[at]
        levels.append_subtree(root, level=level)
        at += 1 << level
    return levels.root()
