"""What a run came to, as one value: read from the ledger (live) or from the markers (dry run).

1. Gather one row per chunk, and refuse to report while one is missing.
2. Count the residual rows afresh, and rank the sources.
3. Compare with the dry run of the same plan, if there was one.
4. Close: every count must add up, per chunk and in total.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from tasks.backfill.contents import total_of
from tasks.backfill.leftovers import Leftovers
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import NOTHING_WRITTEN, RUN_AGAIN, StateError
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of
from tasks.reporting.comparison import Outcome, compare
from tasks.reporting.fresh_counts import count_afresh
from tasks.reporting.turns import turns
from tasks.runs.ledger import refuse_unborne
from tasks.runs.markers import foreseen_keys, marker_of_row, read_marker, signatures_by, write_marker
from tasks.runs.plans import Plan, clock_words
from tasks.runs.store_warnings import outcome_warnings, store_warnings
from tasks.sealed_log.seal import read_seal
from tasks.stores.protocols.counts import NOTED, OUTCOMES
from tasks.stores.protocols.ledger import Ledger, RunRow, rows_by_key
from tasks.stores.protocols.session import Session

_LISTED = 20


@dataclass(frozen=True)
class Report:
    """The content of report.json, in its order. Rows are facts; seconds are wall time."""

    run_id: str
    mode: str
    plan_id: str
    schema_fingerprint: str
    database: str
    attester: str
    started_at: str
    finished_at: str
    stop_reason: str
    max_rows: int | None
    reattest: str | None
    warnings: list[str]
    rows: dict[str, int]
    rows_outside_chunks: int
    dry_run: dict[str, Any] | None
    signatures: dict[str, Any]
    sealed: dict[str, Any]
    remaining: int
    turns: dict[str, Any] | None
    stale: dict[str, Any] | None
    rejects: dict[str, int]
    reject_sample: list[dict[str, Any]]
    noted: dict[str, int]
    absences: list[str]
    top_sources: list[dict[str, Any]]
    sample: list[dict[str, Any]]
    rows_per_second: float
    planning_seconds: float
    closing: dict[str, Any]
    chunks: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """What is `noted` stands among the others, each count under its name."""
        content = asdict(self)
        parts = (value if name == "noted" else {name: value} for name, value in content.items())
        return {name: value for part in parts for name, value in part.items()}


def summarize(session: Session, settings: Settings, paths: RunPaths, plan: Plan, *, key_id: str | None) -> Report:
    """The report of a run whose chunks are all done. Reads only.

    Raises StateError if a chunk is not done, or if markers and ledger do not belong together.
    """
    chunks = _rehearsed_chunks(paths, plan) if paths.dry_run else _live_chunks(session, paths, plan)
    totals = Counter[str]()
    for chunk in chunks:
        totals.update(chunk["rows"])
    rows = {name: totals[name] for name in OUTCOMES}
    rows["eligible"] += plan.unchanged_outside
    rows["unchanged"] += plan.unchanged_outside
    rejects = _rejects(session, paths, plan, chunks)
    counted = count_afresh(session, settings, plan, rows, live=not paths.dry_run)
    run = session.read_run(plan.run_id) if not paths.dry_run else None
    signatures = _signatures(session, plan, chunks, run, key_id)
    now = now_text()
    return Report(
        run_id=plan.run_id,
        mode=paths.mode,
        plan_id=plan.plan_id,
        schema_fingerprint=session.fingerprint,
        database=str(settings.place),
        attester=settings.derivation.attester,
        started_at=min((c["started_at"] for c in chunks), default=now),
        finished_at=now,
        stop_reason=plan.stop_reason,
        max_rows=plan.max_rows,
        reattest=plan.reattest or None,
        warnings=[
            *_of_clock(plan, chunks),
            *_warnings(session, settings, rows, rejects, signs=signatures["key_id"] is not None),
        ],
        rows=rows,
        rows_outside_chunks=plan.unchanged_outside,
        dry_run=_dry_run(paths, plan, Outcome(rows, rejects, chunks, _signers(session, paths, plan))),
        signatures=signatures,
        sealed=read_seal(settings, paths),
        remaining=counted.remaining,
        turns=None if paths.dry_run else turns(session, plan, rows, remaining=counted.remaining, now=now),
        stale=counted.stale,
        rejects=rejects,
        reject_sample=[] if paths.dry_run else session.reject_sample(plan.run_id),
        noted={name: sum(c[name] for c in chunks) for name in NOTED},
        absences=[*session.binding.absences, *session.own_rules],
        top_sources=[{"source_doc": doc, "facts": count} for doc, count in counted.top_sources],
        sample=[row for c in chunks for row in c.get("sample", [])][:_LISTED],
        rows_per_second=_rate(chunks),
        planning_seconds=plan.planning_seconds,
        closing=_closing(plan, rows, chunks, signatures, counted.remaining, counted.left),
        chunks=[_of_report(chunk) for chunk in chunks],
    )


def _signatures(
    session: Session, plan: Plan, chunks: list[dict[str, Any]], run: RunRow | None, key_id: str | None
) -> dict[str, Any]:
    """Live, the ledger's batches say which key signed what; a rehearsal has the configured one."""
    signed, placeholder = (sum(c["signatures"][name] for c in chunks) for name in ("signed", "placeholder"))
    keys = rows_by_key(session.read_batches(plan.run_id)) if run else foreseen_keys(key_id, signed)
    configured = run.key_id if run else key_id
    return signatures_by(keys, signed=signed, placeholder=placeholder, key_id=configured).as_json()


