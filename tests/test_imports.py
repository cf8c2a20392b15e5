"""Luigi is for those who run tasks. Whoever explains, keeps keys, audits, hashes or signs imports none of it."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def run(code: str, cwd: Path, *arguments: str) -> str:
    """What a fresh interpreter prints that shows every warning, and nothing on its standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def without_luigi() -> list[str]:
    """Every module but the tasks, what else knows Luigi, and what builds the package. Those for APIs come first."""
    files = ((ROOT / "tasks").glob("*/**/*.py"), [ROOT / "tasks/explain.py"])
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in chain(*files)}
    left_out = ("tasks.luigi_support", "tasks.attestation.fast.building")
    first = ["tasks.explain", "tasks.rows.lookup_process"]
    return [*first, *sorted(name for name in names if not name.startswith((*left_out, *first)))]


def test_what_runs_no_task_imports_no_luigi_and_prints_no_warning(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in sys.argv[1:]:\n"
        "    __import__(name)\n"
        "    print(name, *[heavy for heavy in ('luigi', 'tornado') if heavy in sys.modules])"
    )
    names = without_luigi()
    assert len(names) > 100
    assert run(code, tmp_path, *names).split("\n") == [*names, ""]


def test_tasks_are_registered_where_luigi_came_first() -> None:
    code = "import luigi, tasks; from luigi.task_register import Register; print(Register.get_task_cls('Report'))"
    assert run(code, ROOT) == "<class 'tasks.report.Report'>\n"


@pytest.mark.parametrize("way", ["from tasks import Report", "from tasks.report import Report"])
def test_a_task_that_is_asked_for_comes_with_its_worker(way: str) -> None:
    code = f"{way}; from luigi import interface; print(interface._WorkerSchedulerFactory.__module__, Report.__module__)"
    assert run(code, ROOT) == "tasks.luigi_support.setup tasks.report\n"


def test_the_package_says_what_it_has_and_what_it_has_not() -> None:
    code = "import tasks; print(all(getattr(tasks, name).__name__ == name for name in tasks.__all__)); tasks.NoSuchTask"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert done.stderr.endswith("AttributeError: module 'tasks' has no attribute 'NoSuchTask'\n")


def test_a_process_that_hashes_imports_neither_the_program_that_asked_for_it_nor_luigi(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import luigi, tasks, this\n"
        "from tasks.sealed_log.leaf_groups import hashing\n"
        "from seen import modules\n"
        "if __name__ == '__main__':\n"
        "    with hashing(0, processes=2) as run:\n"
        "        print(*run(modules, [('luigi', 'tornado', 'this'), ('tasks.core.workers',)]))\n",
        encoding="utf-8",
    )
    (tmp_path / "seen.py").write_text("import sys\ndef modules(names): return [n for n in names if n in sys.modules]\n")
    done = subprocess.run(
        [sys.executable, str(program)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n[] ['tasks.core.workers']\n")


def test_a_lookup_by_a_process_of_its_own_imports_no_luigi(store: Any, settings: Any, run: Any, tmp_path: Path) -> None:
    made = store()
    made.add_fact(1, source_url="https://a.test/1")
    config = settings(made)
    run(config)
    (tmp_path / "luigi.py").write_text("raise SystemExit('luigi is imported')\n")
    code = f"from tasks.explain import lookup; print(len(lookup(['1'], job={config.job_file!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_the_process_of_a_task_finds_the_library_of_its_store_imported(store: Any, settings: Any) -> None:
    """It is forked from that of the command, once for each of hundreds of chunks."""
    config = settings(store())
    code = (
        "import luigi, sys, tasks; before = 'tasks.stores.sqlite.store' in sys.modules; "
        f"tasks.Report(job={config.job_file!r}); print(before, 'tasks.stores.sqlite.store' in sys.modules)"
    )
    assert run(code, ROOT) == "False True\n"


def test_a_program_that_imports_this_package_before_luigi_reaches_a_task_by_its_module(tmp_path: Path) -> None:
    asked = (
        "import tasks.explain, luigi\n"
        "from luigi.cmdline_parser import CmdlineParser\n"
        "with CmdlineParser.global_instance(['--module', 'tasks.report', 'Report', '--help'][:3]) as parser:\n"
        "    print(parser.get_task_obj.__self__.known_args.root_task)\n"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (0, "Report\n"), done.stderr
