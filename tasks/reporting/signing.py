"""What a signing of pending rows came to: sign.json, sign.md and the terminal's summary."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tasks.core import durable
from tasks.core.clock import now_text
from tasks.job.paths import PartPaths
from tasks.job.settings import Settings
from tasks.reporting.markdown import cell, key_words, markdown_table
from tasks.rows.sign_pending import revoked_ids, revoked_keys
from tasks.runs.finished_chunks import finished_chunks
from tasks.runs.frozen_plans import read_plan, require_plan
from tasks.runs.plans import Plan
from tasks.sealed_log.seal import Sealed, read_seal
from tasks.stores.open import open_store
from tasks.stores.protocols.ledger import LedgerRow, rows_by_key
from tasks.stores.protocols.pending import PendingSession


@dataclass(frozen=True)
class SignedChunk:
    """A finished chunk. Seconds are those of the work on it, over all attempts."""

    chunk: int
    pending: int
    signed: int
    refused: int
    seconds: float
    attempts: int


@dataclass(frozen=True)
class SigningReport:
    """The content of sign.json in its order. `pending = signed + refused`; `remaining` is counted afresh."""

    run_id: str
    plan_id: str
    database: str
    key_id: str | None
    key_ids: dict[str, int]
    started_at: str
    finished_at: str
    rows: dict[str, int]
    refused: dict[str, int]
    refused_sample: list[dict[str, Any]]
    remaining: int
    sealed: Sealed
    rows_per_second: float
    chunks: list[SignedChunk]


def signing_is_done(settings: Settings, paths: PartPaths) -> bool:
    """True if sign.json is whole, of the frozen plan, and the ledger says that this run and each of its chunks are
    finished: a database that was restored from before is not signed. Raises StateError if the plan is not for this
    command.
    """
    plan = read_plan(paths, settings)
    content = durable.read_json(paths.report, root=paths.state_dir) if plan else None
    if plan is None or content is None or content.get("plan_id") != plan.plan_id:
        return False
    if not plan.chunks:
        return True
    with open_store(settings).pending_session(write=False) as session:
        run, rows = session.read_run(paths.ledger_run_id), session.read_chunks(paths.ledger_run_id)
    if run is None or run.plan_id != plan.plan_id or run.finished_at is None:
        return False
    return {row.chunk for row in rows if row.is_done} >= {planned.chunk for planned in plan.chunks}


def close_signing(settings: Settings, paths: PartPaths) -> str:
    """Write sign.md and sign.json of a signing whose chunks are done. Returns the terminal's summary."""
    plan = require_plan(paths, settings)
    revoked = revoked_ids(revoked_keys(settings))
    with open_store(settings).pending_session(write=bool(plan.chunks), revoked=revoked) as session:
        report = _summarize(session, settings, paths, plan)
        if plan.chunks:
            session.finish_run(
                run_id=paths.ledger_run_id,
                now=report.finished_at,
                stop_reason=plan.stop_reason,
                remaining=report.remaining,
            )
    durable.write_durably(paths.report_markdown, _to_markdown(report), root=paths.state_dir)
    durable.write_durably(paths.report, durable.to_text(asdict(report)), root=paths.state_dir)
    return f"{_to_terminal(report)}\nreport: {paths.report}"


def _summarize(session: PendingSession, settings: Settings, paths: PartPaths, plan: Plan) -> SigningReport:
    run = session.read_run(paths.ledger_run_id)
    keys = rows_by_key(session.read_batches(paths.ledger_run_id))
    key_id = next(reversed(keys), run.key_id if run else None)
    chunks = finished_chunks(session, paths, plan, key_id=key_id, attester=None)  # each row keeps its attester
    rows = [chunk.row for chunk in chunks]
    counts = {
        "pending": sum(row.counts.eligible for row in rows),
        "signed": sum(row.counts.signed for row in rows),
        "refused": sum(row.counts.rejected for row in rows),
    }
    seconds, now = sum(row.seconds for row in rows), now_text()
    return SigningReport(
        run_id=plan.run_id,
        plan_id=plan.plan_id,
        database=str(settings.place),
        key_id=key_id,
        key_ids=keys,
        started_at=min((row.started_at for row in rows), default=now),
        finished_at=now,
        rows=counts,
        refused=session.reject_reasons(paths.ledger_run_id),
        refused_sample=session.reject_sample(paths.ledger_run_id),
        remaining=session.count_pending(),
        sealed=read_seal(settings, paths),
        rows_per_second=round(counts["pending"] / seconds, 1) if seconds else 0.0,
        chunks=[_signed_chunk(row) for row in rows],
    )


def _signed_chunk(row: LedgerRow) -> SignedChunk:
    counts = row.counts
    return SignedChunk(
        row.chunk, counts.eligible, counts.signed, counts.rejected, seconds=round(row.seconds, 3), attempts=row.attempts
    )


def _to_terminal(report: SigningReport) -> str:
    signed, pending = report.rows["signed"], report.rows["pending"]
    keys = key_words(report.key_id, report.key_ids)
    lines = [f"signing {report.run_id}: {signed:,} of {pending:,} pending rows signed with {keys}"]
    if report.refused:
        lines.append("  REFUSED: " + ", ".join(f"{reason} {count:,}" for reason, count in report.refused.items()))
    return "\n".join([*lines, f"  still pending: {report.remaining:,}", f"  {report.sealed.words()}"])


def _to_markdown(report: SigningReport) -> str:
    """sign.md. Values from the database are escaped."""
    facts = {
        "database": report.database, "signed with": key_words(report.key_id, report.key_ids),
        "plan": report.plan_id, "started": report.started_at,
        "finished": report.finished_at, "still pending": f"{report.remaining:,}",
        "speed": f"{report.rows_per_second:,.0f} rows/s per worker",
    }  # fmt: skip
    sections = [
        f"# Signing {cell(report.run_id)}",
        "\n".join(f"- {name}: {cell(value)}" for name, value in facts.items()),
        f"## Rows\n\n{markdown_table(('pending', 'rows'), [(k, f'{v:,}') for k, v in report.rows.items()])}",
        f"## Sealed log\n\n{cell(report.sealed.words())}",
    ]
    if report.refused:
        sample = [(row["fact_id"], row["reason"], row["detail"]) for row in report.refused_sample]
        sections += [
            f"## Refused\n\n{markdown_table(('reason', 'rows'), list(report.refused.items()))}",
            markdown_table(("fact", "reason", "seen"), sample),
        ]
    return "\n\n".join(sections) + "\n"
