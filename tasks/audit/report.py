"""What to audit, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.attestation.log.findings import Finding, Verdict, in_order
from tasks.audit.ranges import KEPT
from tasks.audit.successions import Reattested


@dataclass(frozen=True, kw_only=True)
class AuditOrder:
    """What to audit. `sample` facts have their signatures verified, None for all; 0 for none."""

    checkpoint: bytes
    since: bytes | None = None
    root_only: bool = False
    sample: int | None = None
    workers: int = 1
    allow_unsigned: bool = False


@dataclass
class AuditReport:
    """The outcome. Clean means: nothing was found."""

    origin: str | None = None
    tree_size: int | None = None
    root: str | None = None
    since_size: int | None = None
    leaves: int = 0
    unsealed_rows: int = 0
    metadata_rows: int = 0
    reattested: list[Reattested] = field(default_factory=list)
    reattested_count: int = 0
    signatures: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[Verdict] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.counts

    @property
    def verdict(self) -> str:
        """The first finding's, or `clean`."""
        return "clean" if self.clean else in_order(self.findings)[0].verdict.value

    def add(self, *findings: Finding) -> None:
        for finding in findings:
            self.counts[finding.verdict] += 1
            if self.counts[finding.verdict] <= KEPT:
                self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "clean": self.clean, "origin": self.origin, "tree_size": self.tree_size,
            "root": self.root, "since_size": self.since_size, "leaves": self.leaves,
            "unsealed_rows": self.unsealed_rows, "metadata_rows": self.metadata_rows, "signatures": self.signatures,
            "reattested": {"count": self.reattested_count, "facts": [asdict(fact) for fact in self.reattested]},
            "counts": {verdict.value: self.counts[verdict] for verdict in Verdict if self.counts[verdict]},
            "findings": [finding.as_json() for finding in in_order(self.findings)], "seconds": round(self.seconds, 3),
        }  # fmt: skip