def _warnings(
    session: Session, settings: Settings, rows: dict[str, int], rejects: dict[str, int], *, signs: bool
) -> list[str]:
    seals = log_signer_of(settings) is not None
    of_store = store_warnings(session, settings, signs=signs, seals=seals)
    return [*outcome_warnings(session, rows, rejects), *of_store]


def _of_clock(plan: Plan, chunks: list[dict[str, Any]]) -> list[str]:
    words = clock_words(plan, began_at=min((chunk["started_at"] for chunk in chunks), default=plan.created_at))
    return [words] if words else []


def _live_chunks(session: Ledger, paths: RunPaths, plan: Plan) -> list[dict[str, Any]]:
    """The finished rows of the ledger as markers; a marker that is missing is written again."""
    run = session.read_run(plan.run_id)
    ledger = {row.chunk: row for row in session.read_chunks(plan.run_id) if row.plan_id == plan.plan_id}
    batches = {of: list(some) for of, some in groupby(session.read_batches(plan.run_id), lambda batch: batch.chunk)}
    found = []
    for planned in plan.chunks:
        row = ledger.get(planned.chunk)
        if row is None or not row.is_done:
            seen = "does not know it" if row is None else "says it is not done"
            raise StateError(
                f"its marker is there, but the ledger of the database {seen}: the database was replaced "
                "or restored since",
                where=str(planned),
                hint="Use a new --run-id",
                written=NOTHING_WRITTEN,
            )
        keys = rows_by_key(batches.get(planned.chunk, ()))
        marker = marker_of_row(plan, row, keys, mode="live", key_id=run.key_id if run else None)
        if read_marker(plan, paths, planned.chunk) is None:
            write_marker(marker, paths)
        content = total_of(batch.content for batch in batches.get(planned.chunk, ()))
        found.append({**marker.as_json(), "content": content.to_bytes().hex() if content else None})
    if run is not None:
        refuse_unborne(session, plan, ledger, run_id=plan.run_id, attester=run.attester)
    return found


def _rehearsed_chunks(paths: RunPaths, plan: Plan) -> list[dict[str, Any]]:
    found = []
    for planned in plan.chunks:
        marker = read_marker(plan, paths, planned.chunk)
        if marker is None:
            raise StateError(
                "its marker is missing or torn", where=str(planned), again=RUN_AGAIN, written=NOTHING_WRITTEN
            )
        found.append(marker.as_json())
    return found


def _rejects(session: Ledger, paths: RunPaths, plan: Plan, chunks: list[dict[str, Any]]) -> dict[str, int]:
    if not paths.dry_run:
        return session.reject_reasons(plan.run_id)
    reasons = Counter[str]()
    for chunk in chunks:
        reasons.update(chunk["rejects"])
    return dict(sorted(reasons.items()))


def _dry_run(paths: RunPaths, plan: Plan, came_to: Outcome) -> dict[str, Any] | None:
    """What the dry run of this very plan predicted, and whether it came true (None: this is that dry run)."""
    if paths.dry_run:
        return {"rows": dict(came_to.rows), "rejects": dict(came_to.rejects), "matches": None}
    return compare(durable.read_json(paths.of_mode(dry_run=True).report, root=paths.state_dir), plan.plan_id, came_to)


def _signers(session: Ledger, paths: RunPaths, plan: Plan) -> frozenset[str | None]:
    """The keys of the batches that wrote something: a run may go on with another."""
    batches = [] if paths.dry_run else session.read_batches(plan.run_id)
    return frozenset(batch.key_id for batch in batches if batch.counts.inserted or batch.counts.updated)


def _rate(chunks: list[dict[str, Any]]) -> float:
    """Facts settled per second of work, summed over workers."""
    settled = sum(c["rows"]["inserted"] + c["rows"]["updated"] + c["rows"]["rejected"] for c in chunks)
    seconds = sum(c["seconds"] for c in chunks)
    return round(settled / seconds, 1) if seconds else 0.0


def _closing(
    plan: Plan,
    rows: dict[str, int],
    chunks: list[dict[str, Any]],
    signatures: dict[str, Any],
    remaining: int,
    left: Leftovers | None,
) -> dict[str, Any]:
    """The proof that nothing is lost: sums that must hold, and what the fresh count says.

    After a live run the facts that are left are told apart one by one; a rehearsal has only numbers to go by.
    """
    written = rows["inserted"] + rows["updated"]
    explained = left.rejected if left else min(remaining, rows["rejected"] + written)
    return {
        "eligible_is_the_sum": rows["eligible"] == sum(rows[name] for name in OUTCOMES[1:]),
        "every_chunk_adds_up": all(
            c["rows"]["eligible"] == sum(c["rows"][name] for name in OUTCOMES[1:]) for c in chunks
        ),
        "chunks_done": len(chunks),
        "chunks_planned": len(plan.chunks),
        "every_write_is_signed_or_placeholder": written == signatures["signed"] + signatures["placeholder"],
        "residual_when_planned": plan.residual,
        "remaining_after_this_run": explained,
        "remaining_beyond_this_run": remaining - explained,
    }


def _of_report(chunk: dict[str, Any]) -> dict[str, Any]:
    names = ("chunk", "after", "through", "rows", "signatures", "content", "seconds", "attempts")
    return {name: chunk.get(name) for name in names}
