"""The facts that a store keeps as rejected, and why."""

from __future__ import annotations

from typing import Any, Protocol


class Rejects(Protocol):
    """What runs have rejected."""

    def was_rejected(self, fact_id: str, reason: str) -> bool:
        """True if some run has rejected this fact for this reason."""

    def was_rejected_by(self, run_id: str | None, fact_id: str) -> bool:
        """True if the run, or any run, has rejected this fact."""

    def count_rejected_residual(self, run_id: str) -> int:
        """How many of the facts that the run rejected are there and residual now. Facts whose key is a BLOB, a REAL or
        text that is not UTF-8 are left out: what was rejected of them is not their key. Of those set aside as many
        count as were rejected, if there are as many now.
        """

    def count_new_rejects(self, run_id: str) -> int:
        """The facts that this run has rejected and that were not rejected for the same reason before."""

    def count_rejects(self, run_id: str) -> dict[int, int]:
        """{chunk: facts} of a run, of the chunks that have any."""

    def reject_reasons(self, run_id: str) -> dict[str, int]:
        """{reason: facts} of a run, in the order of the reasons."""

    def reject_sample(self, run_id: str) -> list[dict[str, Any]]:
        """The first 20 that a run rejected: fact_id, reason, detail and chunk of each, in the order they came."""
