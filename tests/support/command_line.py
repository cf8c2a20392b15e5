"""The real command line of the project, with nothing of the caller's shell in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.store import Store
from tasks.job.settings import Settings

ROOT = Path(__file__).parents[2]
KEY_VARIABLE = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
OF_THE_JOB = (
    KEY_VARIABLE, f"{KEY_VARIABLE}_SIGNS", "PROVENANCE_REQUIRE_BOUND_KEYS", "AUTONOMATH_DB_PATH",
    "PROVENANCE_STATE_DIR", "PROVENANCE_KEY_NAME", "LUIGI_CONFIG_PATH",
)  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """One command line that came to its end."""

    code: int
    stdout: str
    stderr: str
    state_dir: Path

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def report(self, run_id: str = "run-1", *, mode: str = "live") -> dict[str, Any]:
        """The report.json of a run; `mode` is live or dry-run."""
        path = self.state_dir / run_id / mode / "report.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content


@dataclass
class CommandLine:
    """The real command line: `python -m luigi --module tasks …` in the top level of the project."""

    state_dir: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, task: str, *arguments: str, timeout: float = 120, **options: Any) -> Finished:
        """`luigi("Report", "--dry-run", store=store)` runs to the end; see `start` for the options."""
        process = self.start(task, *arguments, **options)
        stdout, stderr = process.communicate(timeout=timeout)
        return Finished(process.returncode, stdout, stderr, self.state_dir)

    def start(
        self,
        task: str,
        *arguments: str,
        store: Store | None = None,
        settings: Settings | None = None,
        run_id: str | None = "run-1",
        key: str | None = None,
        env: dict[str, str] | None = None,
        local_scheduler: bool = True,
        python: tuple[str, ...] = ("-m", "luigi"),
    ) -> subprocess.Popen[str]:
        """Start it and return at once; what is still alive when the test ends is killed.

        `store` goes to AUTONOMATH_DB_PATH, `settings` (its job file) to --job, `run_id` to --run-id unless the task
        takes none, `key` to the signing key variable; `env` is added last. `python` may name another way in, such
        as ("some_script.py",), which gets the same arguments.
        """
        command = [sys.executable, *python, "--module", "tasks", task, *arguments]
        command += ["--local-scheduler"] if local_scheduler else []
        command += ["--job", settings.job_file] if settings else []
        takes_run_id = task in ("Report", "BackfillChunk", "PlanChunks", "SchemaVerify")
        command += ["--run-id", run_id] if run_id and takes_run_id else []
        process = subprocess.Popen(
            command, cwd=ROOT, env={**self.environment(store, key), **(env or {})}, text=True, encoding="utf-8",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def environment(self, store: Store | None = None, key: str | None = None) -> dict[str, str]:
        """This process's environment with nothing of the job's but what is given."""
        found = {name: value for name, value in os.environ.items() if name not in OF_THE_JOB}
        found["PROVENANCE_STATE_DIR"] = str(self.state_dir)
        found |= {"AUTONOMATH_DB_PATH": str(store.path)} if store else {}
        return found | ({KEY_VARIABLE: key} if key is not None else {})
