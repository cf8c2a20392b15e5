"""What becomes of a batch of facts: derived, held against the log, signed and counted. No lock is held meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tasks.attestation.fast.batch_hashing import hash_each, split_hashes
from tasks.attestation.payload import encoder
from tasks.attestation.signature_column import PLACEHOLDER
from tasks.backfill.contents import Content, content_of
from tasks.backfill.evidence import Witness, hear_all
from tasks.core.values import Record, Reject
from tasks.derivation.batch import Derivation, Memo, derive_batch
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.stopwatch import Stopwatch
from tasks.stores.protocols.batches import Attested, BatchWrite, Superseded
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.facts import BatchRead
from tasks.stores.protocols.ledger import LedgerRow
from tasks.stores.protocols.session import Session


class Preparation:
    """Derives and signs the batches of one chunk: everything that is slow and needs no lock."""

    def __init__(self, run: ChunkRun, witness: Witness) -> None:
        self.run = run
        self._witness = witness
        self.rules = run.settings.derivation.rules(run.plan.created_at)
        self._memo = Memo(self.rules)
        self._sign = _signing(run)
        self._encode = encoder(run.settings.derivation.attester)

    @property
    def compares_content(self) -> bool:
        """Whether a rehearsal and its run are compared by what they attest: then both read every fact."""
        return self.run.settings.rehearsal.compare == "content"

    def derive(self, batch: BatchRead) -> tuple[Derivation, dict[str, Superseded]]:
        """The outcomes of a batch, and what the log knew of those of its facts that it knew."""
        derivation = derive_batch(batch.facts, self.rules, self._memo)
        derivation.rejects += batch.rejects
        return derivation, hear_all(self._witness, derivation)

    def content(self, derivation: Derivation) -> Content | None:
        """What the batch attests, if that is to be compared."""
        return content_of(derivation, self._encode) if self.compares_content else None

    def foresee(self, session: Session, batch: BatchRead) -> Derivation:
        """What a live run would make of a batch, with the rows that the database would refuse rejected."""
        derivation, _ = self.derive(batch)
        if not session.own_rules:
            return derivation
        records = sorted(derivation.inserts + derivation.updates, key=lambda record: record.fact_id)
        refused = session.foresee_refusals(records, signed=self.run.signer is not None)
        return self.derive(turned_away(batch, refused))[0] if refused else derivation

    def prepare(
        self, row: LedgerRow, batch: BatchRead, stopwatch: Stopwatch, seconds: Callable[[], float]
    ) -> BatchWrite:
        """What is to be committed. `seconds` tells how long ago the batch before was done."""
        run = self.run
        derivation, superseded = self.derive(batch)
        content = self.content(derivation)
        stopwatch.lap("deriving")
        inserts, updates = self._sign(derivation.inserts), self._sign(derivation.updates)
        stopwatch.lap("signing")
        return BatchWrite(
            run_id=run.paths.ledger_run_id,
            plan_id=run.plan.plan_id,
            chunk=run.chunk.chunk,
            attester=run.settings.derivation.attester,
            now=run.now(),
            inserts=inserts,
            updates=updates,
            plain=batch.plain,
            rejects=derivation.rejects,
            set_aside=batch.set_aside,
            counts=count_batch(batch, derivation, signed=run.signer is not None),
            expected_cursor=row.cursor,
            cursor=batch.last,
            exhausted=batch.exhausted,
            seconds=seconds(),
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


def count_batch(batch: BatchRead, derivation: Derivation, *, signed: bool) -> Counts:
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


def turned_away(batch: BatchRead, rejects: Sequence[Reject]) -> BatchRead:
    """The batch with some of its facts rejected, whatever can be derived from them."""
    fact_ids = {reject.fact_id for reject in rejects}
    facts = [fact for fact in batch.facts if not (isinstance(fact[0], (int, str)) and str(fact[0]) in fact_ids)]
    return replace(batch, facts=facts, rejects=[*batch.rejects, *rejects])
