"""What a run came to, as one value: read from the ledger (live) or from the markers (dry run).

1. Gather one row per chunk, and refuse to report while one is missing.
2. Count the residual rows afresh, and rank the sources.
3. Compare with the dry run of the same plan, if there was one.
4. Close: every count must add up, per chunk and in total.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tasks.backfill.contents import total_of
from tasks.backfill.leftovers import Leftovers
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import NOTHING_WRITTEN, RUN_AGAIN, StateError
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of
from tasks.reporting.comparison import Comparison, Foreseen, Outcome, compare
from tasks.reporting.fresh_counts import count_afresh
from tasks.reporting.report import Closing, RunReport, SettledChunk, SourceCount
from tasks.reporting.turns import turns
from tasks.runs.finished_chunks import finished_chunks
from tasks.runs.markers import Signatures, foreseen_keys, read_marker, signatures_by
from tasks.runs.plans import Plan, clock_words
from tasks.runs.store_warnings import outcome_warnings, store_warnings
from tasks.sealed_log.seal import read_seal
from tasks.stores.protocols.counts import NOTED, OUTCOMES, Counts
from tasks.stores.protocols.ledger import Ledger, RunRow, rows_by_key
from tasks.stores.protocols.session import Session

_LISTED = 20


def summarize(session: Session, settings: Settings, paths: RunPaths, plan: Plan, *, key_id: str | None) -> RunReport:
    """The report of a run whose chunks are all done. Reads only.

    Raises StateError if a chunk is not done, or if markers and ledger do not belong together.
    """
    live = not paths.dry_run
    chunks = _live_chunks(session, paths, plan) if live else _rehearsed_chunks(paths, plan)
    rows, rejects = _rows(plan, chunks), _rejects(session, paths, plan, chunks)
    done = {chunk.marker.chunk: chunk.marker.counts for chunk in chunks} if live else None
    counted = count_afresh(session, settings, plan, inserts_all=rows["inserted"] == rows["eligible"], done=done)
    signatures = _signatures(session, plan, chunks, session.read_run(plan.run_id) if live else None, key_id)
    outcome = Outcome(rows, rejects, _by_chunk(chunks), _signers(session, paths, plan))
    now = now_text()
    return RunReport(
        run_id=plan.run_id, mode=paths.mode, plan_id=plan.plan_id, schema_fingerprint=session.fingerprint,
        database=str(settings.place), attester=settings.derivation.attester,
        started_at=min((chunk.marker.started_at for chunk in chunks), default=now), finished_at=now,
        stop_reason=plan.stop_reason, max_rows=plan.max_rows, reattest=plan.reattest or None,
        warnings=[
            *_of_clock(plan, chunks),
            *_warnings(session, settings, rows, rejects, signs=signatures.key_id is not None),
        ],
        rows=rows, rows_outside_chunks=plan.unchanged_outside, dry_run=_dry_run(paths, plan, outcome),
        signatures=signatures, sealed=read_seal(settings, paths), remaining=counted.remaining,
        turns=turns(session, plan, rows, remaining=counted.remaining, now=now) if live else None,
        stale=counted.stale, rejects=rejects, reject_sample=session.reject_sample(plan.run_id) if live else [],
        noted={name: sum(chunk.marker.counts.noted()[name] for chunk in chunks) for name in NOTED},
        absences=[*session.binding.absences, *session.own_rules],
        top_sources=[SourceCount(source_doc, facts) for source_doc, facts in counted.top_sources],
        sample=_sample(chunks), rows_per_second=_rate(chunks), planning_seconds=plan.planning_seconds,
        closing=_closing(plan, rows, chunks, signatures, counted.remaining, counted.left), chunks=chunks,
    )  # fmt: skip


def _rows(plan: Plan, chunks: Sequence[SettledChunk]) -> dict[str, int]:
    """The outcomes of all eligible facts: those of the chunks, and those that the plan found in none of them."""
    totals = sum((chunk.marker.counts for chunk in chunks), Counts()).rows()
    outside = {"eligible": plan.unchanged_outside, "unchanged": plan.unchanged_outside}
    return {name: count + outside.get(name, 0) for name, count in totals.items()}


def _by_chunk(chunks: Sequence[SettledChunk]) -> dict[int, tuple[dict[str, int], str | None]]:
    return {chunk.marker.chunk: (chunk.marker.counts.rows(), chunk.content) for chunk in chunks}


def _sample(chunks: Sequence[SettledChunk]) -> list[dict[str, Any]]:
    """Some rows of a rehearsal; a live run has them in the database."""
    rehearsed = (chunk.marker.rehearsed for chunk in chunks)
    return [row for one in rehearsed if one for row in one.sample][:_LISTED]


def _signatures(
    session: Session, plan: Plan, chunks: Sequence[SettledChunk], run: RunRow | None, key_id: str | None
) -> Signatures:
    """Live, the ledger's batches say which key signed what; a rehearsal has the configured one."""
    signed, placeholder = (
        sum(getattr(chunk.marker.signatures, name) for chunk in chunks) for name in ("signed", "placeholder")
    )
    keys = rows_by_key(session.read_batches(plan.run_id)) if run else foreseen_keys(key_id, signed)
    configured = run.key_id if run else key_id
    return signatures_by(keys, signed=signed, placeholder=placeholder, key_id=configured)


