"""Whether the log in the database is the one that was sealed and published: looked at before it grows.

1. List the published checkpoints, then read those of the database: every file is written after its commit, so a file
   without its row is of another history.
2. Refuse a file that is larger than the database's log, and one that the database does not hold word for word.
3. Refuse a last checkpoint that is not whole, not this log's, or neither signed by this key nor published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from tasks.attestation.log.checkpoints import Checkpoint, open_checkpoint
from tasks.attestation.log.merkle import Frontier
from tasks.attestation.log.notes import Note, VerifierKey
from tasks.attestation.signer import Signer
from tasks.core.errors import NOTHING_WRITTEN, NoteError, SealError, UnverifiedNoteError
from tasks.job.settings import Settings
from tasks.sealed_log.checkpoint_files import CheckpointFiles, Published
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import SealedLog, StoredCheckpoint

EMPTY = StoredCheckpoint(0, Frontier().root(), Frontier().to_bytes(), 0, b"")
_WAY_ON = (
    "Put back the newest copy of the database that you have. If what was sealed is lost, this log cannot be gone on "
    "from: begin a new one beside it, with new names for sealing.origin, tables.ledger.tile and "
    "tables.ledger.checkpoint, then ApplySchema (docs/attestation-log.md, After a restore)"
)


def refuse_unsealable(settings: Settings, signer: Signer) -> None:
    """Raise SealError if `signer` could not go on sealing the log: so that no row is written that is never sealed."""
    files = CheckpointFiles(settings.state_dir, settings.sealing.origin)
    files.refuse_long_name()
    with open_store(settings).sealed_log(purpose="read") as session:
        require_history(session, signer, files, settings.sealing.origin)


def require_history(
    session: SealedLog, signer: Signer | None, files: CheckpointFiles, origin: str
) -> list[StoredCheckpoint]:
    """The checkpoints of the database, the smallest first, once nothing that was published contradicts them.

    Raises SealError.
    """
    published = files.published(_keys_of(signer))
    stored = session.checkpoints()
    last = stored[-1] if stored else EMPTY
    _refuse_other_files(published, stored, last)
    if stored:
        _refuse_other_log(last, signer, files, origin)
    return stored


def _keys_of(signer: Signer | None) -> list[VerifierKey]:
    return [VerifierKey(signer.key_name, signer.public_key)] if signer else []


def _refuse_other_files(published: Sequence[Published], stored: list[StoredCheckpoint], last: StoredCheckpoint) -> None:
    notes = {one.tree_size: one.note for one in stored}
    for one in published:
        if one.tree_size > last.tree_size:
            _refuse_file(one, f"the database holds {last.tree_size} sealed leaves: it was restored or truncated since")
        if one.tree_size not in notes:
            _refuse_file(one, _another_history("has no checkpoint of that size", last))
        if notes[one.tree_size] != one.note:
            _refuse_file(one, _another_history("holds two different checkpoints with it for that size", last))


def _another_history(seen: str, last: StoredCheckpoint) -> str:
    return (
        f"the database, which holds {last.tree_size} sealed leaves, {seen}: it was restored from an older copy and "
        f"sealed elsewhere since, or somebody rewrote it"
    )


def _refuse_file(published: Published, seen: str) -> NoReturn:
    size = published.tree_size
    if not published.verified:
        raise SealError(
            f"ATTENTION: a checkpoint of {size} leaves lies here, but {seen}; and the key that seals "
            "now has not signed it",
            where=str(published.path),
            hint="If an earlier key of yours did, that is so: put the database back. If not, somebody put "
            "the file there: keep it elsewhere, and remove it here",
            written=NOTHING_WRITTEN,
        )
    raise SealError(
        f"ATTENTION: a checkpoint of {size} leaves was published, but {seen}. To seal it again "
        "would make a second history",
        where=str(published.path),
        hint=_WAY_ON,
        written=NOTHING_WRITTEN,
    )


def _refuse_other_log(last: StoredCheckpoint, signer: Signer | None, files: CheckpointFiles, origin: str) -> None:
    """Raise SealError unless the last checkpoint is this log's, whole, and signed by this key or published before."""
    where = f"checkpoint of {last.tree_size} leaves in the database"
    try:
        frontier = Frontier.from_bytes(last.frontier)
        try:
            checkpoint = open_checkpoint(last.note, _keys_of(signer))
        except UnverifiedNoteError:
            if not files.holds(last):
                raise
            checkpoint = Checkpoint.parse(Note.parse(last.note).text)  # signed by the key before this one
    except (ValueError, NoteError) as error:
        raise SealError(
            str(error).rstrip("."),
            where=where,
            hint="It cannot be gone on from: audit the log",
            written=NOTHING_WRITTEN,
        ) from None
    seen = (frontier.size, frontier.root(), checkpoint.size, checkpoint.root)
    if seen != (last.tree_size, last.root, last.tree_size, last.root):
        raise SealError(
            "its note, its root and its frontier do not belong together",
            where=where,
            hint="Somebody altered the row: audit the log",
            written=NOTHING_WRITTEN,
        )
    if checkpoint.origin != origin:
        raise SealError(
            f"the log is called {checkpoint.origin}, the job file says {origin}",
            where=where,
            hint="A log keeps its name: set sealing.origin back",
            written=NOTHING_WRITTEN,
        )
