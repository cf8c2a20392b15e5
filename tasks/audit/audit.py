"""Audit: is the log in this database the one that a checkpoint was signed for, and does the metadata agree with it?

1. Open the checkpoint, and an older one if there is one, with keys that do not come from the database.
2. Look at the tiles and the checkpoints in the database: do they make one log, as long as the checkpoint says?
3. Rebuild the tree from the rows, range by range (ranges.py), with its root at every signed size.
4. The largest signed size whose root comes out proves every leaf before it. What does not fit before it is damage to
   the tiles; behind it, rows were tampered with, and marks and tile roots say where.
5. Unless it is a root-only audit: metadata without a log, rows that are not sealed yet, key rotations, signatures.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.checkpoints import Checkpoint, open_checkpoint
from tasks.attestation.log.findings import LOG_VERDICTS, Finding, Verdict, in_order
from tasks.attestation.log.leaves import LatestRow, leaf_data
from tasks.attestation.log.merkle import Frontier, leaf_hash
from tasks.attestation.log.notes import Note, VerifierKey
from tasks.attestation.log.subtrees import grow, subtrees
from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import STATES, Judge
from tasks.audit.ranges import KEPT, Audited, AuditRange, Suspect, audit_range, compare, words
from tasks.audit.successions import Reattested, notes_are_written_from
from tasks.core.clock import now_text
from tasks.core.errors import InvalidSignatureError, NoteError, UnverifiedNoteError
from tasks.core.fact_keys import from_json
from tasks.job.settings import Settings
from tasks.rows.verify import findings_in, plan_verification, read_findings, verify_in_process
from tasks.sealed_log.leaf_groups import GROUP_LEAVES, hashing
from tasks.sealed_log.rotate import rotation_findings
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import FIRST_ID, SealedLog, StoredCheckpoint, TileHead, break_in

_REORDERED_AMONG = 64


@dataclass(frozen=True, kw_only=True)
class AuditOrder:
    """What to audit. `sample` facts have their signatures verified, None for all; 0 for none."""

    checkpoint: bytes
    since: bytes | None = None
    root_only: bool = False
    sample: int | None = None
    workers: int = 1
    allow_unsigned: bool = False


@dataclass
class AuditReport:
    """The outcome. Clean means: nothing was found."""

    origin: str | None = None
    tree_size: int | None = None
    root: str | None = None
    since_size: int | None = None
    leaves: int = 0
    unsealed_rows: int = 0
    metadata_rows: int = 0
    reattested: list[Reattested] = field(default_factory=list)
    reattested_count: int = 0
    signatures: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[Verdict] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.counts

    @property
    def verdict(self) -> str:
        """The first finding's, or `clean`."""
        return "clean" if self.clean else in_order(self.findings)[0].verdict.value

    def add(self, *findings: Finding) -> None:
        for finding in findings:
            self.counts[finding.verdict] += 1
            if self.counts[finding.verdict] <= KEPT:
                self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "clean": self.clean, "origin": self.origin, "tree_size": self.tree_size,
            "root": self.root, "since_size": self.since_size, "leaves": self.leaves,
            "unsealed_rows": self.unsealed_rows, "metadata_rows": self.metadata_rows, "signatures": self.signatures,
            "reattested": {"count": self.reattested_count, "facts": [asdict(fact) for fact in self.reattested]},
            "counts": {verdict.value: self.counts[verdict] for verdict in Verdict if self.counts[verdict]},
            "findings": [finding.as_json() for finding in in_order(self.findings)], "seconds": round(self.seconds, 3),
        }  # fmt: skip


def audit(settings: Settings, registry: KeyRegistry, order: AuditOrder) -> AuditReport:
    """Audit the log, and the metadata unless `root_only`. Reads only.

    Raises DriftError, DatabaseError or LockedError where the database cannot be read; tampering is never an error
    but a finding.
    """
    started, report = time.monotonic(), AuditReport()
    signed = _open_signed(order, registry, report)
    if signed:
        with open_store(settings).sealed_log(purpose="read") as session:
            log = _Log(session, report, signed, registry)
            if log.is_whole():
                _rebuild(settings, order, log)
            _count_unsealed(log)
            if not order.root_only:
                _compare_the_rest(log)
                report.add(*rotation_findings(session.rotations(), registry, log.leaf_of))
        if not order.root_only:
            _verify_signatures(settings, registry, order, report)
    report.seconds = time.monotonic() - started
    return report


# --- 1: the checkpoints that the auditor holds ------------------------------------------------------


def _open_signed(order: AuditOrder, registry: KeyRegistry, report: AuditReport) -> list[Checkpoint]:
    """The checkpoint and the older one, verified; nothing if one of them cannot be relied on."""
    opened = _open(order.checkpoint, registry, "", report)
    older = _open(order.since, registry, " (--since)", report) if order.since is not None else None
    if opened is None or (order.since is not None and older is None):
        return []
    report.origin, report.tree_size, report.root = opened.origin, opened.size, opened.root.hex()
    if older is None:
        return [opened]
    report.since_size = older.size
    if older.origin != opened.origin:
        detail = f"--since is a checkpoint of {older.origin}, not of {opened.origin}"
        report.add(Finding(Verdict.CHECKPOINT_OTHER_LOG, detail))
        return []
    if older.size == opened.size and older.root != opened.root:
        report.add(Finding(Verdict.INCONSISTENT, "two signed checkpoints of one size with two roots", older.size))
    return [opened, older]


