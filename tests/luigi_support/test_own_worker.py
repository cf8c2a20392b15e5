"""Whoever reaches luigid's port gets nothing run, imported or signed by a worker that holds keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from luigi import interface
from luigi.scheduler import Scheduler

import tasks
from tasks.luigi_support.worker import OwnWorker

KEYS = {"AUTONOMATH_FACT_SIGN_PRIVATE_KEY": "5e" * 32, "PROVENANCE_CHECKPOINT_PRIVATE_KEY": "7c" * 32}


@pytest.fixture
def theirs(store: Any, tmp_path: Path) -> Any:
    """(store, job file) of the attacker: what he would like to have signed."""
    made = store(name="theirs.db")
    made.add_facts({"id": n, "source_url": f"https://forged.test/{n}"} for n in range(1, 31))
    job = tmp_path / "theirs.yaml"
    job.write_text(yaml.safe_dump({"database": str(made.path), "state_dir": str(tmp_path / "their-state")}))
    return made, str(job)


@pytest.fixture
def ours(store: Any, settings: Any) -> Any:
    """(store, settings) of the victim: five chunks with a rest after each batch, so that there is time to attack."""
    made = store(name="ours.db")
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 51))
    return made, settings(made, small=True, pacing={"batch_pause_seconds": 0.3})


def start_victim(luigi: Any, luigid: Any, ours: Any, *arguments: str) -> tuple[Any, str]:
    """The victim's process, once it writes, and the name of its worker."""
    store, settings = ours
    victim = luigi.start("Report", *luigid.arguments, *arguments, settings=settings, local_scheduler=False, env=KEYS)
    luigid.wait_until(lambda: store.count("am_fact_attestation_log"), lambda: str(victim.poll()))
    (worker,) = luigid.workers()
    return victim, worker


def add(luigid: Any, worker: str, task: Any, *, module: str = "tasks", **changed: Any) -> None:
    named = {"task_id": task.task_id, "family": task.task_family, "params": task.to_str_params(), **changed}
    luigid.call("add_task", worker=worker, module=module, priority=1000, **named)


def assert_untouched(theirs: Any) -> None:
    store, job = theirs
    assert store.count("am_fact_metadata") == 0
    assert store.count("am_fact_attestation_log") == 0
    assert store.count("am_attestation_checkpoint") == 0
    assert not Path(job).with_name("their-state").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tasks_that_a_stranger_names_are_refused_once_and_the_run_comes_to_its_end(
    luigi: Any, luigid: Any, ours: Any, theirs: Any, workers: str
) -> None:
    victim, worker = start_victim(luigi, luigid, ours, "--workers", workers)
    for task in (tasks.SchemaVerify, tasks.PlanChunks, tasks.Report, tasks.SealLog, tasks.SignPending):
        add(luigid, worker, task(job=theirs[1], run_id="run-1"))
    for chunk in (1, 2, 3):
        add(luigid, worker, tasks.BackfillChunk(job=theirs[1], run_id="run-1", chunk=chunk))
    _, stderr = victim.communicate(timeout=100)
    assert victim.returncode == 0, stderr
    assert ours[0].count("am_fact_metadata") == 50
    assert_untouched(theirs)
    assert stderr.count("this worker runs only tasks that its own command scheduled") == 1
    assert "Traceback" not in stderr


def test_no_module_is_imported_and_no_wrong_task_id_ends_the_run(
    luigi: Any, luigid: Any, ours: Any, theirs: Any
) -> None:
    victim, worker = start_victim(luigi, luigid, ours)
    task = tasks.BackfillChunk(job=theirs[1], run_id="run-1", chunk=1)
    add(luigid, worker, task, module="this", task_id="a")
    add(luigid, worker, task, module="no.such.module", task_id="b")
    add(luigid, worker, task, task_id="BackfillChunk_wrong")
    add(luigid, worker, task, task_id="c", family="NoSuchTask")
    add(luigid, worker, task, task_id="d", params={"chunk": "no number"})
    stdout, stderr = victim.communicate(timeout=100)
    assert victim.returncode == 0, stderr
    assert "Zen of Python" not in stdout + stderr
    assert "Traceback" not in stderr
    assert_untouched(theirs)


def test_a_batch_that_a_stranger_makes_is_refused_too(luigi: Any, luigid: Any, ours: Any, theirs: Any) -> None:
    victim, worker = start_victim(luigi, luigid, ours)
    luigid.call("add_task_batcher", worker=worker, task_family="BackfillChunk", batched_args=["chunk"])
    for chunk in (1, 2):
        add(luigid, worker, tasks.BackfillChunk(job=theirs[1], run_id="run-1", chunk=chunk), batchable=True)
    _, stderr = victim.communicate(timeout=100)
    assert victim.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert_untouched(theirs)


def test_messages_of_the_scheduler_start_no_processes_and_end_no_thread(luigi: Any, luigid: Any, ours: Any) -> None:
    victim, worker = start_victim(luigi, luigid, ours)
    for processes in (500, -1, "many", None, [1]):
        luigid.call("set_worker_processes", worker=worker, n=processes)
    luigid.call("send_scheduler_message", worker=worker, task="x", content="y")
    _, stderr = victim.communicate(timeout=100)
    assert victim.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert stderr.count("the scheduler sent the message") == 1


# -- whatever the answer -------------------------------------------------------------------------------


class Lying(Scheduler):
    """A scheduler that names other tasks than those that it was given, before each that it was given."""

    answers: list[dict[str, Any]]
    told: list[tuple[str, str]]

    def get_work(self, **arguments: Any) -> Any:
        if self.answers:
            return {"running_tasks": [], "n_pending_tasks": 1, **self.answers.pop(0)}
        return super().get_work(**arguments)

    def add_task(self, **arguments: Any) -> Any:
        self.told.append((arguments["task_id"], arguments["status"]))
        return super().add_task(**arguments)


def test_importing_the_tasks_puts_the_worker_in_the_place_of_luigis() -> None:
    factory = interface._WorkerSchedulerFactory()
    worker = factory.create_worker(factory.create_local_scheduler(), 1, assistant=True)
    assert type(worker) is OwnWorker
    assert worker._assistant is False


@pytest.mark.parametrize(
    "named",
    [
        {"task_id": "x", "task_module": "this", "task_family": "Foreign", "task_params": {}},
        {"task_id": ["x"], "task_module": "tasks", "task_family": "Report", "task_params": {}},
        {"task_id": None, "batch_id": "b", "batch_task_ids": ["x", "y"], "task_module": "this", "task_family": "F",
         "task_params": {}},
    ],
)  # fmt: skip
def test_an_answer_that_names_another_task_is_reported_as_failed_and_loads_nothing(
    named: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luigi.worker.load_task", lambda **_: pytest.fail("a task was loaded by its name"))
    scheduler = Lying()
    scheduler.answers, scheduler.told = [named, named], []
    worker = OwnWorker(scheduler=scheduler, worker_processes=1, assistant=False)
    assert worker._get_work().task_id is None
    assert {status for _, status in scheduler.told} == {"FAILED"}
    assert len(scheduler.told) == 2 * len(named.get("batch_task_ids", ["x"]))
    assert json.dumps(worker._get_work_response_history).count("x") == 0
