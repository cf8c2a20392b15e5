"""One chunk, batch by batch.

Live:
1. Enter the run and the chunk in the ledger, or pick up the cursor that is there.
2. Read a batch of residual facts as one snapshot, derive and sign them; no lock is held. Without a key, SQL derives
   those that are plain.
3. Write it in one short transaction: rows, log, rejects, and the ledger's cursor and counts.
   If anything moved since the read, nothing is written and step 2 comes again. If the database itself refuses a row,
   nothing is written either, and step 2 comes again with half of the facts, down to that row, which is rejected.
   If the log will be sealed, leave the digests of what was signed for the sealer.
4. After the last batch, write the marker from the ledger's row.

A dry run does step 2 without signing, counts what step 3 would do, and writes only its marker.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Literal

from tasks.attestation.fast.batch_hashing import hash_each, split_hashes
from tasks.attestation.payload import encoder
from tasks.attestation.signature_column import PLACEHOLDER
from tasks.attestation.signer import Signer
from tasks.backfill.contents import Content, content_of
from tasks.backfill.evidence import Witness, hear_all
from tasks.backfill.reject_limit import refuse_more_rejects
from tasks.core import crash_points, durable, signals
from tasks.core.clock import now_iso
from tasks.core.errors import (
    DatabaseError,
    OrphanedError,
    ProvenanceError,
    RowRefusedError,
    SchemaChangedError,
    SignalledError,
    SignerError,
    StateError,
    without_advice,
)
from tasks.core.fact_keys import Key, describe, to_json
from tasks.core.parent import watch_parent
from tasks.core.values import Record, Reject
from tasks.derivation.batch import Derivation, Memo, derive_batch
from tasks.derivation.rules import refused_fact
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.runs.plans import Plan, PlannedChunk, clock_words, refuse_other_time
from tasks.sealed_log.digest_files import leave_digests
from tasks.stores.protocols.batches import Attested, BatchTimes, BatchWrite, Superseded
from tasks.stores.protocols.counts import Counts, PlainCounts
from tasks.stores.protocols.facts import BatchRead
from tasks.stores.protocols.ledger import LedgerRow, RunRow, rows_by_key
from tasks.stores.protocols.session import Session

logger = logging.getLogger("luigi-interface")

SAMPLE_ROWS = 5
READ_FOR_SAMPLE = 500
MAX_STALE_READS = 100
_LONGEST_SLEEP = 1.0  # seconds between two looks at the parent


@dataclass(frozen=True)
class Progress:
    """How far a chunk is: facts settled of the residual ones; `new` of them in this attempt's `seconds`."""

    settled: int
    of: int
    new: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ChunkRun:
    """Everything that one attempt at one chunk needs. `clock` gives an aware time. With a `log_signer`, who will sign
    the log's checkpoints, the digests of what is signed are left for the sealer.
    """

    settings: Settings
    paths: RunPaths
    plan: Plan
    chunk: PlannedChunk
    signer: Signer | None
    clock: Callable[[], datetime]
    progress: Callable[[Progress], None]
    log_signer: Signer | None = None

    def now(self) -> str:
        return now_iso(self.clock())

    @property
    def compares_content(self) -> bool:
        """Whether a rehearsal and its run are compared by what they attest: then both read every fact."""
        return self.settings.rehearsal.compare == "content"

    @property
    def key_id(self) -> str | None:
        return self.signer.key_id.hex() if self.signer else None


def backfill_chunk(session: Session, run: ChunkRun) -> None:
    """Bring one chunk to its end and write its marker. Needs a session that may write.

    Safe to run again, in any order, by several processes at once, and after any crash: each fact is written once.
    Raises StateError if ledger and plan do not belong together; LockedError, DatabaseError or SchemaChangedError
    with the cursor and the rows written so far if the chunk had to stop.
    """
    with Witness(session, run.settings, run.signer, because=run.plan.reattest or None) as witness:
        preparation = _Preparation(run, witness)
        work_through(session, run, lambda row, mark: _write_next_batch(session, preparation, row, mark))


WriteBatch = Callable[[LedgerRow, float], bool]
"""Commits the batch that follows a cursor: (ledger row, when the last one ended) -> False if the read was stale."""


