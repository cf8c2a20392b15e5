"""Sealing the log: new rows get leaves, and a checkpoint is signed over the tree they make.

1. Go on from the last checkpoint, after it has been held against its own signature and every published file.
2. Cut the rows behind it into groups, in the order of their ids. The position in that order is the leaf's number.
3. Hash the groups, in worker processes where there is much to do: with the digests that were left where the payloads
   were signed, or from the metadata where there are none.
4. Commit every million leaves with a signed checkpoint, in one transaction, under the write lock.
5. Publish each checkpoint as a file, after its commit.

A crash anywhere loses at most what was hashed and not committed, and a checkpoint without its file gets it the next
time. Two sealers at once: the database lets only one grow the log from a given size, the other starts again from there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log import notes
from tasks.attestation.log.checkpoints import Checkpoint
from tasks.attestation.log.merkle import Frontier
from tasks.attestation.log.subtrees import grow
from tasks.attestation.signer import Signer
from tasks.core import crash_points, durable
from tasks.core.clock import now_text
from tasks.core.documents import Count, Digest, Seconds, typed
from tasks.core.errors import NOTHING_WRITTEN, RUN_AGAIN, DriftError, StateError
from tasks.core.patience import patiently
from tasks.job.key_uses import refuse_other_store
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of
from tasks.sealed_log.checkpoint_files import CheckpointFiles
from tasks.sealed_log.digest_files import DigestFile, PayloadDigests, find_digests, remove_digests
from tasks.sealed_log.history import EMPTY, require_history
from tasks.sealed_log.key_standing import refuse_ended_keys
from tasks.sealed_log.leaf_groups import Group, groups_of, hash_group, hashing
from tasks.sealed_log.sealed_part import refuse_other_rows
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import NewCheckpoint, SealedLog, StoredCheckpoint, Tile, next_id

logger = logging.getLogger("luigi-interface")

STEP_LEAVES = 1 << 20

SealState = Literal["sealed", "no_key", "dry_run"]


@dataclass(frozen=True)
class Sealed:
    """How the log stands, after it was sealed in so many `seconds`.

    `root` is hex; `unsealed_rows` is None where the table cannot be counted by its ids. `new_leaves` are those that
    this sealing committed; in a run's seal.json, those that any process sealed for the run.
    """

    state: SealState
    tree_size: Count
    root: Digest | None
    unsealed_rows: Count | None
    checkpoint_file: str | None
    new_leaves: Count = 0
    seconds: Seconds = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def words(self) -> str:
        """How the log stands, in plain words for a report."""
        if self.state == "dry_run":
            return "log: a dry run seals nothing"
        size, unsealed = self.tree_size, self.unsealed_rows
        if self.state == "sealed":
            late = f"; {unsealed:,} rows came since and are not" if unsealed else ""
            where = f", checkpoint {self.checkpoint_file}" if self.checkpoint_file else ""
            return f"log: sealed, {size:,} leaves ({self.new_leaves:,} new){where}{late}"
        count = "its rows" if unsealed is None else f"{unsealed:,} rows"
        return (
            f"log: UNSEALED, no key for checkpoints is configured: {count} of the attestation log can be changed "
            f"without a trace{f' (the first {size:,} were sealed earlier)' if size else ''}"
        )


def seal_log(settings: Settings, *, run_id: str | None, now: Callable[[], str] = now_text) -> Sealed:
    """Seal every row that the log holds now. Without a key nothing is written, and the rows are counted.

    Raises SealError if the log is not the one that was sealed before; SigningKeyError for a key that was superseded or
    revoked; DriftError, DatabaseError or LockedError.
    """
    signer = log_signer_of(settings)
    if signer is None:
        return _unsealed(settings)
    refuse_ended_keys(settings, rows=None, checkpoints=signer)
    started = time.monotonic()
    files = CheckpointFiles(settings.state_dir, settings.sealing.origin)
    with open_store(settings).sealed_log(purpose="seal") as session:
        refuse_other_store(session.opened, signer)
        sealer, is_whole = _Sealer(session, settings, signer, files, run_id, now), False
        while not is_whole:
            start = _resume(session, signer, files, settings.sealing.origin)
            refuse_other_rows(session)
            is_whole = sealer.seal(start)
        last = session.last_checkpoint()
        if last is not None:
            remove_digests(settings.state_dir, through=last.last_attestation_id)
        return Sealed(
            state="sealed",
            tree_size=last.tree_size if last else 0,
            root=last.root.hex() if last else None,
            unsealed_rows=_count_unsealed(session, last),
            checkpoint_file=str(files.path(last.tree_size)) if last else None,
            new_leaves=sum(sealer.committed),
            seconds=round(time.monotonic() - started, 3),
        )


def _unsealed(settings: Settings) -> Sealed:
    """How the log stands where no key may sign it."""
    try:
        with open_store(settings).sealed_log(purpose="read") as session:
            last = session.last_checkpoint()
            unsealed = _count_unsealed(session, last)
    except DriftError as error:
        logger.warning("the log cannot be sealed: %s", error)
        return Sealed("no_key", 0, None, None, None)
    if last is None:
        return Sealed("no_key", 0, None, unsealed, None)
    return Sealed("no_key", last.tree_size, last.root.hex(), unsealed, None)


def _count_unsealed(session: SealedLog, last: StoredCheckpoint | None) -> int:
    if last is None:
        return session.count_all_rows()
    newest, first = session.last_attestation_id(), next_id(last.last_attestation_id)
    return session.count_rows(first, newest) if newest is not None and newest >= first else 0


def _resume(session: SealedLog, signer: Signer, files: CheckpointFiles, origin: str) -> StoredCheckpoint:
    """The checkpoint to go on from. Publishes the files that a crash left unwritten.

    Raises SealError if the database does not hold what was sealed before, or if no file could be published.
    """
    files.prepare()
    stored = require_history(session, signer, files, origin)
    files.publish(stored)
    return stored[-1] if stored else EMPTY


@dataclass(frozen=True)
class _Sealer:
    """One pass over the rows that are not sealed yet."""

    session: SealedLog
    settings: Settings
    signer: Signer
    files: CheckpointFiles
    run_id: str | None
    now: Callable[[], str]
    committed: list[int] = field(default_factory=list)  # leaves, commit by commit

    def seal(self, start: StoredCheckpoint) -> bool:
        """Seal the rows behind `start`. False if another sealer was faster: then begin again."""
        first = next_id(start.last_attestation_id if start.tree_size else None)
        last = self.session.last_attestation_id()
        if last is None or last < first:
            return True
        groups = groups_of(self.session, start.tree_size, first, last)
        files = find_digests(self.settings.state_dir)
        with hashing(last - max(first, 0) + 1) as run:
            results = run(hash_group, ((self.settings, group, self._known(group, files)) for group in groups))
            return self._commit_steps(start, results)

    def _known(self, group: Group, files: list[DigestFile]) -> PayloadDigests:
        """The digests that were left for the rows of a group."""
        of_group = [file for file in files if file.first_id <= group.last_id and file.last_id >= group.first_id]
        return PayloadDigests(of_group, self.signer.public_key)

    def _commit_steps(self, start: StoredCheckpoint, results: Iterable[list[Tile]]) -> bool:
        frontier = Frontier.from_bytes(start.frontier)
        committed, pending = start.tree_size, list[Tile]()
        for tiles in results:
            for tile in tiles:
                grow(frontier, tile.end, split_hashes(tile.roots))
            pending += tiles
            if frontier.size % STEP_LEAVES == 0:
                if not self._commit(frontier, committed, pending):
                    return False
                committed, pending = frontier.size, []
        return not pending or self._commit(frontier, committed, pending)

    def _commit(self, frontier: Frontier, grows_from: int, tiles: list[Tile]) -> bool:
        """Steps 4 and 5 for the tiles since the last commit."""
        root = frontier.root()
        text = Checkpoint(self.settings.sealing.origin, frontier.size, root).text
        made = StoredCheckpoint(
            tree_size=frontier.size,
            root=root,
            frontier=frontier.to_bytes(),
            last_attestation_id=tiles[-1].attestation_ids[-1],
            note=notes.sign(text, self.signer).encode(),
        )
        if not self.session.append(NewCheckpoint(made, grows_from, tuple(tiles), self.run_id, self.now())):
            return False
        self.committed.append(made.tree_size - grows_from)
        crash_points.reach("after the seal commits, before its checkpoint file")
        self.session.check_place()
        self.files.publish([made])
        logger.info("log: %d leaves sealed, root %s", made.tree_size, root.hex())
        return True


# --- as a step of a run -----------------------------------------------------------------------------


def seal_run(settings: Settings, paths: RunPaths) -> None:
    """Seal the log at the end of a live run or a signing, and leave seal.json. A dry run never seals.

    A lock or a full disk is waited out like that of a chunk.
    """
    if not paths.dry_run:
        patiently(lambda: _seal_once(settings, paths))


def _seal_once(settings: Settings, paths: RunPaths) -> None:
    """Two processes of one run may seal at once: both leave what was sealed for the run, whichever of them did it."""
    sealed = seal_log(settings, run_id=paths.ledger_run_id)
    if sealed.state == "sealed":
        with open_store(settings).sealed_log(purpose="read") as session:
            sealed = replace(sealed, new_leaves=session.leaves_of_run(paths.ledger_run_id))
    durable.write_durably(paths.seal, durable.to_text(sealed.as_json()), root=paths.state_dir)


def is_sealed(settings: Settings, paths: RunPaths) -> bool:
    """True if seal.json is there, the database bears it out, and nothing has changed for it: a key that came since, or
    rows that the run logged since, are a reason to seal.
    """
    if paths.dry_run:
        return True
    found = _read_file(paths)
    if found is None or (found.state != "sealed" and log_signer_of(settings) is not None):
        return False
    return found.state != "sealed" or _as_stored(settings, found, paths.ledger_run_id) is not None


def read_seal(settings: Settings, paths: RunPaths) -> Sealed:
    """What the report says of the log: what the database holds now. Of seal.json only how many leaves are new, and in
    how many seconds, is taken at its word. Raises StateError if it is gone, or the database does not bear it out.
    """
    if paths.dry_run:
        return Sealed("dry_run", 0, None, None, None)
    found = _read_file(paths)
    sealed = found and _as_stored(settings, found, paths.ledger_run_id)
    if sealed is None:
        seen = "the database holds no such checkpoint over all that the run wrote" if found else "missing or torn"
        raise StateError(seen, where=str(paths.seal), again=RUN_AGAIN, written=NOTHING_WRITTEN)
    return sealed


_FILES = TypeAdapter(Sealed)


def _read_file(paths: RunPaths) -> Sealed | None:
    """What seal.json says, or None if it says nothing that this job could have written."""
    content = durable.read_json(paths.seal, root=paths.state_dir)
    try:
        found = typed(_FILES, content or {})
    except ValueError:
        return None
    return None if found.state == "dry_run" else found


def _as_stored(settings: Settings, found: Sealed, run_id: str) -> Sealed | None:
    """A seal with what the database says of it. None if it has no such checkpoint, or one from before a run's rows."""
    if found.state != "sealed":
        return _unsealed(settings)
    try:
        with open_store(settings).sealed_log(purpose="read") as session:
            stored, last = session.checkpoints(), session.last_checkpoint()
            unsealed, of_run = _count_unsealed(session, last), session.last_attestation_of_run(run_id)
    except DriftError:  # without the tables of a sealed log there is none
        return None
    sealed = [one for one in stored if (one.tree_size, one.root.hex()) == (found.tree_size, found.root)]
    if of_run is not None and not any(one.last_attestation_id >= of_run for one in sealed):
        return None
    if not sealed:
        return None if found.tree_size or stored else replace(found, root=None, unsealed_rows=unsealed)
    file = CheckpointFiles(settings.state_dir, settings.sealing.origin).path(found.tree_size)
    return replace(found, unsealed_rows=unsealed, checkpoint_file=str(file))
