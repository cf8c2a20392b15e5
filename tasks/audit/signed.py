"""The checkpoints that an auditor holds, opened by registered keys: nothing that the database says counts here."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.attestation.log.checkpoints import Checkpoint, open_checkpoint
from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.notes import Note, VerifierKey
from tasks.attestation.public_keys import KeyRegistry
from tasks.audit.report import AuditOrder, AuditReport
from tasks.core.errors import InvalidSignatureError, NoteError, UnverifiedNoteError


def open_signed(order: AuditOrder, registry: KeyRegistry, report: AuditReport) -> list[Checkpoint]:
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