def work_through(session: Session, run: ChunkRun, write_next_batch: WriteBatch) -> None:
    """Steps 1 to 4, whatever a batch is. What `write_next_batch` commits must advance the ledger with it."""
    claimed = _claim(session, run)
    try:
        row = _run_batches(session, run, claimed, write_next_batch)
    except ProvenanceError as error:
        session.note_failure(run_id=run.plan.run_id, chunk=run.chunk.chunk, error=str(error), now=run.now())
        raise
    crash_points.reach("after the last commit, before the marker")
    _refuse_moved(session, run, row)
    keys = rows_by_key(session.read_batches(run.plan.run_id, chunk=run.chunk.chunk))
    marker = {**live_marker(run.plan, row, keys, key_id=run.key_id), "mode": run.paths.mode}
    durable.write_durably(run.paths.marker(run.chunk.chunk), durable.to_text(marker), root=run.paths.state_dir)


def _refuse_moved(session: Session, run: ChunkRun, row: LedgerRow) -> None:
    """No marker for a chunk whose ledger is in a file that the database's path does not mean any more."""
    try:
        session.check_place()
    except DatabaseError as error:
        raise _stopped(error, run, row) from None


def _write_next_batch(session: Session, preparation: _Preparation, row: LedgerRow, mark: float) -> bool:
    """Steps 2 and 3 for one batch of residual facts."""
    run, size = preparation.run, preparation.size
    refuse_more_rejects(session, run.plan, run.chunk, row, max_rejects=run.settings.pacing.max_rejects)
    stopwatch = Stopwatch(run.now)
    reads = run.signer or run.compares_content or size.is_narrow
    read = session.read_batch if reads else partial(session.stage_batch, rules=preparation.rules)
    batch = read(after=row.cursor, through=run.chunk.through, limit=size.limit, with_set_aside=run.plan.set_aside > 0)
    stopwatch.lap("reading")
    write = preparation.prepare(row, batch, mark, stopwatch)
    try:
        log_rows = session.write_batch(write)
    except RowRefusedError as refusal:
        if batch.plain != PlainCounts() or len(write.in_order) > 1:
            size.refused(batch.residual)
            return _write_next_batch(session, preparation, row, mark)
        [(record, *_)] = write.in_order
        batch = _turned_away(batch, [refused_fact(record.fact_id, refusal.words)])
        stopwatch.skip()
        write = preparation.prepare(row, batch, mark, stopwatch)
        log_rows = session.write_batch(write)
        size.found()
    if log_rows is not None:
        size.written(batch.residual)
    if log_rows and run.signer and run.log_signer:
        signed = [(blob, digest) for _, blob, digest, _ in write.in_order if digest is not None]
        leave_digests(run.settings.state_dir, log_rows, signed, run.log_signer)
    return log_rows is not None


