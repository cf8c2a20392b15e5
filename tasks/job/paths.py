"""Every path under `state_dir`.

<state_dir>/<run_id>/schema.json
<state_dir>/<run_id>/plan.json
<state_dir>/<run_id>/{dry-run,live}/chunks/chunk-000017.json
<state_dir>/<run_id>/{live,sign}/seal.json
<state_dir>/<run_id>/{dry-run,live}/report.json, report.md; until there is one: report-so-far.json, report-so-far.md
<state_dir>/<run_id>/{verify,sign}/plan.json, chunks/…
<state_dir>/<run_id>/verify/verify.json, verify.md
<state_dir>/<run_id>/sign/sign.json, sign.md
<state_dir>/checkpoints/<origin>/00000000000000019960.checkpoint
<state_dir>/payload-digests/00000000000000000001-25000.digests
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from tasks.core.errors import NOTHING_WRITTEN, ParameterError
from tasks.core.terminal import holds_key

Mode = Literal["dry-run", "live", "verify", "sign"]
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CHECKPOINTS, _DIGESTS = "checkpoints", "payload-digests"


@dataclass(frozen=True)
class RunPaths:
    """Where one run keeps its files. Nothing is created by asking.

    Raises ParameterError for a run id that could not be one folder name.
    """

    state_dir: Path
    run_id: str
    dry_run: bool

    def __post_init__(self) -> None:
        if holds_key(self.run_id):
            raise ParameterError(
                "64 hex digits, which may be a private key, where a name belongs. They are not shown",
                where="--run-id",
                hint="Give another",
                written=NOTHING_WRITTEN,
            )
        if not RUN_ID.fullmatch(self.run_id):
            raise ParameterError(
                f"--run-id {self.run_id!r} is not usable: expected 1 to 100 letters, digits, dots, "
                "dashes or underscores, starting with a letter or digit",
                written=NOTHING_WRITTEN,
            )
        if self.run_id in (_CHECKPOINTS, _DIGESTS):
            raise ParameterError(
                f"--run-id {self.run_id!r} is taken: {self.run} holds what all runs share",
                hint="Choose another",
                written=NOTHING_WRITTEN,
            )

    @property
    def mode(self) -> Mode:
        """`dry-run` or `live`."""
        return "dry-run" if self.dry_run else "live"

    @property
    def run(self) -> Path:
        return self.state_dir / self.run_id

    @property
    def ledger_run_id(self) -> str:
        """What the run is called in the ledger."""
        return self.run_id

    @property
    def schema(self) -> Path:
        return self.run / "schema.json"

    @property
    def plan(self) -> Path:
        return self.run / "plan.json"

    def marker(self, chunk: int) -> Path:
        return self.run / self.mode / "chunks" / f"chunk-{chunk:06d}.json"

    @property
    def seal(self) -> Path:
        return self.run / self.mode / "seal.json"

    @property
    def report(self) -> Path:
        return self.run / self.mode / "report.json"

    @property
    def so_far(self) -> Path:
        return self.report.with_name(f"{self.report.stem}-so-far.json")

    @property
    def report_markdown(self) -> Path:
        return self.report.with_suffix(".md")

    def of_mode(self, *, dry_run: bool) -> RunPaths:
        """The same run's files in the other mode."""
        return RunPaths(self.state_dir, self.run_id, dry_run)


@dataclass(frozen=True)
class PartPaths(RunPaths):
    """Where a part of a run that plans for itself keeps its files: the verification, the signing of placeholders."""

    part: Literal["verify", "sign"]

    @property
    def mode(self) -> Mode:
        return self.part

    @property
    def ledger_run_id(self) -> str:
        """A signing is a run of its own beside the backfill of its run id; no id that a user can give holds a colon."""
        return f"sign-pending:{self.run_id}" if self.part == "sign" else self.run_id

    @property
    def plan(self) -> Path:
        return self.run / self.part / "plan.json"

    @property
    def report(self) -> Path:
        return self.run / self.part / f"{self.part}.json"

    def findings(self, chunk: int) -> Path:
        """The rows of one chunk that are not valid, one JSON object a line."""
        return self.marker(chunk).with_suffix(".findings.jsonl")


def verify_paths(state_dir: str, run_id: str) -> PartPaths:
    return PartPaths(Path(state_dir), run_id, False, "verify")


def sign_paths(state_dir: str, run_id: str) -> PartPaths:
    return PartPaths(Path(state_dir), run_id, False, "sign")


def checkpoint_folder(state_dir: str, origin: str) -> Path:
    """Where the checkpoints of one log go: no two origins share a folder, and none leaves `state_dir`."""
    return Path(state_dir) / _CHECKPOINTS / quote(origin, safe="").replace(".", "%2E")


def digests_folder(state_dir: str) -> Path:
    """Where digests of signed payloads wait for the sealer."""
    return Path(state_dir) / _DIGESTS
