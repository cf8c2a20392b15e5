"""What a pending row has to pass before it is signed.

A row is refused with the first of these reasons:

    malformed               no signature over it could be valid: see attestation/row_states.py
    downgraded              the log holds a signature for this fact: somebody put the placeholder there
    unlogged                the latest log row of the fact is not this placeholder or signature, or there is none
    invalid                 the revoked key's signature does not hold over the row
    attester_missing        verified_by is NULL: nobody stands for it
    attester_differs        verified_by is not the attester that was logged
    seal_broken             its log row is older than the seal, and not what was sealed
    payload_differs         the log is sealed, and the fields are not those that were sealed
    payload_not_sealed      the log is sealed, but no payload was known for this row then
    changed_after_logging   its log row is not sealed, and the row was updated after it was logged
    fact_missing            its log row is not sealed, and there is no fact to compare the row with
    differs_from_fact       its log row is not sealed, and source, time or band are not what the fact gives today
    refused_by_database     the database cannot compute the fact, or does not take the row signed; in its words

The log alone does not say what the fields were; the sealed log does, by its digests, which are held against the signed
root before they are believed: see sealed_log/proven_digests.py. Where it is not sealed the fact itself has to bear the
row out, so a fact that changed since is refused as well. Seal the log first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from tasks.attestation.log.leaves import NO_DIGEST
from tasks.attestation.row_states import Judge, MetadataRow
from tasks.core.errors import RowRefusedError, SealError
from tasks.core.fact_keys import describe
from tasks.core.values import REFUSED_BY_DATABASE, Fact, Reject
from tasks.derivation.rules import derive, refused_fact
from tasks.job.sections import DerivationSettings
from tasks.sealed_log.proven_digests import ProvenDigests
from tasks.stores.protocols.pending import PendingRow, PendingSession

REFUSALS: Final = (
    "malformed", "downgraded", "unlogged", "invalid", "attester_missing", "attester_differs", "seal_broken",
    "payload_differs", "payload_not_sealed", "changed_after_logging", "fact_missing", "differs_from_fact",
    REFUSED_BY_DATABASE,
)  # fmt: skip

_SHOWN = 60


@dataclass(frozen=True)
class Judged:
    """The rows of a batch that are to be signed, each with its payload, and those that are refused."""

    passed: Sequence[tuple[PendingRow, bytes]]
    refused: Sequence[Reject]

    def without_signatures(self, words: str) -> Judged:
        """The same, with what was to be signed refused in the database's words."""
        return Judged((), [*self.refused, *(refused_fact(row.fact_id, words) for row, _ in self.passed)])


@dataclass(frozen=True)
class Bar:
    """What a row has to pass before it is signed."""

    session: PendingSession
    sealed: ProvenDigests
    judge: Judge
    derivation: DerivationSettings

    def judge_all(self, rows: Sequence[PendingRow]) -> Judged:
        """Which of the rows are to be signed."""
        passed, refused = list[tuple[PendingRow, bytes]](), list[Reject]()
        for row in rows:
            payload_or_refusal = self.payload(row)
            if isinstance(payload_or_refusal, Reject):
                refused.append(payload_or_refusal)
            else:
                passed.append((row, payload_or_refusal))
        return Judged(passed, refused)

    def payload(self, row: PendingRow) -> bytes | Reject:
        """The payload to sign, or why the row is refused."""
        attested = MetadataRow(*row[:9], row.ever_signed)
        finding = self.judge.judge(attested)
        if finding is not None and finding.state not in ("unsigned", "revoked"):
            return _refuse(row, finding.state, finding.detail)
        if row.verified_by is None:
            return _refuse(row, "attester_missing", "verified_by is NULL")
        if row.attester != row.verified_by:
            seen = f"verified_by {_seen(row.verified_by)}, logged {_seen(row.attester)}"
            return _refuse(row, "attester_differs", seen)
        payload = self.judge.payload(attested)
        return self._objection(row, payload) or payload

    def _objection(self, row: PendingRow, payload: bytes) -> Reject | None:
        try:
            sealed = self.sealed.digest(row.attestation_id)
        except SealError as error:
            return _refuse(row, "seal_broken", str(error))
        if sealed is None:
            return _refuse_if_changed(row) or self._refuse_if_other(row)
        if sealed == NO_DIGEST:
            return _refuse(row, "payload_not_sealed", f"log row {row.attestation_id} was sealed without a payload")
        if sealed != sha256(payload).digest():
            seen = f"payload {sha256(payload).hexdigest()[:16]}…, sealed {sealed.hex()[:16]}…"
            return _refuse(row, "payload_differs", seen)
        return None

    def _refuse_if_other(self, row: PendingRow) -> Reject | None:
        try:
            fact = self.session.fact(row.fact_id)
        except RowRefusedError as refusal:
            self.session.check_schema()
            return refused_fact(row.fact_id, refusal.words)
        return _refuse_if_other(fact, row, self.derivation)


def _refuse_if_changed(row: PendingRow) -> Reject | None:
    """Both times are ISO-8601 UTC with milliseconds where this job wrote them, so text compares as time does."""
    updated_at, signed_at = row.updated_at, row.signed_at
    if isinstance(updated_at, str) and isinstance(signed_at, str) and updated_at > signed_at:
        return _refuse(row, "changed_after_logging", f"updated {_seen(updated_at)}, logged {_seen(signed_at)}")
    return None


def _refuse_if_other(fact: tuple[Any, ...] | None, row: PendingRow, derivation: DerivationSettings) -> Reject | None:
    """A row may say less than its fact does, by having no band, and nothing else. Time is not compared if the fact has
    none.
    """
    if fact is None:
        return _refuse(row, "fact_missing", "there is no fact of this id")
    record = derive(Fact._make(fact), derivation.rules(row.extracted_at))
    if isinstance(record, Reject):
        return _refuse(row, "differs_from_fact", f"the fact is rejected: {record.reason}")
    band = (row.confidence_lower, row.confidence_upper)
    pairs = {
        "source_doc": (row.source_doc, record.source_doc),
        "extracted_at": (row.extracted_at, record.extracted_at),
        "band": (band, band if band == (None, None) else (record.confidence_lower, record.confidence_upper)),
    }
    for name, (here, there) in pairs.items():
        if here != there:
            return _refuse(row, "differs_from_fact", f"{name} {_seen(here)}, the fact gives {_seen(there)}")
    return None


def _refuse(row: PendingRow, reason: str, detail: str) -> Reject:
    fact_id = row.fact_id if isinstance(row.fact_id, str) else describe(row.fact_id)
    return Reject(fact_id, reason, detail)


def _seen(value: object) -> str:
    return repr(value[:_SHOWN]) if isinstance(value, (str, bytes)) else repr(value)
