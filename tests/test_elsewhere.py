"""The command in another folder than the project's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def test_luigi_config_path_works_from_any_folder(store: Any, settings: Any, luigi: Any, tmp_path: Path) -> None:
    made = store()
    made.add_fact(1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    job = str(Path(settings(made).job_file).absolute())
    finished = subprocess.run(
        [sys.executable, "-m", "luigi", "--module", "tasks", "Report", "--local-scheduler", "--job", job],
        cwd=elsewhere, env=luigi.environment() | {"LUIGI_CONFIG_PATH": str(ROOT / "luigi.cfg")}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "Unable to locate" not in finished.stderr
    assert made.count("am_fact_metadata") == 1