def _warnings(
    session: Session, settings: Settings, rows: dict[str, int], rejects: dict[str, int], *, signs: bool
) -> list[str]:
    seals = log_signer_of(settings) is not None
    of_store = store_warnings(session, settings, signs=signs, seals=seals)
    return [*outcome_warnings(session, rows, rejects), *of_store]


def _of_clock(plan: Plan, chunks: Sequence[SettledChunk]) -> list[str]:
    words = clock_words(plan, began_at=min((chunk.marker.started_at for chunk in chunks), default=plan.created_at))
    return [words] if words else []


def _live_chunks(session: Ledger, paths: RunPaths, plan: Plan) -> list[SettledChunk]:
    run = session.read_run(plan.run_id)
    key_id, attester = (run.key_id, run.attester) if run else (None, None)
    found = []
    for chunk in finished_chunks(session, paths, plan, key_id=key_id, attester=attester):
        content = total_of(batch.content for batch in chunk.batches)
        found.append(SettledChunk(chunk.marker, content.to_bytes().hex() if content else None))
    return found


def _rehearsed_chunks(paths: RunPaths, plan: Plan) -> list[SettledChunk]:
    found = []
    for planned in plan.chunks:
        marker = read_marker(plan, paths, planned.chunk)
        if marker is None:
            raise StateError(
                "its marker is missing or torn", where=str(planned), again=RUN_AGAIN, written=NOTHING_WRITTEN
            )
        found.append(SettledChunk(marker, marker.rehearsed.content if marker.rehearsed else None))
    return found


def _rejects(session: Ledger, paths: RunPaths, plan: Plan, chunks: Sequence[SettledChunk]) -> dict[str, int]:
    if not paths.dry_run:
        return session.reject_reasons(plan.run_id)
    reasons = Counter[str]()
    for chunk in chunks:
        reasons.update(chunk.marker.rehearsed.rejects if chunk.marker.rehearsed else {})
    return dict(sorted(reasons.items()))


def _dry_run(paths: RunPaths, plan: Plan, came_to: Outcome) -> Comparison | Foreseen | None:
    """What the dry run of this very plan predicted, and whether it came true (None: this is that dry run)."""
    if paths.dry_run:
        return Foreseen(came_to.rows, came_to.rejects)
    return compare(durable.read_json(paths.of_mode(dry_run=True).report, root=paths.state_dir), plan.plan_id, came_to)


def _signers(session: Ledger, paths: RunPaths, plan: Plan) -> frozenset[str | None]:
    """The keys of the batches that wrote something: a run may go on with another."""
    batches = [] if paths.dry_run else session.read_batches(plan.run_id)
    return frozenset(batch.key_id for batch in batches if batch.counts.inserted or batch.counts.updated)


def _rate(chunks: Sequence[SettledChunk]) -> float:
    """Facts settled per second of work, summed over workers."""
    counts = sum((chunk.marker.counts for chunk in chunks), Counts())
    settled = counts.inserted + counts.updated + counts.rejected
    seconds = sum(chunk.marker.seconds for chunk in chunks)
    return round(settled / seconds, 1) if seconds else 0.0


def _closing(
    plan: Plan,
    rows: dict[str, int],
    chunks: Sequence[SettledChunk],
    signatures: Signatures,
    remaining: int,
    left: Leftovers | None,
) -> Closing:
    """After a live run the facts that are left are told apart one by one; a rehearsal has only numbers to go by."""
    written = rows["inserted"] + rows["updated"]
    explained = left.rejected if left else min(remaining, rows["rejected"] + written)
    return Closing(
        eligible_is_the_sum=_adds_up(rows),
        every_chunk_adds_up=all(_adds_up(chunk.marker.counts.rows()) for chunk in chunks),
        chunks_done=len(chunks),
        chunks_planned=len(plan.chunks),
        every_write_is_signed_or_placeholder=written == signatures.signed + signatures.placeholder,
        residual_when_planned=plan.residual,
        remaining_after_this_run=explained,
        remaining_beyond_this_run=remaining - explained,
    )


def _adds_up(rows: dict[str, int]) -> bool:
    return rows["eligible"] == sum(rows[name] for name in OUTCOMES[1:])
