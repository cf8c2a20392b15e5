"""The dry run of a chunk: judged as a live run would judge it, counted and sampled; nothing is written but a marker.

The chunk's first facts are read and derived for the sample, as a live run would; of the others, only those that are not
plain, unless what is attested is to be compared.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import Any, Final

from tasks.backfill.contents import Content
from tasks.backfill.evidence import Witness
from tasks.backfill.preparation import Preparation, count_batch
from tasks.core.errors import ProvenanceError
from tasks.core.fact_keys import to_json
from tasks.derivation.batch import Derivation
from tasks.runs.chunk_run import ChunkRun
from tasks.runs.loop import work_through
from tasks.runs.markers import Rehearsed, foreseen_keys, marker_of_row, write_marker
from tasks.runs.plans import refuse_other_time
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.facts import BatchRead
from tasks.stores.protocols.ledger import LedgerRow
from tasks.stores.protocols.session import Session
from tasks.stores.protocols.states import RUNNING, chunk_state

SAMPLE_ROWS = 5
READ_FOR_SAMPLE = 500


def rehearse_chunk(session: Session, run: ChunkRun) -> None:
    """Rehearse one chunk and leave its marker.

    Raises StateError if the plan's time is none that its live run could take.
    """
    with Witness(session, run.settings, run.signer, because=run.plan.reattest or None) as witness:
        work_through(DryRun(session, run, witness), residual=run.chunk.residual, progress=run.progress)


class DryRun:
    """See runs.loop.Work. How far it is stands nowhere but here: a rehearsal has no ledger, and begins anew."""

    writes: Final = False

    def __init__(self, session: Session, run: ChunkRun, witness: Witness) -> None:
        self._session, self._run = session, run
        self._preparation = Preparation(run, witness)
        self._started = time.monotonic()
        self._content, self._reasons, self._sample = Content(), Counter[str](), list[dict[str, Any]]()

    def claim(self) -> LedgerRow:
        run = self._run
        started_at = run.now()
        refuse_other_time(run.plan, started_at=started_at)
        self._row = self._first = LedgerRow(
            run.chunk.chunk, run.plan.plan_id, run.chunk.after, run.chunk.through, run.chunk.after, Counts(), RUNNING,
            1, "", 0, started_at, None, 0.0,
        )  # fmt: skip
        return self._row

    def check_schema(self) -> None:
        self._session.check_schema()

    def do_next_batch(self, row: LedgerRow) -> bool:
        batch = self._read(row)
        derivation = self._preparation.foresee(self._session, batch)
        self._content += self._preparation.content(derivation) or Content()
        self._reasons.update(reject.reason for reject in derivation.rejects)
        self._reasons.update(batch.set_aside.reasons())
        if len(self._sample) < SAMPLE_ROWS:
            self._sample += _sample(self._session, self._run, derivation, SAMPLE_ROWS - len(self._sample))
        counts = row.counts + count_batch(batch, derivation, signed=self._run.signer is not None)
        self._row = replace(row, cursor=batch.last, counts=counts, state=chunk_state(is_done=batch.exhausted))
        return True

    def _read(self, row: LedgerRow) -> BatchRead:
        run, most = self._run, self._run.settings.pacing.batch_rows
        is_first = row is self._first
        reads = is_first or self._session.own_rules or self._preparation.compares_content
        read = self._session.read_batch if reads else self._session.tally_batch
        return read(
            after=row.cursor, through=run.chunk.through, limit=min(READ_FOR_SAMPLE, most) if is_first else most,
            with_set_aside=run.plan.set_aside > 0,
        )  # fmt: skip

    def reread(self) -> LedgerRow:
        return self._row

    def stopped(self, error: ProvenanceError | KeyboardInterrupt, row: LedgerRow) -> BaseException:
        return error

    def leave_marker(self, row: LedgerRow) -> None:
        run = self._run
        finished = replace(row, finished_at=run.now(), seconds=time.monotonic() - self._started)
        self._session.check_place()
        content = self._content.to_bytes().hex() if self._preparation.compares_content else None
        rehearsed = Rehearsed(dict(sorted(self._reasons.items())), self._sample, content)
        keys = foreseen_keys(run.key_id, row.counts.signed)
        write_marker(
            marker_of_row(run.plan, finished, keys, mode="dry-run", key_id=run.key_id, rehearsed=rehearsed), run.paths
        )


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
