"""The tiles and the checkpoints in the database: do they make one log, as long as what is signed of it?"""

from __future__ import annotations

from tasks.attestation.log.checkpoints import Checkpoint
from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.merkle import Frontier
from tasks.attestation.public_keys import KeyRegistry
from tasks.audit.report import AuditReport
from tasks.audit.signed import open_registered
from tasks.core.errors import NoteError
from tasks.stores.protocols.sealed_log import SealedLog, StoredCheckpoint, break_in


class StoredLog:
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
