"""Closing a verification: its chunks become verify.json, verify.md and, last, summary.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks.attestation.public_keys import load_registry
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import StateError, VerificationError
from tasks.core.terminal import tell
from tasks.job.paths import PartPaths
from tasks.job.settings import Settings
from tasks.reporting.verification import (
    Verification,
    summarize_verification,
    to_json_parts,
    to_markdown,
    to_terminal,
    verdict_words,
)
from tasks.rows.verify import read_findings
from tasks.rows.verify_runs import current_plan, read_summary, require_plan, require_verdict, summary_path


def close_verification(settings: Settings, keys: Path, paths: PartPaths, *, allow_unsigned: bool) -> str:
    """Write verify.json, verify.md and summary.json. Returns the terminal's summary.

    Raises VerificationError, once all three are written, if not every row is valid; StateError if a chunk is missing.
    """
    registry = load_registry(keys)
    plan = require_plan(settings, registry, paths)
    verdicts = [require_verdict(plan, paths, chunk.chunk) for chunk in plan.chunks]
    report = summarize_verification(
        settings, registry, plan, verdicts, allow_unsigned=allow_unsigned, finished_at=now_text()
    )
    facts = _Counted(read_findings((paths.findings(chunk.chunk) for chunk in plan.chunks), root=paths.state_dir))
    durable.stream_durably(paths.report, to_json_parts(report, facts), root=paths.state_dir)
    if facts.count != report.rows - report.states["valid"]:
        raise StateError(
            f"the chunks count {report.rows - report.states['valid']} rows that are not valid, their "
            f"findings hold {facts.count}: another verification of run {paths.run_id} ran at the "
            "same time",
            where=str(paths.report),
            hint="Use a new --run-id",
            written="Nothing was written to the database",
        )
    durable.write_durably(paths.report_markdown, to_markdown(report), root=paths.state_dir)
    durable.write_durably(summary_path(paths), durable.to_text(report.as_json()), root=paths.state_dir)
    return _told(report, paths)


def verification_has_passed(
    settings: Settings, keys: Path, paths: PartPaths, *, asked_at: str, allow_unsigned: bool
) -> bool:
    """Whether a verification that answers a question asked at `asked_at` has come to its end, and all was well."""
    plan = current_plan(settings, load_registry(keys), paths, asked_at=asked_at)
    summary = read_summary(paths, plan) if plan else None
    return summary is not None and bool(summary["passed"]) and summary["allow_unsigned"] == allow_unsigned


class _Counted:
    """The facts of a report, counted while they are written."""

    def __init__(self, facts: Iterable[dict[str, Any]]) -> None:
        self._facts = facts
        self.count = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for fact in self._facts:
            self.count += 1
            yield fact


def _told(report: Verification, paths: PartPaths) -> str:
    if not report.passed:
        tell(f"{to_terminal(report)}\nreport: {paths.report}")
        raise VerificationError(f"{verdict_words(report)} See {paths.report_markdown}", where=str(report.table))
    return f"{to_terminal(report)}\nreport: {paths.report}"
