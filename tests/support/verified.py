"""What a verification of every row comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.reporting.verification import Verification


@dataclass
class Verified:
    """A report, with all facts that are not valid as {fact id: (state, detail)}."""

    report: Verification
    facts: dict[Any, tuple[str, str]]

    @property
    def states(self) -> dict[Any, str]:
        return {fact_id: state for fact_id, (state, _) in self.facts.items()}

    @property
    def counts(self) -> dict[str, int]:
        """The states that occur."""
        return {state: count for state, count in self.report.states.items() if count}
