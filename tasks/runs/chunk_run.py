"""What one attempt at one chunk of a run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tasks.attestation.signer import Signer
from tasks.core.clock import now_iso
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.runs.loop import Progress
from tasks.runs.plans import Plan, PlannedChunk


@dataclass(frozen=True, kw_only=True)
class ChunkRun:
    """Everything that one attempt at one chunk needs. `clock` gives an aware time. With a `log_signer`, who will sign
    the log's checkpoints, the digests of what is signed are left for the sealer.
    """

    settings: Settings
    paths: RunPaths
    plan: Plan
    chunk: PlannedChunk
    signer: Signer | None
    clock: Callable[[], datetime]
    progress: Callable[[Progress], None]
    log_signer: Signer | None = None

    def now(self) -> str:
        return now_iso(self.clock())

    @property
    def key_id(self) -> str | None:
        return self.signer.key_id.hex() if self.signer else None
