"""One range of tiles held against the rows it seals: what each process of an audit does.

1. Read a tile, and the rows of the log from behind the tile before it up to its last id.
2. Note rows that are gone and rows that no tile knows.
3. Hash every leaf from its row and the payload digest that the tile keeps. Where the first bytes are not the tile's
   mark, the leaf is suspect; which of the two was altered is decided later, when the root is known.
4. Unless it is a root-only audit: hold the metadata row of every fact whose latest row is here against its leaf, and
   every other row against the next one about the same fact.
5. Hand back the roots of the subtrees, cut where a checkpoint ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import lt

from tasks.attestation.fast.batch_hashing import HASH_BYTES, split_hashes
from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.leaves import (
    MARK_BYTES,
    NO_DIGEST,
    LatestRow,
    LogRow,
    PayloadRow,
    leaf_data,
    leaf_hashes,
    marks_of,
)
from tasks.attestation.log.merkle import leaf_hash
from tasks.attestation.log.rotation_record import is_rotation
from tasks.attestation.log.subtrees import subtree_roots
from tasks.attestation.signature_column import parse
from tasks.audit.successions import Reattested, Successions
from tasks.core.collector import no_collector
from tasks.core.values import NotUtf8
from tasks.job.settings import Settings
from tasks.sealed_log.sealed_part import digest_of
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import FIRST_ID, SealedLog, Tile, TileHead

KEPT = 100
"""Findings of one kind that a range keeps; all are counted."""

_GONE = bytes(32)


@dataclass(frozen=True)
class AuditRange:
    """Tiles in a row. `behind` is the last id before them; `cuts` are the sizes at which a root is wanted.

    `noted_from` is the first attestation whose notes would say what it supersedes, None if there is none.
    """

    tiles: tuple[TileHead, ...]
    behind: int | None
    cuts: tuple[int, ...]
    root_only: bool
    noted_from: int | None


@dataclass(frozen=True)
class Suspect:
    """A leaf whose hash is not what its tile's mark says."""

    leaf: int
    row: LogRow
    digest: bytes
    mark: bytes
    digest_is_wrong: bool


