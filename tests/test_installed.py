"""The project as others install it: a wheel, in an empty folder of another environment, without this checkout.

It is built from the source distribution, so that one has all that it takes, and where no compiler is found. What the
wheel depends on comes from the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tasks.job.default_job import PACKAGED_JOB
from tasks.job.settings import load_settings
from tasks.luigi_support.configuration import DEFAULTS, LOGGING

ROOT = Path(__file__).parents[1]
_OF_THE_JOB = ("AUTONOMATH", "PROVENANCE", "LUIGI", "PYTHONPATH")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_JOB)}


@dataclass(frozen=True)
class Folder:
    """An empty folder, and the commands of an environment in which the wheel is installed."""

    path: Path
    python: Path

    def luigi(self, *arguments: str, code: int = 0, **env: str) -> str:
        return self._run(
            [str(self.python), "-m", "luigi", "--module", "tasks", *arguments, "--local-scheduler"], code, env
        )

    def provenance(self, *arguments: str, code: int = 0, **env: str) -> str:
        return self._run([str(self.python.with_name("provenance")), *arguments], code, env)

    def _run(self, command: list[str], code: int, env: dict[str, str]) -> str:
        """All that it prints. The exit code must be `code`."""
        done = subprocess.run(
            command, cwd=self.path, env=CLEAN | env, text=True, encoding="utf-8", check=False, timeout=100,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout


def build(kind: str, source: Path, into: Path) -> Path:
    """A distribution, made by the build backend of pyproject.toml."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(into)], cwd=source, env=CLEAN | {"CC": "no-compiler-here"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return next(into.iterdir())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    made = tmp_path_factory.mktemp("sdist")
    for name in ("tree", "built", "unpacked"):
        (made / name).mkdir()
    shutil.copytree(ROOT / "tasks", made / "tree/tasks", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("README.md", "LICENSE", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, made / "tree")
    with tarfile.open(build("sdist", made / "tree", made / "built")) as archive:
        archive.extractall(made / "unpacked", filter="data")
    return next((made / "unpacked").iterdir())


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a fresh environment with the wheel, and with what it depends on."""
    made = tmp_path_factory.mktemp("environment")
    venv.create(made, symlinks=True)
    python = made / "bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)],
        env=CLEAN, check=True,
    )  # fmt: skip
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([str(python), "-c", where], env=CLEAN, text=True, capture_output=True, check=True).stdout
    (Path(packages.strip()) / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return python


@pytest.fixture
def folder(python: Path, tmp_path: Path) -> Folder:
    empty = tmp_path / "empty"
    empty.mkdir()
    return Folder(empty, python)


def _files(of: Callable[[Path], bool]) -> Iterator[str]:
    return (str(path.relative_to(ROOT)) for path in (ROOT / "tasks").rglob("*") if path.is_file() and of(path))


def test_the_wheel_and_the_sources_hold_all_that_the_package_reads(wheel: Path, source: Path) -> None:
    modules = set(_files(lambda path: path.suffix == ".py"))
    data = {"tasks/stores/sqlite/schema.sql", "tasks/job/default.yaml", "tasks/luigi_support/logging.ini"}
    native = set(_files(lambda path: path.suffix in (".c", ".h")))
    assert len(modules) > 100 and len(native) > 5
    assert modules | data <= set(zipfile.ZipFile(wheel).namelist())
    assert modules | data | native <= {str(path.relative_to(source)) for path in source.rglob("*")}


def test_an_empty_folder_is_enough_for_a_sample_a_run_a_seal_and_an_audit(folder: Folder) -> None:
    assert "Usage: provenance" in folder.provenance("--help")
    job = {"AUTONOMATH_DB_PATH": "store.db"}
    said = folder.luigi("MakeSample", "--facts", "300", **job)
    assert "store.db: 300 facts" in said
    assert "config/backfill.yaml: there is none in " in said
    rows, rows_vkey = _key(folder, "rows")
    checkpoints, checkpoints_vkey = _key(folder, "checkpoints")
    job |= {"PROVENANCE_KEY_NAME": "example.org/rows", "PROVENANCE_LOG_NAME": "example.org/checkpoints"}
    job["AUTONOMATH_FACT_SIGN_PRIVATE_KEY"] = rows
    said = folder.luigi("Report", "--run-id", "one", "--workers", "2", **job)
    assert "chunk 1: inserted " in said and "DEBUG" not in said
    report = json.loads((folder.path / "var/runs/one/live/report.json").read_text(encoding="utf-8"))
    assert report["signatures"]["signed"] > 200
    job["PROVENANCE_CHECKPOINT_PRIVATE_KEY"] = checkpoints
    assert re.search(r"sealed, (\d+) leaves \(\1 new\)", folder.provenance("seal", **job))
    (checkpoint,) = (folder.path / "var/runs/checkpoints").rglob("*.checkpoint")
    trusted = ("--key", rows_vkey, "--log-key", checkpoints_vkey)
    assert "verdict: clean" in folder.provenance(
        "audit", "--checkpoint", str(checkpoint), "--allow-unsigned", *trusted, **job
    )


def _key(folder: Folder, use: str) -> tuple[str, str]:
    """A new key: its hex digits, and what others trust."""
    printed = folder.provenance("keygen", f"{use}.key", "--name", f"example.org/{use}", "--use", use, "--json")
    return (folder.path / f"{use}.key").read_text(encoding="utf-8").split()[0], json.loads(printed)["vkey"]


def test_a_task_that_fails_ends_with_its_code_and_a_message(folder: Folder) -> None:
    said = folder.luigi("Report", code=30)
    assert "config/backfill.yaml: there is no such job file" in said
    assert "set AUTONOMATH_DB_PATH to have the package's own used" in said
    assert "Traceback" not in said
    said = folder.luigi("Report", "--run-id", "", code=40)
    assert "Nothing was written." in said and "Traceback" not in said


def test_what_an_operator_sets_counts_more_than_what_the_package_brings(folder: Folder) -> None:
    (folder.path / "luigi.cfg").write_text("[retcode]\ntask_failed = 77\n", encoding="utf-8")
    (folder.path / "mine.yaml").write_text("database: mine.db\nstate_dir: state\n", encoding="utf-8")
    assert "mine.db" in folder.luigi("Report", "--job", "mine.yaml", code=77)


def test_luigi_cfg_says_what_the_package_sets_where_there_is_none() -> None:
    written = ConfigParser()
    written.read(ROOT / "luigi.cfg", encoding="utf-8")
    said = {section: dict(written[section]) for section in written.sections()}
    assert (ROOT / said["core"].pop("logging_conf_file")).read_bytes() == LOGGING.read_bytes()
    del said["core"]["autoload_range"], said["scheduler"]["state_path"]  # read too early, and of luigid alone
    defaults = {section: dict(values) for section, values in DEFAULTS.items()}
    del defaults["core"]["logging_conf_file"]
    assert said == defaults


OTHERS = {
    "AUTONOMATH_DB_PATH": "other.db", "PROVENANCE_STATE_DIR": "state", "PROVENANCE_KEY_NAME": "rows",
    "PROVENANCE_LOG_NAME": "log",
}  # fmt: skip


@pytest.mark.parametrize("environ", [{}, OTHERS])
def test_the_package_s_job_file_comes_to_the_same_as_the_project_s(environ: dict[str, str]) -> None:
    short, long = load_settings(PACKAGED_JOB, environ), load_settings(ROOT / "config/backfill.yaml", environ)
    assert short.model_dump() == long.model_dump()
    assert set(yaml.safe_load(PACKAGED_JOB.read_text(encoding="utf-8"))) == {
        "database",
        "state_dir",
        "signing",
        "sealing",
    }