def open_registered(data: bytes, registry: KeyRegistry) -> Checkpoint:
    """The checkpoint in a signed note, by the registered keys that are trusted with a log of its size.

    Raises NoteError, InvalidSignatureError or UnverifiedNoteError as `open_checkpoint` does.
    """
    last_leaf = max(Checkpoint.parse(Note.parse(data).text).size - 1, 0)
    return open_checkpoint(data, _trusted(registry, last_leaf))


def _trusted(registry: KeyRegistry, leaf: int) -> Iterator[VerifierKey]:
    for key in registry.of_use("checkpoints"):
        first, end = key.trusted_leaves
        if first <= leaf and (end is None or leaf < end):
            yield key.key


def _open(data: bytes, registry: KeyRegistry, which: str, report: AuditReport) -> Checkpoint | None:
    try:
        return open_registered(data, registry)
    except InvalidSignatureError as error:
        report.add(Finding(Verdict.CHECKPOINT_BAD_SIGNATURE, f"{error}{which}"))
    except UnverifiedNoteError as error:
        report.add(Finding(Verdict.CHECKPOINT_UNKNOWN_KEY, f"{error}{which}"))
    except NoteError as error:
        report.add(Finding(Verdict.CHECKPOINT_MALFORMED, f"{error}{which}"))
    return None


# --- 2: tiles and checkpoints in the database -------------------------------------------------------


class _Log:
    """The sealed log as the database holds it, and what is signed of it: `roots` by size."""

    def __init__(
        self, session: SealedLog, report: AuditReport, signed: list[Checkpoint], registry: KeyRegistry
    ) -> None:
        self.session, self.report = session, report
        self.heads = session.layout()
        self.broken = break_in(self.heads)
        self.stored = session.checkpoints()
        self.signed = signed
        self.roots: dict[int, bytes] = {one.size: one.root for one in reversed(signed)}
        self.stored_sizes: dict[int, StoredCheckpoint] = {}
        for one in self.stored:
            self._add_stored(one, registry)

    @property
    def size(self) -> int:
        return self.heads[-1].end if self.heads else 0

    @property
    def last_id(self) -> int | None:
        return self.heads[-1].last_id if self.heads else None

    def leaf_of(self, attestation_id: int) -> int | None:
        """The leaf of an attestation, or None if it is not sealed, or the tiles make no log."""
        for head in self.heads if self.broken is None else ():
            if head.first_id <= attestation_id <= head.last_id:
                ids = self.session.read_tile(head).attestation_ids
                return head.first_leaf + ids.index(attestation_id) if attestation_id in ids else None
        return None

    def _add_stored(self, stored: StoredCheckpoint, registry: KeyRegistry) -> None:
        objection = _objection(stored, self.signed[0].origin, registry)
        if objection:
            self.report.add(Finding(Verdict.STORED_CHECKPOINT_DAMAGED, objection, stored.tree_size))
            return
        self.stored_sizes[stored.tree_size] = stored
        if self.roots.setdefault(stored.tree_size, stored.root) != stored.root:
            detail = "the database holds a signed checkpoint of this size with another root"
            self.report.add(Finding(Verdict.INCONSISTENT, detail, stored.tree_size))

    def is_whole(self) -> bool:
        """Whether the tiles make one log that can be rebuilt, and as long as what is signed. Findings say why not."""
        return self._tiles_make_one_log() and self._is_long_enough()

    def _tiles_make_one_log(self) -> bool:
        if self.broken:
            leaf, objection = self.broken
            self.report.add(Finding(Verdict.TILE_DAMAGED, f"{objection}: the log cannot be rebuilt", leaf))
        return self.broken is None

    def _is_long_enough(self) -> bool:
        longest = max(self.roots)
        if self.size < longest:
            detail = f"the log in the database ends before the {longest} leaves that are signed"
            self.report.add(Finding(Verdict.LOG_TRUNCATED, detail, self.size))
            self.roots = {size: root for size, root in self.roots.items() if size <= self.size}
        last = self.stored[-1].tree_size if self.stored else 0
        if self.size > last:
            detail = f"the tiles go on to {self.size} leaves, the last checkpoint in the database ends at {last}"
            self.report.add(Finding(Verdict.STORED_CHECKPOINT_DAMAGED, detail, self.size))
        for one in self.signed:
            if one.size and one.size not in {stored.tree_size for stored in self.stored} and one.size <= self.size:
                detail = "the database does not hold this checkpoint any more"
                self.report.add(Finding(Verdict.STORED_CHECKPOINT_DAMAGED, detail, one.size))
        ends = {head.end: head.last_id for head in self.heads}
        for size, stored in self.stored_sizes.items():
            if size in ends and ends[size] != stored.last_attestation_id:
                detail = f"last_attestation_id is {stored.last_attestation_id}, its last tile ends with {ends[size]}"
                self.report.add(Finding(Verdict.STORED_CHECKPOINT_DAMAGED, detail, size))
        return True


