"""A task's identity knows its database and its state folder, and nobody has to type them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

import tasks
from tasks.core.errors import ParameterError, StateError
from tasks.job.settings import load_settings
from tasks.job.store_name import store_name


def test_two_databases_under_one_luigid_are_two_runs(store: Any, luigi: Any, luigid: Any, tmp_path: Path) -> None:
    stores = [store(name=f"{name}.db") for name in ("one", "two")]
    for made in stores:
        made.add_facts({"id": n, "source_url": f"https://{made.path.stem}.test/{n}"} for n in range(1, 41))
    folders = [tmp_path / f"state-{made.path.stem}" for made in stores]
    started = [
        luigi.start(
            "Report", *luigid.arguments, store=made, local_scheduler=False, env={"PROVENANCE_STATE_DIR": str(folder)}
        )
        for made, folder in zip(stores, folders, strict=True)
    ]
    for process, made, folder in zip(started, stores, folders, strict=True):
        _, stderr = process.communicate(timeout=100)
        assert process.returncode == 0, stderr
        assert made.count("am_fact_metadata") == 40
        assert {path.name for path in (folder / "run-1" / "live").iterdir()} >= {"report.json", "seal.json"}
    shown = luigid.call("task_list", status="DONE", upstream_status="")
    reports = sorted(task["params"]["store"] for task in shown.values() if task["name"] == "Report")
    assert [re.sub(r"[0-9a-f]{12}$", "…", name) for name in reports] == ["one.db-…", "two.db-…"]


def test_every_task_and_all_that_it_requires_carry_the_store(store: Any, settings: Any) -> None:
    config = settings(store())
    for name in tasks.__all__:
        task_class = getattr(tasks, name)
        needed = {"chunk": 1, "plan_id": "p", "asked_at": "t"}
        given = {key: value for key, value in needed.items() if key in dict(task_class.get_params())}
        task = task_class(job=config.job_file, **given)
        assert task.store == store_name(config)
        assert all(required.store == task.store for required in task.deps())
        assert type(task).from_str_params(task.to_str_params()) is task
        assert "store" in task.to_str_params(only_significant=True)


def test_the_name_is_the_same_by_every_way_there_and_another_for_another_place(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    (tmp_path / "link").symlink_to(tmp_path)

    def name(database: str, state_dir: str) -> str:
        job.write_text(f"database: {database}\nstate_dir: {state_dir}\n", encoding="utf-8")
        return store_name(load_settings(job, {}))

    first = name(f"{tmp_path}/a.db", f"{tmp_path}/s")
    assert first == name(f"{tmp_path}/link/a.db", f"{tmp_path}/x/../s")
    assert first == name(f"sqlite:///{tmp_path}/a.db", f"{tmp_path}/link/s")
    assert len({first, name(f"{tmp_path}/b.db", f"{tmp_path}/s"), name(f"{tmp_path}/a.db", f"{tmp_path}/t")}) == 3
    assert name(f"{tmp_path}/日本 <b>.db", "s").startswith("____b_.db-")


def test_a_store_that_is_typed_wrong_is_refused(store: Any, settings: Any, luigi: Any) -> None:
    made = store()
    made.add_fact(1)
    finished = luigi("Report", "--store", "another.db-000000000000", settings=settings(made))
    assert finished.code == 40
    assert "--store: expected store.db-" in finished.stderr and "leave it out" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert made.count("am_backfill_run") == 0
    with pytest.raises(ParameterError):
        tasks.Report(job=settings(made).job_file, store="another.db-000000000000")


def test_a_job_file_that_names_another_database_meanwhile_stops_the_task(store: Any, settings: Any) -> None:
    config = settings(store())
    task = tasks.Report(job=config.job_file)
    text = Path(config.job_file).read_text(encoding="utf-8")
    Path(config.job_file).write_text(text.replace("store.db", "other.db"), encoding="utf-8")
    os.utime(config.job_file, (1, 1))
    with pytest.raises(StateError, match=r"names the store other\.db-[0-9a-f]{12}, and named store\.db-"):
        task.settings()


def test_a_job_file_that_is_missing_is_told_by_the_task_that_runs(luigi: Any, tmp_path: Path) -> None:
    finished = luigi("Report", "--job", str(tmp_path / "none.yaml"))
    assert finished.code == 30
    assert "there is no such job file" in finished.stderr
    assert "Traceback" not in finished.stderr
