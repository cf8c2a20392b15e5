"""Signing the rows that are pending, once a key is there: chunked, resumable and crash-safe like the backfill.

Pending are the rows that carry a placeholder, and those that carry the id of a key for rows that the registry calls
revoked. What such a key signed is no evidence, so its rows have to pass the same bar.

1. Read a batch of pending rows with the latest log row of each; no lock is held.
2. Refuse every row that is not, beyond doubt, what was logged; sign the others.
3. In one short transaction: replace each placeholder or signature, if the row and its log are still as they were read,
   append a log row whose notes name the one it supersedes, enter the refusals and advance the ledger.
   If the database itself refuses a row, nothing is written, and step 1 comes again with half of the rows, down to that
   one, which is refused.

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
root before they are believed: see sealed_digests.py. Where it is not sealed the fact
itself has to bear the row out, so a fact that changed since is refused as well. Seal the log first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from tasks.attestation.log.leaves import NO_DIGEST
from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import AttestedRow, Judge
from tasks.attestation.signature_column import signature_hex
from tasks.attestation.signer import Signer
from tasks.attestation.supersession import Supersession
from tasks.backfill.chunk import BatchSize, ChunkRun, Progress, Stopwatch, work_through
from tasks.backfill.planning import Cuts, streamed
from tasks.core.clock import now_text, utc_now
from tasks.core.errors import RowRefusedError, SealError, SigningKeyError
from tasks.core.fact_keys import describe
from tasks.core.patience import patiently
from tasks.core.values import REFUSED_BY_DATABASE, Fact, Reject
from tasks.derivation.rules import derive, refused_fact
from tasks.job.key_uses import refuse_other_store
from tasks.job.paths import PartPaths
from tasks.job.settings import DerivationSettings, Settings
from tasks.job.signers import signer_of
from tasks.runs.markers import read_marker
from tasks.runs.plans import (
    Plan,
    freeze,
    plan_from_ledger,
    refuse_foreign_plan,
    refuse_other_binding,
    require_plan,
    with_seconds,
)
from tasks.sealed_log.key_standing import refuse_ended_keys, registry_of
from tasks.sealed_log.sealed_digests import SealedDigests
from tasks.stores.open import open_store
from tasks.stores.protocols.batches import BatchWrite
from tasks.stores.protocols.counts import Counts, SetAside
from tasks.stores.protocols.ledger import LedgerRow
from tasks.stores.protocols.pending import PendingRead, PendingRow, PendingSession, SignatureWrite

REFUSALS: Final = (
    "malformed", "downgraded", "unlogged", "invalid", "attester_missing", "attester_differs", "seal_broken",
    "payload_differs", "payload_not_sealed", "changed_after_logging", "fact_missing", "differs_from_fact",
    REFUSED_BY_DATABASE,
)  # fmt: skip

_SHOWN = 60


def require_signer(settings: Settings) -> Signer:
    """The signer that the job file configures.

    Raises SigningKeyError if there is none, or its key was superseded or revoked: nothing can be signed then.
    """
    signer = signer_of(settings)
    if signer is None:
        raise SigningKeyError(
            f"signing key: {settings.signing.key_env} is not set, and {settings.job_file} names no key_file: without a "
            f"key nothing can be signed. Nothing was written."
        )
    refuse_ended_keys(settings, rows=signer, checkpoints=None)
    return signer


def revoked_keys(settings: Settings) -> KeyRegistry:
    """The keys for rows whose rows are to be signed again. Raises KeyRegistryError."""
    registry = registry_of(settings)
    return KeyRegistry(tuple(key for key in registry.of_use("rows") if key.state == "revoked"), registry.source)


def revoked_ids(revoked: KeyRegistry) -> tuple[str, ...]:
    """What a session is told of them."""
    return tuple(key.key_id for key in revoked.keys)


def plan_signing(settings: Settings, paths: PartPaths) -> Plan:
    """Cut the rows that are pending now into chunks and freeze the plan; one that the ledger holds is taken instead.

    Raises SigningKeyError without a key, StateError if the plan that is there is not for this command.
    """
    require_signer(settings)
    with open_store(settings).pending_session(write=False, revoked=revoked_ids(revoked_keys(settings))) as session:
        known = session.read_run(paths.run_id)
        if known:
            plan = plan_from_ledger(known.plan_id, known.plan, started_at=known.started_at, run_id=paths.run_id)
        else:
            plan = _make_plan(session, settings, paths.run_id)
    plan = freeze(plan, paths)
    refuse_foreign_plan(plan, paths, settings)
    return plan


def _make_plan(session: PendingSession, settings: Settings, run_id: str) -> Plan:
    started = time.monotonic()
    cuts = Cuts(settings.pacing.chunk_rows)
    cuts.take(streamed(session.pending_keys()))
    plan = Plan(
        run_id=run_id,
        created_at=now_text(),
        database=settings.place.absolute,
        settings_digest=settings.digest,
        binding_digest=session.binding.digest,
        schema_fingerprint=session.fingerprint,
        max_rows=None,
        stop_reason="complete",
        unchanged_outside=0,
        set_aside=0,
        chunks=tuple(cuts.chunks(None)) if cuts.count else (),
    )
    return with_seconds(plan, time.monotonic() - started)


def run_chunk(settings: Settings, paths: PartPaths, number: int, *, progress: Callable[[Progress], None]) -> None:
    """Sign one chunk of the frozen plan and leave its marker. Safe to run again, like a chunk of the backfill."""
    patiently(lambda: _attempt(settings, paths, number, progress))


def _attempt(settings: Settings, paths: PartPaths, number: int, progress: Callable[[Progress], None]) -> None:
    plan = require_plan(paths, settings)
    read_marker(plan, paths, plan.chunk(number).chunk)  # a marker of another plan is refused before any work
    run = ChunkRun(
        settings=settings, paths=paths, plan=plan, chunk=plan.chunk(number), signer=require_signer(settings),
        clock=utc_now, progress=progress,
    )  # fmt: skip
    revoked = revoked_keys(settings)
    with (
        open_store(settings).sealed_log(purpose="read") as log,
        open_store(settings).pending_session(write=True, revoked=revoked_ids(revoked)) as session,
    ):
        refuse_other_store(session.opened, run.signer)
        refuse_other_binding(plan, session.binding)
        sign_chunk(session, run, SealedDigests(log, settings), revoked)


def sign_chunk(session: PendingSession, run: ChunkRun, sealed: SealedDigests, revoked: KeyRegistry) -> None:
    """Bring one chunk to its end. Raises as `backfill_chunk` does."""
    judge = Judge(revoked, first_id_of_leaf=lambda _: None, logged_before=lambda *_: None)
    bar, size = _Bar(session, sealed, judge, run.settings.derivation), BatchSize(run.settings.pacing.batch_rows)
    work_through(session, run, lambda row, mark: _write_next_batch(session, run, bar, size, row, mark))


def _write_next_batch(
    session: PendingSession, run: ChunkRun, bar: _Bar, size: BatchSize, row: LedgerRow, mark: float
) -> bool:
    stopwatch = Stopwatch(run.now)
    batch = session.read_pending(after=row.cursor, through=run.chunk.through, limit=size.limit)
    stopwatch.lap("reading")
    judged = bar.judge_all(batch.rows)
    stopwatch.lap("deriving")
    signatures = _sign(run, judged)
    stopwatch.lap("signing")
    try:
        is_written = session.write_signatures(_batch_write(run, row, batch, judged, mark, stopwatch), signatures)
    except RowRefusedError as refusal:
        if len(signatures) > 1:
            size.refused(len(batch.rows))
            return _write_next_batch(session, run, bar, size, row, mark)
        judged = judged.without_signatures(refusal.words)
        is_written = session.write_signatures(_batch_write(run, row, batch, judged, mark, stopwatch), ())
        size.found()
    if is_written:
        size.written(len(batch.rows))
    return is_written


@dataclass(frozen=True)
class _Judged:
    """The rows of a batch that are to be signed, each with its payload, and those that are refused."""

    passed: Sequence[tuple[PendingRow, bytes]]
    refused: Sequence[Reject]

    def without_signatures(self, words: str) -> _Judged:
        """The same, with what was to be signed refused in the database's words."""
        return _Judged((), [*self.refused, *(refused_fact(row.fact_id, words) for row, _ in self.passed)])