class BatchSize:
    """How many facts to try at once: of those among which one is refused, the first half; else a batch, `most` facts.

    Behind a row that was found, batches begin small and double. So each one costs some 2 log2(`most`) transactions,
    most of them small.
    """

    def __init__(self, most: int) -> None:
        self.limit = self._most = most
        self._suspects = 0  # facts behind the cursor among which one is refused

    @property
    def is_narrow(self) -> bool:
        return self.limit < self._most or self._suspects > 0

    def refused(self, facts: int) -> None:
        """One of so many was refused, and nothing is written."""
        self._suspects, self.limit = facts, max(1, facts // 2)

    def found(self) -> None:
        """That one is known."""
        self._suspects = 0

    def written(self, facts: int) -> None:
        """So many are settled."""
        self._suspects = max(0, self._suspects - facts)
        self.limit = max(1, self._suspects // 2) if self._suspects else min(self._most, 2 * self.limit)


def _turned_away(batch: BatchRead, rejects: Sequence[Reject]) -> BatchRead:
    """The batch with some of its facts rejected, whatever can be derived from them."""
    fact_ids = {reject.fact_id for reject in rejects}
    facts = [fact for fact in batch.facts if not (isinstance(fact[0], (int, str)) and str(fact[0]) in fact_ids)]
    return replace(batch, facts=facts, rejects=[*batch.rejects, *rejects])


class Stopwatch:
    """Where the time of one batch goes, before it is written."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._began_at, self._since = now(), time.monotonic()
        self._seconds = dict.fromkeys(("reading", "deriving", "signing"), 0.0)

    def lap(self, name: Literal["reading", "deriving", "signing"]) -> None:
        """What passed since the last lap went to `name`."""
        now = time.monotonic()
        self._seconds[name] += now - self._since
        self._since = now

    def skip(self) -> None:
        """What passed since the last lap went to a write that came to nothing."""
        self._since = time.monotonic()

    def times(self) -> BatchTimes:
        return BatchTimes(began_at=self._began_at, **self._seconds)


def _claim(session: Session, run: ChunkRun) -> LedgerRow:
    """Step 1. Raises DatabaseError with the chunk in its message."""
    try:
        _enter_run(session, run)
        return session.claim_chunk(
            run_id=run.plan.run_id, plan_id=run.plan.plan_id, chunk=run.chunk.chunk,
            after=run.chunk.after, through=run.chunk.through, now=run.now(),
        )  # fmt: skip
    except DatabaseError as error:
        raise type(error)(f"{run.chunk}: {error}") from None


def _enter_run(session: Session, run: ChunkRun) -> None:
    """The ledger's run row must be this plan's; without one, enter it.

    A run that signs goes on with whatever key is good now, and one that does not sign never begins to, nor the other
    way round.
    """
    plan, key_id = run.plan, run.key_id
    found = session.read_run(plan.run_id)
    _refuse_other_time(session, run, found)
    if found is None:
        _refuse_finished_elsewhere(run)
        session.open_run(
            run_id=plan.run_id, plan_id=plan.plan_id, plan=durable.to_text(plan.as_json()), now=run.now(),
            attester=run.settings.derivation.attester, key_id=key_id,
        )  # fmt: skip
        found = session.read_run(plan.run_id)
        assert found is not None  # entered a moment ago, by this process or another
    if found.plan_id != plan.plan_id:
        raise StateError(
            f"run {plan.run_id} has the plan {found.plan_id[:12]}… in the ledger of {run.settings.place}, and "
            f"{plan.plan_id[:12]}… in {run.paths.plan}. Use a new --run-id. Nothing was written."
        )
    if (found.key_id is None) != (key_id is None):
        again = "Configure a key again" if found.key_id else "Run it without a key again"
        raise StateError(
            f"run {plan.run_id} was started with {_key_words(found.key_id)}, now there is {_key_words(key_id)}. "
            f"{again}, or use a new --run-id. Nothing was written."
        )
    if found.key_id != key_id:
        logger.info("%s goes on with %s; run %s was started with %s", run.chunk, _key_words(key_id), plan.run_id,
                    _key_words(found.key_id))  # fmt: skip


def _refuse_finished_elsewhere(run: ChunkRun) -> None:
    """A ledger that does not know the run, but chunks of it that are done: it is the ledger of another file."""
    for planned in run.plan.chunks:
        path = run.paths.marker(planned.chunk)
        marker = durable.read_json(path, root=run.paths.state_dir) if path.exists() else None
        if marker is not None and marker.get("plan_id") == run.plan.plan_id:
            raise StateError(
                f"database {run.settings.place}: its ledger does not know run {run.plan.run_id}, but {path} "
                f"says that chunk {planned.chunk} of it is done: the file was moved, replaced or restored since, and "
                f"what that chunk wrote is in the other one. Put that file back, or use a new --run-id. Nothing was "
                f"written to this one."
            )


def _refuse_other_time(session: Session, run: ChunkRun, found: RunRow | None) -> None:
    """The plan's time goes with the run's own row, and with today where there is still something to write."""
    if found is not None:
        refuse_other_time(run.plan, started_at=found.started_at)
    row = session.read_chunk(run.plan.run_id, run.chunk.chunk)
    if row is None or row.state != "done":
        refuse_other_time(run.plan, started_at=(now := run.now()))
        if words := clock_words(run.plan, began_at=now):
            logger.warning("%s: %s", run.chunk, words)


def _key_words(key_id: str | None) -> str:
    return f"the signing key {key_id}" if key_id else "no signing key"


def _run_batches(session: Session, run: ChunkRun, row: LedgerRow, write_next_batch: WriteBatch) -> LedgerRow:
    """Steps 2 and 3 until the ledger says done. An interruption is told with where the chunk stands."""
    try:
        with signals.interruptible(False):
            for latest in _batches(session, run, row, write_next_batch):
                row = latest
    except KeyboardInterrupt:  # outside a worker, which would end after a batch
        logger.warning("%s", _stopped(SignalledError("interrupted"), run, row))
        raise
    return row


def _batches(session: Session, run: ChunkRun, row: LedgerRow, write_next_batch: WriteBatch) -> Iterator[LedgerRow]:
    """The ledger's row after each batch, until it says done."""
    parent_is_gone = watch_parent()
    started = time.monotonic()
    epoch = started - row.seconds  # so that the ledger's seconds count on from earlier attempts, writing included
    stale, before = 0, _settled(row.counts)
    while row.state != "done":
        try:
            refuse_orphan(parent_is_gone)
            session.check_schema()
            committed = write_next_batch(row, epoch + row.seconds)
        except (DatabaseError, SchemaChangedError, SignerError, OrphanedError, SignalledError) as error:
            raise _stopped(error, run, row) from None
        stale = 0 if committed else stale + 1
        if stale > MAX_STALE_READS:
            raise _stopped(DatabaseError(f"{stale} reads in a row were overtaken by other writers"), run, row)
        row = _reread(session, run)
        yield row
        settled = _settled(row.counts)
        run.progress(Progress(settled, run.chunk.residual, settled - before, time.monotonic() - started))
        if row.state != "done" and run.settings.pacing.batch_pause_seconds:
            _rest(run.settings.pacing.batch_pause_seconds, parent_is_gone)


def refuse_orphan(parent_is_gone: Callable[[], bool]) -> None:
    """Raise OrphanedError if nobody waits for this worker any more, SignalledError if it was told to end."""
    signals.refuse_to_go_on()
    if parent_is_gone():
        raise OrphanedError("the process that had started this worker has ended")


def _rest(seconds: float, parent_is_gone: Callable[[], bool]) -> None:
    """Sleep, but no longer than there is a parent, and no signal to end."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not parent_is_gone() and not signals.arrived():
        time.sleep(min(left, _LONGEST_SLEEP))


def _settled(counts: Counts) -> int:
    return counts.inserted + counts.updated + counts.rejected


def _reread(session: Session, run: ChunkRun) -> LedgerRow:
    row = session.read_chunk(run.plan.run_id, run.chunk.chunk)
    if row is None:
        raise StateError(f"{run.chunk}: its row vanished from the ledger while it ran. Run the same command again.")
    return row


class _Preparation:
    """Derives and signs the batches of one chunk: everything that is slow and needs no lock."""

    def __init__(self, run: ChunkRun, witness: Witness) -> None:
        self.run = run
        self._witness = witness
        self.rules = run.settings.derivation.rules(run.plan.created_at)
        self.size = BatchSize(run.settings.pacing.batch_rows)
        self._memo = Memo(self.rules)
        self._sign = _signing(run)
        self._encode = encoder(run.settings.derivation.attester)

    def derive(self, batch: BatchRead) -> tuple[Derivation, dict[str, Superseded]]:
        """The outcomes of a batch, and what the log knew of those of its facts that it knew."""
        derivation = derive_batch(batch.facts, self.rules, self._memo)
        derivation.rejects += batch.rejects
        return derivation, hear_all(self._witness, derivation)

    def content(self, derivation: Derivation) -> Content | None:
        """What the batch attests, if that is to be compared."""
        return content_of(derivation, self._encode) if self.run.compares_content else None

    def foresee(self, session: Session, batch: BatchRead) -> Derivation:
        """What a live run would make of a batch, with the rows that the database would refuse rejected."""
        derivation, _ = self.derive(batch)
        if not session.own_rules:
            return derivation
        records = sorted(derivation.inserts + derivation.updates, key=lambda record: record.fact_id)
        refused = session.foresee_refusals(records, signed=self.run.signer is not None)
        return self.derive(_turned_away(batch, refused))[0] if refused else derivation

    def prepare(self, row: LedgerRow, batch: BatchRead, mark: float, stopwatch: Stopwatch) -> BatchWrite:
        """What is to be committed; its seconds count from `mark`."""
        run = self.run
        derivation, superseded = self.derive(batch)
        content = self.content(derivation)
        stopwatch.lap("deriving")
        inserts, updates = self._sign(derivation.inserts), self._sign(derivation.updates)
        stopwatch.lap("signing")
        return BatchWrite(
            run_id=run.plan.run_id,
            plan_id=run.plan.plan_id,
            chunk=run.chunk.chunk,
            attester=run.settings.derivation.attester,
            now=run.now(),
            inserts=inserts,
            updates=updates,
            plain=batch.plain,
            rejects=derivation.rejects,
            set_aside=batch.set_aside,
            counts=_count(batch, derivation, signed=run.signer is not None),
            expected_cursor=row.cursor,
            cursor=batch.last,
            state="done" if batch.exhausted else "running",
            seconds=max(0.0, time.monotonic() - mark),
            superseded=superseded,
            key_id=run.key_id,
            times=stopwatch.times(),
            clock=run.now,
            content=content.to_bytes() if content else None,
        )


def _signing(run: ChunkRun) -> Callable[[Sequence[Record]], list[Attested]]:
    """Gives records what goes into the signature column, and the digests of their payloads if those are wanted."""
    if run.signer is None:
        return lambda records: [(record, PLACEHOLDER, None) for record in records]
    encode, blobs = encoder(run.settings.derivation.attester), run.signer.blobs
    wants_digests = run.log_signer is not None

    def sign(records: Sequence[Record]) -> list[Attested]:
        """Step by step over all: taken in turns, digests and signatures cost twice as much."""
        payloads = list(map(encode, records))
        digests = split_hashes(hash_each(payloads)) if wants_digests else [None] * len(payloads)
        return list(zip(records, blobs(payloads), digests, strict=True))

    return sign


def _count(batch: BatchRead, derivation: Derivation, *, signed: bool) -> Counts:
    """What the batch comes to. Facts of its range that are not residual are the unchanged ones."""
    inserted = len(derivation.inserts) + batch.plain.inserted
    updated = len(derivation.updates) + batch.plain.updated
    rejected = len(derivation.rejects) + batch.set_aside.total
    eligible = batch.eligible + batch.set_aside.total
    return Counts(
        eligible=eligible,
        inserted=inserted,
        updated=updated,
        unchanged=eligible - inserted - updated - rejected,
        rejected=rejected,
        signed=inserted + updated if signed else 0,
        placeholder=0 if signed else inserted + updated,
        created_at_missing=derivation.created_at_missing + batch.plain.created_at_missing,
        confidence_not_numeric=derivation.confidence_not_numeric,
    )


def _stopped(error: ProvenanceError, run: ChunkRun, row: LedgerRow) -> ProvenanceError:
    """The same error, with where the chunk stands and what to do."""
    written = row.counts.inserted + row.counts.updated
    once = "" if isinstance(error, (OrphanedError, SignalledError)) else " once that is mended"
    return type(error)(
        f"{run.chunk}: {without_advice(error).rstrip('.')}. It stopped at {describe(row.cursor)} with {written} rows "
        f"written; run the same command again{once}, it continues from there."
    )


def signatures(*, signed: int, placeholder: int, keys: Mapping[str, int], key_id: str | None) -> dict[str, Any]:
    """What markers and reports say of signatures: `key_ids` has the rows of each key, `key_id` is the one that signed
    last. Where nothing was signed it is `key_id` as given.
    """
    latest = [*keys][-1] if keys else key_id
    return {"signed": signed, "placeholder": placeholder, "key_id": latest, "key_ids": dict(keys)}


def live_marker(plan: Plan, row: LedgerRow, keys: Mapping[str, int], *, key_id: str | None) -> dict[str, Any]:
    """The marker of a finished chunk: a projection of its ledger row and of `rows_by_key` of its batches, no more."""
    return {
        "run_id": plan.run_id,
        "plan_id": row.plan_id,
        "mode": "live",
        "chunk": row.chunk,
        "after": to_json(row.after),
        "through": to_json(row.through),
        "rows": row.counts.rows(),
        "signatures": signatures(
            signed=row.counts.signed, placeholder=row.counts.placeholder, keys=keys, key_id=key_id
        ),
        "created_at_missing": row.counts.created_at_missing,
        "confidence_not_numeric": row.counts.confidence_not_numeric,
        "seconds": round(row.seconds, 3),
        "attempts": row.attempts,
        "host": row.host,
        "pid": row.pid,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def foreseen_keys(key_id: str | None, signed: int) -> dict[str, int]:
    """`rows_by_key` of a rehearsal, which has one key."""
    return {key_id: signed} if key_id and signed else {}


def rehearse_chunk(session: Session, run: ChunkRun) -> None:
    """The dry run of one chunk: the same classification, counted and sampled, nothing written but a marker.

    The chunk's first facts are read and derived for the sample, as a live run would; of the others, only those that
    are not plain, unless what is attested is to be compared. Raises StateError if the plan's time is none that its live
    run could take.
    """
    with Witness(session, run.settings, run.signer, because=run.plan.reattest or None) as witness:
        _rehearse(session, run, _Preparation(run, witness))


def _rehearse(session: Session, run: ChunkRun, preparation: _Preparation) -> None:
    started, started_at = time.monotonic(), run.now()
    refuse_other_time(run.plan, started_at=started_at)
    totals, reasons, sample = Counts(), Counter[str](), list[dict[str, Any]]()
    cursor: Key = run.chunk.after
    exhausted, content = False, Content()
    parent_is_gone = watch_parent()
    read, limit = session.read_batch, min(READ_FOR_SAMPLE, run.settings.pacing.batch_rows)
    while not exhausted:
        refuse_orphan(parent_is_gone)
        session.check_schema()
        batch = read(
            after=cursor, through=run.chunk.through, limit=limit, with_set_aside=run.plan.set_aside > 0,
        )  # fmt: skip
        reads, limit = session.own_rules or run.compares_content, run.settings.pacing.batch_rows
        read = session.read_batch if reads else session.tally_batch
        derivation = preparation.foresee(session, batch)
        content += preparation.content(derivation) or Content()
        totals += _count(batch, derivation, signed=run.signer is not None)
        reasons.update(reject.reason for reject in derivation.rejects)
        reasons.update(batch.set_aside.reasons())
        if len(sample) < SAMPLE_ROWS:
            sample += _sample(session, run, derivation, SAMPLE_ROWS - len(sample))
        cursor, exhausted = batch.last, batch.exhausted
        settled = _settled(totals)
        run.progress(Progress(settled, run.chunk.residual, settled, time.monotonic() - started))
    finished = LedgerRow(
        run.chunk.chunk, run.plan.plan_id, run.chunk.after, run.chunk.through, cursor, totals, "done", 1, "", 0,
        started_at, run.now(), time.monotonic() - started,
    )  # fmt: skip
    session.check_place()
    marker = {
        **live_marker(run.plan, finished, foreseen_keys(run.key_id, totals.signed), key_id=run.key_id),
        "mode": "dry-run", "rejects": dict(sorted(reasons.items())), "sample": sample,
        "content": content.to_bytes().hex() if run.compares_content else None,
    }  # fmt: skip
    durable.write_durably(run.paths.marker(run.chunk.chunk), durable.to_text(marker), root=run.paths.state_dir)


def _sample(session: Session, run: ChunkRun, derivation: Derivation, rows: int) -> list[dict[str, Any]]:
    """A few rows as they are and as a live run would make them: replaced ones first, they are rarer."""
    chosen = [("updated", r) for r in derivation.updates[:rows]] + [("inserted", r) for r in derivation.inserts[:rows]]
    found = []
    for outcome, record in chosen[:rows]:
        old = session.old_metadata(record.fact_id)
        new = {**record._asdict(), "verified_by": run.settings.derivation.attester}
        before = {name: to_json(value) for name, value in old._asdict().items()} if old else None
        found.append({"outcome": outcome, "fact_id": record.fact_id, "old": before, "new": new})
    return found
