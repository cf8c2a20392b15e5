"""The tree over the rows of the log, rebuilt and held against every root that is signed.

1. Rebuild it range by range (ranges.py), with its root at every signed size.
2. The largest signed size whose root comes out proves every leaf before it. What does not fit before it is damage to
   the tiles; behind it, rows were tampered with, and marks and tile roots say where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.findings import LOG_VERDICTS, Finding, Verdict
from tasks.attestation.log.leaves import leaf_data
from tasks.attestation.log.merkle import Frontier, leaf_hash
from tasks.attestation.log.subtrees import grow, subtrees
from tasks.audit.ranges import KEPT, Audited, AuditRange, Suspect, audit_range, words
from tasks.audit.report import AuditOrder, AuditReport
from tasks.audit.stored_log import StoredLog
from tasks.audit.successions import notes_are_written_from
from tasks.job.settings import Settings
from tasks.sealed_log.leaf_groups import GROUP_LEAVES, hashing
from tasks.stores.protocols.sealed_log import TileHead

_REORDERED_AMONG = 64


@dataclass
class _Tree:
    """The tree as rebuilt: the frontier at every signed size, and what did not fit on the way."""

    at: dict[int, Frontier] = field(default_factory=dict)
    suspects: list[Suspect] = field(default_factory=list)
    suspect_count: int = 0
    other_roots: list[int] = field(default_factory=list)

    def take(self, part: Audited, frontier: Frontier, cuts: set[int]) -> None:
        for end, roots in part.pieces:
            grow(frontier, end, roots)
            if end in cuts:
                self.at[end] = Frontier.from_bytes(frontier.to_bytes())
        self.suspects += part.suspects[: KEPT - len(self.suspects)]
        self.suspect_count += part.suspect_count
        self.other_roots += part.other_roots


def rebuild(settings: Settings, order: AuditOrder, log: StoredLog) -> None:
    cuts = {size for size in log.roots if size}
    tree, frontier, report = _Tree(), Frontier(), log.report
    noted_from = None if order.root_only else notes_are_written_from(log.session)
    parts = list(_ranges(log.heads, sorted(cuts), root_only=order.root_only, noted_from=noted_from))
    with hashing(log.size, processes=order.workers) as run:
        for part in run(audit_range, ((settings, part) for part in parts)):
            tree.take(part, frontier, cuts)
            report.metadata_rows += part.metadata_rows
            report.findings += part.findings
            report.counts += part.counts
            report.reattested += part.reattested[: KEPT - len(report.reattested)]
            report.reattested_count += part.reattested_count
    report.leaves = frontier.size
    _judge(log, tree, cuts)


def _ranges(
    heads: Sequence[TileHead], cuts: Sequence[int], *, root_only: bool, noted_from: int | None
) -> Iterator[AuditRange]:
    """Tiles in groups of about GROUP_LEAVES leaves."""
    group: list[TileHead] = []
    behind: int | None = None
    for head in heads:
        group.append(head)
        if head.end - group[0].first_leaf >= GROUP_LEAVES:
            yield _range(group, behind, cuts, root_only, noted_from)
            group, behind = [], head.last_id
    if group:
        yield _range(group, behind, cuts, root_only, noted_from)


def _range(
    group: list[TileHead], behind: int | None, cuts: Sequence[int], root_only: bool, noted_from: int | None
) -> AuditRange:
    within = tuple(cut for cut in cuts if group[0].first_leaf < cut <= group[-1].end)
    return AuditRange(tuple(group), behind, within, root_only, noted_from)


def _judge(log: StoredLog, tree: _Tree, cuts: set[int]) -> None:
    """Step 2. `proven` is the largest signed size whose root came out."""
    report = log.report
    good = {size for size in cuts if tree.at[size].root() == log.roots[size]}
    proven = max(good, default=0)
    for size in sorted(cuts - good):
        if size < proven:
            detail = f"this signed checkpoint is not of the log that the one of {proven} leaves is of"
            report.add(Finding(Verdict.INCONSISTENT, detail, size))
    report.add(*_of_suspects(tree.suspects, proven))
    left_out = tree.suspect_count - len(tree.suspects)
    if left_out and tree.suspects:
        report.counts[Verdict.ROW_EDITED if tree.suspects[-1].leaf >= proven else Verdict.TILE_DAMAGED] += left_out
    ends = {head.first_leaf: head.end for head in log.heads}
    for first in tree.other_roots:
        if ends[first] <= proven and not _is_named(report, first, ends[first]):
            report.add(Finding(Verdict.TILE_DAMAGED, "subtree_roots are not those of its leaves", first))
    for size in sorted(cuts - good):
        if size > proven and not _is_named(report, proven, size):
            report.add(_rewritten(log, tree, size))
            break


def _is_named(report: AuditReport, start: int, end: int) -> bool:
    """Whether a finding about the log itself names a leaf of a range already, or a row between its leaves."""
    return any(
        f.verdict in LOG_VERDICTS
        and f.verdict not in (Verdict.INCONSISTENT, Verdict.LOG_TRUNCATED)
        and f.leaf is not None
        and start <= f.leaf < end
        for f in report.findings
    )


def _of_suspects(suspects: Sequence[Suspect], proven: int) -> Iterator[Finding]:
    behind = [one for one in suspects if one.leaf >= proven and not one.digest_is_wrong]
    moved = _reordered(behind[:_REORDERED_AMONG])
    for one in suspects:
        row, name = one.row, words(one.row.fact_id)
        if one.leaf < proven:
            detail = "its mark is not that of the leaf, which the signed root proves"
            yield Finding(Verdict.TILE_DAMAGED, detail, one.leaf, row.attestation_id, name)
        elif one.digest_is_wrong:
            detail = "its payload digest is not the one that was sealed"
            yield Finding(Verdict.TILE_DAMAGED, detail, one.leaf, row.attestation_id, name)
        elif one.leaf in moved:
            detail = f"what was sealed here stands at attestation {moved[one.leaf]} now"
            yield Finding(Verdict.ROW_REORDERED, detail, one.leaf, row.attestation_id, name)
        else:
            detail = "its row of the log is not what was sealed"
            yield Finding(Verdict.ROW_EDITED, detail, one.leaf, row.attestation_id, name)


def _reordered(suspects: Sequence[Suspect]) -> dict[int, int]:
    """Leaf to the attestation whose content, under the leaf's own id, is what was sealed there."""
    moved = {}
    for one in suspects:
        for other in suspects:
            if other is not one:
                row = other.row._replace(attestation_id=one.row.attestation_id)
                if leaf_hash(leaf_data(row, one.digest)).startswith(one.mark):
                    moved[one.leaf] = other.row.attestation_id
                    break
    return moved


