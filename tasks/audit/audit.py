"""Audit: is the log in this database the one that a checkpoint was signed for, and does the metadata agree with it?

1. Open the checkpoint, and an older one if there is one, with keys that do not come from the database (signed.py).
2. Look at the tiles and the checkpoints in the database (stored_log.py): do they make one log, as long as the
   checkpoint says?
3. Rebuild the tree from the rows, and hold it against what is signed (tree.py).
4. Unless it is a root-only audit: metadata without a log, rows that are not sealed yet, key rotations, signatures
   (signatures.py).
"""

from __future__ import annotations

import time

from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.log.leaves import LatestRow
from tasks.attestation.public_keys import KeyRegistry
from tasks.audit.ranges import compare, words
from tasks.audit.report import AuditOrder, AuditReport
from tasks.audit.signatures import verify_signatures
from tasks.audit.signed import open_signed
from tasks.audit.stored_log import StoredLog
from tasks.audit.tree import rebuild
from tasks.job.settings import Settings
from tasks.sealed_log.rotate import rotation_findings
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import FIRST_ID


def audit(settings: Settings, registry: KeyRegistry, order: AuditOrder) -> AuditReport:
    """Audit the log, and the metadata unless `root_only`. Reads only.

    Raises DriftError, DatabaseError or LockedError where the database cannot be read; tampering is never an error
    but a finding.
    """
    started, report = time.monotonic(), AuditReport()
    signed = open_signed(order, registry, report)
    if signed:
        with open_store(settings).sealed_log(purpose="read") as session:
            log = StoredLog(session, report, signed, registry)
            if log.is_whole():
                rebuild(settings, order, log)
            _count_unsealed(log)
            if not order.root_only:
                _compare_the_rest(log)
                report.add(*rotation_findings(session.rotations(), registry, log.leaf_of))
        if not order.root_only:
            verify_signatures(settings, registry, order, report)
    report.seconds = time.monotonic() - started
    return report


def _count_unsealed(log: StoredLog) -> None:
    newest, first = log.session.last_attestation_id(), _after(log.last_id)
    if newest is not None and newest >= first:
        log.report.unsealed_rows = log.session.count_rows(first, newest)


def _after(last_id: int | None) -> int:
    return FIRST_ID if last_id is None else last_id + 1


def _compare_the_rest(log: StoredLog) -> None:
    """Facts whose latest row is not sealed, and metadata that the log does not know at all."""
    newest, first = log.session.last_attestation_id(), _after(log.last_id)
    if newest is not None and newest >= first and log.report.unsealed_rows:
        for values in log.session.read_latest(first, newest):
            finding = compare(log.session, LatestRow(*values), None, None)
            log.report.add(*([finding] if finding else []))
    for fact_id in log.session.unlogged():
        detail = "it has a metadata row, and no row in the log"
        log.report.add(Finding(Verdict.METADATA_UNLOGGED, detail, fact_id=words(fact_id)))