def _objection(stored: StoredCheckpoint, origin: str, registry: KeyRegistry) -> str | None:
    """What makes a row no checkpoint of this log, or None."""
    try:
        checkpoint = open_registered(stored.note, registry)
        frontier = Frontier.from_bytes(stored.frontier)
    except (NoteError, ValueError) as error:
        return str(error)
    if (checkpoint.origin, checkpoint.size, checkpoint.root) != (origin, stored.tree_size, stored.root):
        return "its note is of another log, size or root than the row"
    if (frontier.size, frontier.root()) != (stored.tree_size, stored.root):
        return "its frontier does not lead to its root"
    return None


# --- 3 and 4: the tree ------------------------------------------------------------------------------


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


def _rebuild(settings: Settings, order: AuditOrder, log: _Log) -> None:
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


def _judge(log: _Log, tree: _Tree, cuts: set[int]) -> None:
    """Step 4. `proven` is the largest signed size whose root came out."""
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


def _rewritten(log: _Log, tree: _Tree, size: int) -> Finding:
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


# --- 5: the rest ------------------------------------------------------------------------------------


def _count_unsealed(log: _Log) -> None:
    newest, first = log.session.last_attestation_id(), _after(log.last_id)
    if newest is not None and newest >= first:
        log.report.unsealed_rows = log.session.count_rows(first, newest)


def _after(last_id: int | None) -> int:
    return FIRST_ID if last_id is None else last_id + 1


def _compare_the_rest(log: _Log) -> None:
    """Facts whose latest row is not sealed, and metadata that the log does not know at all."""
    newest, first = log.session.last_attestation_id(), _after(log.last_id)
    if newest is not None and newest >= first and log.report.unsealed_rows:
        for values in log.session.read_latest(first, newest):
            finding = compare(log.session, LatestRow(*values), None, None)
            log.report.add(*([finding] if finding else []))
    for fact_id in log.session.unlogged():
        detail = "it has a metadata row, and no row in the log"
        log.report.add(Finding(Verdict.METADATA_UNLOGGED, detail, fact_id=words(fact_id)))


def _verify_signatures(settings: Settings, registry: KeyRegistry, order: AuditOrder, report: AuditReport) -> None:
    """Every row's state, or that of `sample` rows chosen at random."""
    counts = Counter[str]()
    found = _of_sample(settings, registry, order.sample, counts) if order.sample is not None else None
    if found is None:
        found = _of_all(settings, registry, order.workers, counts)
    for state, fact_id, detail in found:
        if state != "unsigned" or not order.allow_unsigned:
            report.add(Finding(Verdict(f"signature_{state}"), detail, fact_id=fact_id))
    report.signatures = {state: counts[state] for state in STATES if counts[state]}


def _of_all(
    settings: Settings, registry: KeyRegistry, workers: int, counts: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    plan = plan_verification(settings, registry, run_id="audit", created_at=now_text(), workers=workers)
    with TemporaryDirectory(prefix="provenance-audit-") as folder:
        for verdict in verify_in_process(settings, registry, plan, workers=workers, folder=Path(folder)):
            counts.update(verdict.states)
        for found in read_findings(
            (findings_in(Path(folder), chunk.chunk) for chunk in plan.chunks), root=Path(folder)
        ):
            yield found["state"], words(from_json(found["fact_id"])), found["detail"]


def _of_sample(
    settings: Settings, registry: KeyRegistry, sample: int, counts: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    """Rows of the log at random, and the metadata rows of their facts."""
    with open_store(settings).sealed_log(purpose="read") as log, open_store(settings).attestations() as reader:
        judge = Judge(registry, first_id_of_leaf=reader.first_id_of_leaf, logged_before=reader.logged_before)
        heads = [head for head in log.layout() if head.objection() is None]
        leaves = sum(head.leaves for head in heads)
        chosen = sorted(random.SystemRandom().sample(range(leaves), min(sample, leaves)))
        for fact_id in sorted(set(_facts_at(log, heads, chosen))):
            row = reader.read_row(fact_id)
            found = judge.findings([row]) if row is not None else []
            counts.update([found[0].state if found else "valid"] if row is not None else [])
            for finding in found:
                yield finding.state, words(finding.fact_id), finding.detail


def _facts_at(log: SealedLog, heads: Sequence[TileHead], leaves: Sequence[int]) -> Iterator[str]:
    """The facts that these leaves are about, counted over whole tiles."""
    wanted, at, start = list(leaves), 0, 0
    for head in heads:
        ids = None
        while at < len(wanted) and wanted[at] < start + head.leaves:
            ids = ids or log.read_tile(head).attestation_ids
            row = log.read_log_row(ids[wanted[at] - start])
            if row is not None and isinstance(row.fact_id, str):
                yield row.fact_id
            at += 1
        start += head.leaves
