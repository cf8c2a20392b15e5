"""What a run came to, as values: the content of report.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.fact_keys import to_json
from tasks.reporting.comparison import Comparison, Foreseen
from tasks.reporting.turns import Turns
from tasks.rows.stale import Stale
from tasks.runs.markers import Marker, Signatures
from tasks.sealed_log.seal import Sealed


@dataclass(frozen=True)
class SettledChunk:
    """A finished chunk; `content` is the fingerprint of what it attests, where that is compared."""

    marker: Marker
    content: str | None

    def as_json(self) -> dict[str, Any]:
        marker = self.marker
        return {
            "chunk": marker.chunk, "after": to_json(marker.after), "through": to_json(marker.through),
            "rows": marker.counts.rows(), "signatures": marker.signatures.as_json(), "content": self.content,
            "seconds": marker.seconds, "attempts": marker.attempts,
        }  # fmt: skip


@dataclass(frozen=True)
class SourceCount:
    """A source, and how many facts have it."""

    source_doc: str
    facts: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Closing:
    """The proof that nothing is lost: sums that must hold, and what the fresh count says."""

    eligible_is_the_sum: bool
    every_chunk_adds_up: bool
    chunks_done: int
    chunks_planned: int
    every_write_is_signed_or_placeholder: bool
    residual_when_planned: int
    remaining_after_this_run: int
    remaining_beyond_this_run: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RunReport:
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
    dry_run: Comparison | Foreseen | None
    signatures: Signatures
    sealed: Sealed
    remaining: int
    turns: Turns | None
    stale: Stale | None
    rejects: dict[str, int]
    reject_sample: list[dict[str, Any]]
    noted: dict[str, int]
    absences: list[str]
    top_sources: Sequence[SourceCount]
    sample: list[dict[str, Any]]
    rows_per_second: float
    planning_seconds: float
    closing: Closing
    chunks: Sequence[SettledChunk]

    def as_json(self) -> dict[str, Any]:
        """What is `noted` stands among the others, each count under its name."""
        content: dict[str, Any] = {}
        for name, value in vars(self).items():
            content |= value if name == "noted" else {name: _plain(value)}
        return content


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.as_json() if hasattr(value, "as_json") else value