@dataclass
class Audited:
    """What a range came to. `pieces` are (leaf after it, roots of its subtrees), in order."""

    pieces: list[tuple[int, list[bytes]]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    other_roots: list[int] = field(default_factory=list)
    counts: Counter[Verdict] = field(default_factory=Counter)
    suspect_count: int = 0
    metadata_rows: int = 0
    reattested: list[Reattested] = field(default_factory=list)
    reattested_count: int = 0

    def tell(self, told: Finding | Reattested) -> None:
        if isinstance(told, Finding):
            self.add(told)
            return
        self.reattested_count += 1
        if self.reattested_count <= KEPT:
            self.reattested.append(told)

    def add(self, finding: Finding) -> None:
        self.counts[finding.verdict] += 1
        if self.counts[finding.verdict] <= KEPT:
            self.findings.append(finding)


def audit_range(task: tuple[Settings, AuditRange]) -> Audited:
    """Audit one range. Runs in a process of its own: opens and closes its session."""
    settings, part = task
    result = Audited()
    with open_store(settings).sealed_log(purpose="read") as session, no_collector():
        first = FIRST_ID if part.behind is None else part.behind + 1
        successions = Successions(session, part.noted_from) if part.noted_from is not None else None
        for head in part.tiles:
            _audit_tile(session, head, first, part, successions, result)
            first = head.last_id + 1
    return result


def _audit_tile(
    session: SealedLog,
    head: TileHead,
    first: int,
    part: AuditRange,
    successions: Successions | None,
    result: Audited,
) -> None:
    tile = session.read_tile(head)
    ids = tile.attestation_ids
    if not all(map(lt, (first - 1, *ids), ids)) or (ids[0], ids[-1]) != (head.first_id, head.last_id):
        detail = "its attestation ids do not ascend, or not from its first to its last"
        result.add(Finding(Verdict.TILE_DAMAGED, detail, leaf=tile.first_leaf))
    rows = session.read_rows(first, ids[-1])
    if tuple([row[0] for row in rows]) == ids:
        hashes = leaf_hashes(rows, tile.digests)
    else:
        rows, hashes = _hash_around_gaps(tile, rows, result)
    if marks_of(hashes) != tile.marks:
        _suspect(session, tile, {row[0]: LogRow(*row) for row in rows}, split_hashes(hashes), result)
    roots = subtree_roots(tile.first_leaf, hashes)
    if roots != tile.roots:
        result.other_roots.append(tile.first_leaf)
    cuts = [cut for cut in part.cuts if tile.first_leaf < cut < tile.end]
    result.pieces += _pieces(tile, hashes, cuts) if cuts else [(tile.end, split_hashes(roots))]
    if not part.root_only:
        latest = _compare_metadata(session, tile, result)
        if successions is not None and latest < tile.leaves:
            for told in successions.judge(tile):
                result.tell(told)


def _pieces(tile: Tile, hashes: bytes, cuts: Sequence[int]) -> Iterator[tuple[int, list[bytes]]]:
    start = tile.first_leaf
    for end in (*cuts, tile.end):
        piece = slice((start - tile.first_leaf) * HASH_BYTES, (end - tile.first_leaf) * HASH_BYTES)
        yield end, split_hashes(subtree_roots(start, hashes[piece]))
        start = end


def _hash_around_gaps(tile: Tile, rows: Sequence[LogRow], result: Audited) -> tuple[list[LogRow], bytes]:
    """Step 2: the rows that the tile knows, and the hash of every leaf, zeros where the row is gone."""
    known = set(tile.attestation_ids)
    here = {row[0]: LogRow(*row) for row in rows if row[0] in known}
    strangers = [LogRow(*row) for row in rows if row[0] not in known]
    hashes = []
    for leaf, attestation_id in enumerate(tile.attestation_ids, tile.first_leaf):
        row = here.get(attestation_id)
        hashes.append(leaf_hash(leaf_data(row, tile.digest(leaf))) if row else _GONE)
        if row is None:
            other = next((s for s in strangers if _fits(s, tile.digest(leaf), tile.mark(leaf))), None)
            result.add(_missing(leaf, attestation_id, other))
            strangers = [s for s in strangers if s is not other]
    for row in strangers:
        detail = "the log was sealed around this id without it: it was inserted later"
        result.add(Finding(Verdict.ROW_INSERTED, detail, attestation_id=row.attestation_id, fact_id=words(row.fact_id)))
    return list(here.values()), b"".join(hashes)


def _missing(leaf: int, attestation_id: int, other: LogRow | None) -> Finding:
    if other is not None:
        detail = f"the tile says attestation {attestation_id}, but {other.attestation_id} is what was sealed"
        return Finding(Verdict.TILE_DAMAGED, detail, leaf, other.attestation_id, words(other.fact_id))
    return Finding(Verdict.ROW_MISSING, "its row of the log is gone", leaf, attestation_id)


def _suspect(session: SealedLog, tile: Tile, rows: dict[int, LogRow], hashes: Sequence[bytes], result: Audited) -> None:
    for at, attestation_id in enumerate(tile.attestation_ids):
        row, leaf = rows.get(attestation_id), tile.first_leaf + at
        if row is None or hashes[at][:MARK_BYTES] == tile.mark(leaf):
            continue
        result.suspect_count += 1
        if len(result.suspects) < KEPT:
            wrong = _digest_is_wrong(session, row, tile.digest(leaf), tile.mark(leaf))
            result.suspects.append(Suspect(leaf, row, tile.digest(leaf), tile.mark(leaf), wrong))


def _digest_is_wrong(session: SealedLog, row: LogRow, digest: bytes, mark: bytes) -> bool:
    """Whether the leaf fits its mark with another payload digest than the tile's: then the tile was altered."""
    candidates = {NO_DIGEST}
    metadata = session.read_metadata(row.fact_id) if type(row.fact_id) is str else None
    if metadata is not None:
        candidates.add(digest_of(metadata[1]))
    return any(_fits(row, other, mark) for other in candidates - {digest})


def _fits(row: LogRow, digest: bytes, mark: bytes) -> bool:
    return leaf_hash(leaf_data(row, digest))[:MARK_BYTES] == mark


# --- step 4 -----------------------------------------------------------------------------------------


def _compare_metadata(session: SealedLog, tile: Tile, result: Audited) -> int:
    """Returns how many leaves are the latest of their fact."""
    before = result.metadata_rows
    leaves = {attestation_id: leaf for leaf, attestation_id in enumerate(tile.attestation_ids, tile.first_leaf)}
    for values in session.read_latest(tile.attestation_ids[0], tile.attestation_ids[-1]):
        row = LatestRow(*values)
        leaf = leaves.get(row.attestation_id)
        if leaf is not None:
            result.metadata_rows += 1
            finding = compare(session, row, leaf, tile.digest(leaf))
            if finding:
                result.add(finding)
    return result.metadata_rows - before


def compare(session: SealedLog, row: LatestRow, leaf: int | None, digest: bytes | None) -> Finding | None:
    """What is wrong with the metadata row of a fact, given its latest row in the log and the digest sealed with it.

    `digest` is None for a row that is not sealed: then the signature alone is compared.
    """
    if type(row.fact_id) is not str or is_rotation(row.fact_id):
        return None
    wrong = _wrong(session, row, row.fact_id, digest)
    return Finding(wrong[0], wrong[1], leaf, row.attestation_id, row.fact_id) if wrong else None


def _wrong(session: SealedLog, row: LatestRow, fact_id: str, digest: bytes | None) -> tuple[Verdict, str] | None:
    if row.fact_id_in_metadata is None:
        return Verdict.METADATA_MISSING, "it was attested, and has no metadata row now"
    column = parse(row.ed25519_sig)
    if isinstance(column, str):
        return Verdict.METADATA_MALFORMED, "ed25519_sig is neither a signature nor a placeholder"
    if column.signature.hex() != row.signature_hex:
        if column.is_placeholder:
            return Verdict.METADATA_DOWNGRADED, "a placeholder now, but its latest row in the log holds a signature"
        if session.has_older(fact_id, column.signature.hex(), before=row.attestation_id):
            return Verdict.METADATA_REPLAYED, "its signature is that of an earlier row of the log"
        return Verdict.METADATA_REPLACED, "its signature is not that of its latest row in the log"
    if digest is not None and digest_of(PayloadRow(*row[4:])) != digest:
        return Verdict.METADATA_EDITED, "its fields are not those that were sealed with its signature"
    return None


def words(value: object) -> str:
    """A fact id for people, whatever it is stored as."""
    if isinstance(value, str):
        return value
    if isinstance(value, NotUtf8):
        return value.decode("utf-8", "backslashreplace")
    return f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)
