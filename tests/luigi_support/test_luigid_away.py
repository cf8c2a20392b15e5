"""luigid may be away, go away, come back empty, or be asked by two shells at once."""

from __future__ import annotations

import signal
import socket
import time
from typing import Any

import pytest

from tasks.luigi_support.scheduler_link import FIRST_SECONDS, UNREACHABLE, SchedulerLink


@pytest.fixture
def slow(store: Any, settings: Any) -> Any:
    """(store, settings) of 60 facts in six chunks that rest after each batch."""
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 61))
    return made, settings(made, small=True, pacing={"batch_pause_seconds": 0.3})


def start(luigi: Any, luigid: Any, slow: Any, *arguments: str) -> Any:
    """A run, once it writes."""
    store, settings = slow
    process = luigi.start("Report", *luigid.arguments, *arguments, settings=settings, local_scheduler=False)
    luigid.wait_until(lambda: store.count("am_fact_attestation_log"), lambda: process.communicate(timeout=5)[1])
    return process


def assert_whole(process: Any, store: Any) -> str:
    _, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert store.count("am_fact_attestation_log") == 60
    return str(stderr)


# -- away ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "http+unix://{folder}%2Fnone.sock"])
def test_luigid_that_is_not_there_at_the_start_is_one_line_with_its_own_code(
    slow: Any, luigi: Any, tmp_path: Any, address: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = address.format(port=free.getsockname()[1], folder=str(tmp_path).replace("/", "%2F"))
        finished = luigi("Report", "--scheduler-url", url, settings=slow[1], local_scheduler=False)
    assert finished.code == UNREACHABLE
    assert f"luigid does not answer at {url} (" in finished.stderr
    assert "--local-scheduler" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1, finished.stderr
    assert FIRST_SECONDS < 10
    assert slow[0].count("am_fact_attestation_log") == 0


def test_an_address_is_told_without_its_password(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("tasks.luigi_support.scheduler_link.FIRST_SECONDS", 0)
    with pytest.raises(SystemExit) as ended:
        SchedulerLink("http://me:secret@127.0.0.1:9/").greet()
    said = capsys.readouterr().err
    assert ended.value.code == UNREACHABLE
    assert "http://127.0.0.1:9 (" in said and "secret" not in said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_whose_luigid_is_gone_for_good_comes_to_its_end(slow: Any, luigi: Any, luigid: Any, workers: str) -> None:
    process = start(luigi, luigid, slow, "--workers", workers)
    luigid.stop()
    stderr = assert_whole(process, slow[0])
    assert stderr.count("This command goes on without it") == 1
    assert stderr.count("The work goes on.") <= 1 + 6 * int(workers == "2")  # said once by each process


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_whose_luigid_starts_again_and_knows_nothing_comes_to_its_end(
    slow: Any, luigi: Any, luigid: Any, workers: str
) -> None:
    process = start(luigi, luigid, slow, "--workers", workers)
    luigid.stop(signal.SIGKILL)
    (luigid.folder / "state.pickle").unlink(missing_ok=True)
    luigid.start()
    stderr = assert_whole(process, slow[0])
    assert "goes on without it" not in stderr


def test_pings_and_progress_are_tried_once_and_then_rest(monkeypatch: Any) -> None:
    tried: list[str] = []
    link = SchedulerLink("http://127.0.0.1:9/")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))

    def refused(url: str, *_: Any) -> Any:
        tried.append(url)
        raise OSError("away")

    monkeypatch.setattr(link, "_once", refused)
    assert link.ping(worker="w") is None
    assert link.set_task_status_message("t", "m") is None
    assert link.set_task_progress_percentage("t", 5) is None
    assert tried == ["/api/ping"]


# -- two shells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_shells_that_run_the_same_report_both_end_well(slow: Any, luigi: Any, luigid: Any, workers: str) -> None:
    store, settings = slow
    first = start(luigi, luigid, slow, "--workers", workers)
    second = luigi.start("Report", *luigid.arguments, "--workers", workers, settings=settings, local_scheduler=False)
    for process in (first, second):
        assert_whole(process, store)
