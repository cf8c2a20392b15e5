"""Signing the rows that are pending, once a key is there: chunked, resumable and crash-safe like the backfill.

Pending are the rows that carry a placeholder, and those that carry the id of a key for rows that the registry calls
revoked. What such a key signed is no evidence, so its rows have to pass the same bar.

1. Read a batch of pending rows with the latest log row of each; no lock is held.
2. Refuse every row that is not, beyond doubt, what was logged; sign the others.
3. In one short transaction: replace each placeholder or signature, if the row and its log are still as they were read,
   append a log row whose notes name the one it supersedes, enter the refusals and advance the ledger.
   If the database itself refuses a row, nothing is written, and step 1 comes again with half of the rows, down to that
   one, which is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import Judge
from tasks.attestation.signature_column import signature_hex
from tasks.attestation.signer import Signer
from tasks.attestation.supersession import Supersession
from tasks.core.clock import now_text, utc_now
from tasks.core.errors import NOTHING_WRITTEN, RowRefusedError, SigningKeyError
from tasks.core.patience import patiently
from tasks.job.key_uses import refuse_other_store
from tasks.job.paths import PartPaths
from tasks.job.settings import Settings
from tasks.job.signers import signer_of
from tasks.rows.bar import Bar, Judged
from tasks.runs.batch_size import BatchSize
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.cuts import Cuts, streamed
from tasks.runs.frozen_plans import freeze, plan_of_ledger, refuse_foreign_plan, refuse_other_binding, require_plan
from tasks.runs.ledger_work import LedgerWork
from tasks.runs.loop import Progress, work_through
from tasks.runs.markers import read_marker
from tasks.runs.plans import Plan, with_seconds
from tasks.runs.stopwatch import Stopwatch
from tasks.sealed_log.key_standing import refuse_ended_keys, registry_of
from tasks.sealed_log.proven_digests import ProvenDigests
from tasks.stores.open import open_store
from tasks.stores.protocols.batches import LedgerStep
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.ledger import LedgerRow
from tasks.stores.protocols.pending import PendingRead, PendingRow, PendingSession, SignatureWrite


def require_signer(settings: Settings) -> Signer:
    """The signer that the job file configures.

    Raises SigningKeyError if there is none, or its key was superseded or revoked: nothing can be signed then.
    """
    signer = signer_of(settings)
    if signer is None:
        raise SigningKeyError(
            f"{settings.signing.key_env} is not set, and {settings.job_file} names no key_file: "
            "without a key nothing can be signed",
            where="signing key",
            written=NOTHING_WRITTEN,
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
        plan = plan_of_ledger(session, paths) or _make_plan(session, settings, paths.run_id)
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
        sign_chunk(session, run, ProvenDigests(log, settings), revoked)


def sign_chunk(session: PendingSession, run: ChunkRun, sealed: ProvenDigests, revoked: KeyRegistry) -> None:
    """Bring one chunk to its end. Raises as `backfill_chunk` does."""
    judge = Judge(revoked, first_id_of_leaf=lambda _: None, logged_before=lambda *_: None)
    bar = Bar(session, sealed, judge, run.settings.derivation)
    work_through(
        Signing(session, run, bar), residual=run.chunk.residual, progress=run.progress,
        pause_seconds=run.settings.pacing.batch_pause_seconds,
    )  # fmt: skip


class Signing(LedgerWork):
    """Pending rows get a signature, or are refused."""

    kind = "sign"

    def __init__(self, session: PendingSession, run: ChunkRun, bar: Bar) -> None:
        super().__init__(session, run)
        self._rows = session
        self._bar = bar
        self._size = BatchSize(run.settings.pacing.batch_rows)

    def do_next_batch(self, row: LedgerRow) -> bool:
        while True:
            stopwatch = Stopwatch(self.run.now)
            batch = self._rows.read_pending(after=row.cursor, through=self.run.chunk.through, limit=self._size.limit)
            stopwatch.lap("reading")
            judged = self._bar.judge_all(batch.rows)
            stopwatch.lap("deriving")
            signatures = _sign(self.run, judged)
            stopwatch.lap("signing")
            try:
                is_written = self._rows.write_signatures(self._step(row, batch, judged, stopwatch), signatures)
            except RowRefusedError as refusal:
                if len(signatures) > 1:
                    self._size.refused(len(batch.rows))
                    continue
                judged = judged.without_signatures(refusal.words)
                is_written = self._rows.write_signatures(self._step(row, batch, judged, stopwatch), ())
                self._size.found()
            if is_written:
                self._size.written(len(batch.rows))
            return is_written

    def _step(self, row: LedgerRow, batch: PendingRead, judged: Judged, stopwatch: Stopwatch) -> LedgerStep:
        run = self.run
        signed, refused = len(judged.passed), len(judged.refused)
        return LedgerStep(
            run_id=run.paths.ledger_run_id,
            plan_id=run.plan.plan_id,
            chunk=run.chunk.chunk,
            now=run.now(),
            rejects=judged.refused,
            counts=Counts(eligible=len(batch.rows), updated=signed, rejected=refused, signed=signed),
            expected_cursor=row.cursor,
            cursor=batch.last,
            exhausted=batch.exhausted,
            seconds=self.seconds_since(row),
            key_id=run.key_id,
            times=stopwatch.times(),
            clock=run.now,
        )


def _sign(run: ChunkRun, judged: Judged) -> list[SignatureWrite]:
    assert run.signer is not None  # require_signer has seen to it
    blobs = run.signer.blobs([payload for _, payload in judged.passed])
    return [_signature(row, blob) for (row, _), blob in zip(judged.passed, blobs, strict=True)]


def _signature(row: PendingRow, blob: bytes) -> SignatureWrite:
    notes = Supersession("re-signed", row.attestation_id).notes()
    return SignatureWrite(*row[:6], row.ed25519_sig, blob, signature_hex(blob), row.attestation_id, notes)