def _sign(run: ChunkRun, judged: _Judged) -> list[SignatureWrite]:
    assert run.signer is not None  # require_signer has seen to it
    blobs = run.signer.blobs([payload for _, payload in judged.passed])
    return [_signature(row, blob) for (row, _), blob in zip(judged.passed, blobs, strict=True)]


def _batch_write(
    run: ChunkRun, row: LedgerRow, batch: PendingRead, judged: _Judged, mark: float, stopwatch: Stopwatch
) -> BatchWrite:
    signed, refused = len(judged.passed), len(judged.refused)
    return BatchWrite(
        run_id=run.plan.run_id,
        plan_id=run.plan.plan_id,
        chunk=run.chunk.chunk,
        attester=run.settings.derivation.attester,
        now=run.now(),
        inserts=(),
        updates=(),
        rejects=judged.refused,
        set_aside=SetAside(),
        counts=Counts(eligible=len(batch.rows), updated=signed, rejected=refused, signed=signed),
        expected_cursor=row.cursor,
        cursor=batch.last,
        state="done" if batch.exhausted else "running",
        seconds=time.monotonic() - mark,
        key_id=run.key_id,
        times=stopwatch.times(),
        clock=run.now,
    )


def _signature(row: PendingRow, blob: bytes) -> SignatureWrite:
    notes = Supersession("re-signed", row.attestation_id).notes()
    return SignatureWrite(*row[:6], row.ed25519_sig, blob, signature_hex(blob), row.attestation_id, notes)


@dataclass(frozen=True)
class _Bar:
    """What a row has to pass before it is signed."""

    session: PendingSession
    sealed: SealedDigests
    judge: Judge
    derivation: DerivationSettings

    def judge_all(self, rows: Sequence[PendingRow]) -> _Judged:
        """Which of the rows are to be signed."""
        passed, refused = list[tuple[PendingRow, bytes]](), list[Reject]()
        for row in rows:
            payload_or_refusal = self.payload(row)
            if isinstance(payload_or_refusal, Reject):
                refused.append(payload_or_refusal)
            else:
                passed.append((row, payload_or_refusal))
        return _Judged(passed, refused)

    def payload(self, row: PendingRow) -> bytes | Reject:
        """The payload to sign, or why the row is refused."""
        attested = AttestedRow(*row[:9], row.ever_signed)
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