def _rewritten(log: StoredLog, tree: _Tree, size: int) -> Finding:
    """Every row agrees with its tile, and yet the root is another: where can it be?

    What is stored can be believed as far as it leads to the signed root: the tiles' roots, or else the frontier.
    """
    by_tile = Frontier()
    for head in log.heads:
        if head.end <= size:
            grow(by_tile, head.end, split_hashes(head.roots))
    if by_tile.size == size and by_tile.root() == log.roots[size]:
        head = next(head for head in log.heads if head.first_leaf in tree.other_roots)
        return _rewritten_within(head.first_leaf, head.end)
    stored = log.stored_sizes.get(size)
    if stored is not None:
        pairs = zip(_roots_of(stored.frontier), _roots_of(tree.at[size].to_bytes()), subtrees(0, size), strict=True)
        for sealed, found, (first, level) in pairs:
            if sealed != found:
                return _rewritten_within(first, first + (1 << level))
    smaller = [one for one, root in log.roots.items() if one in tree.at and tree.at[one].root() == root]
    return _rewritten_within(max(smaller, default=0), size)


def _rewritten_within(first: int, end: int) -> Finding:
    detail = f"rows and tiles agree, but not with the signed root: one of the leaves {first} to {end - 1} was rewritten"
    return Finding(Verdict.LOG_REWRITTEN, detail, first)


def _roots_of(frontier: bytes) -> list[bytes]:
    return split_hashes(frontier[8:])
