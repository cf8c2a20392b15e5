"""Ctrl-C, SIGTERM and SIGHUP: a line about where each chunk stopped, no orphan, no traceback, the right exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core import signals
from tasks.core.errors import SignalledError
from tasks.stores.sqlite.opening import Patience

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def resting(store: Any, settings: Any) -> Any:
    """(store, settings) of 60 facts in six chunks that rest for long after their first batch of four."""
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 61))
    return made, settings(made, small=True, pacing={"batch_pause_seconds": 600})


def start(luigi: Any, resting: Any, wait_until: Any, workers: int, *arguments: str) -> Any:
    """A run, once each of its workers has committed a batch and rests."""
    store, settings = resting
    process = luigi.start("Report", "--workers", str(workers), *arguments, settings=settings)
    wait_until(lambda: store.count("am_fact_attestation_log") == 4 * workers, lambda: process.communicate(timeout=5)[1])
    return process


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def assert_ended_well(process: Any, number: signal.Signals, workers: int) -> None:
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    said = re.findall(r"chunk (\d) \(.*\]: interrupted\. It stopped at (\d+) with 4 rows written; run the same", stderr)
    assert sorted(said) == [(str(n), str(10 * n - 6)) for n in range(1, workers + 1)], stderr
    assert stderr.count(f"ended by {number.name}. Run the same command again") == 1
    assert "Traceback" not in stdout + stderr
    assert 'File "' not in stdout + stderr


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_the_parent_alone_ends_all_with_their_cursor_kept(
    luigi: Any, resting: Any, wait_until: Any, number: signal.Signals, workers: int
) -> None:
    process = start(luigi, resting, wait_until, workers)
    below = children(process.pid)
    process.send_signal(number)
    assert_ended_well(process, number, workers)
    assert len(below) == (workers if workers > 1 else 0)
    assert not any(Path(f"/proc/{child}").exists() for child in below)
    assert resting[0].count("am_fact_attestation_log") == 4 * workers


def test_ctrl_c_at_a_terminal_reaches_every_process_and_is_told_once_by_each(
    luigi: Any, resting: Any, wait_until: Any
) -> None:
    process = start(luigi, resting, wait_until, 2)
    for pid in (process.pid, *children(process.pid)):
        os.kill(pid, signal.SIGINT)
    assert_ended_well(process, signal.SIGINT, 2)


def test_the_same_command_goes_on_where_the_interrupted_one_stopped(
    luigi: Any, resting: Any, settings: Any, wait_until: Any
) -> None:
    store, _ = resting
    process = start(luigi, resting, wait_until, 2)
    process.send_signal(signal.SIGTERM)
    assert_ended_well(process, signal.SIGTERM, 2)
    finished = luigi("Report", "--workers", "2", settings=settings(store, small=True))
    assert finished.code == 0, finished.stderr
    assert store.count("am_fact_attestation_log") == store.count("am_fact_metadata") == 60


def test_a_signal_while_a_lock_is_waited_for_ends_the_wait(
    luigi: Any, store: Any, settings: Any, wait_until: Any
) -> None:
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 61))
    config = settings(made, small=True, pacing={"batch_pause_seconds": 2, "lock_timeout_seconds": 3600})
    process = luigi.start("Report", settings=config)
    wait_until(lambda: made.count("am_fact_attestation_log") == 4, lambda: process.communicate(timeout=5)[1])
    with closing(apsw.Connection(str(made.path), flags=apsw.SQLITE_OPEN_READWRITE)) as other:
        other.set_busy_timeout(30_000)
        other.execute("BEGIN IMMEDIATE")
        wait_until(lambda: _is_waiting(process.pid), lambda: "the run does not wait for the lock")
        process.send_signal(signal.SIGTERM)
        assert_ended_well(process, signal.SIGTERM, 1)
        other.execute("ROLLBACK")


def _is_waiting(pid: int) -> bool:
    """Whether it sleeps for a millisecond at a time: its clock of voluntary switches runs fast."""

    def switches() -> int:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE)[0])

    before = switches()
    signal.sigtimedwait([], 0.2)  # a nap
    return switches() - before > 50


@pytest.mark.parametrize("task", ["Report", "SchemaVerify"])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    luigi: Any, store: Any, settings: Any, wait_until: Any, task: str
) -> None:
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 21))
    config = settings(made, small=True, pacing={"batch_pause_seconds": 0.5})
    script = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        "from luigi.cmdline import luigi_run; luigi_run(sys.argv[1:])"
    )
    process = luigi.start(task, settings=config, python=("-c", script))
    wait_until(lambda: made.count("am_fact_attestation_log") or process.poll() is not None, lambda: "nothing happens")
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda number: number.name)
def test_a_process_that_dies_is_named_with_its_chunk(
    luigi: Any, resting: Any, wait_until: Any, number: signal.Signals
) -> None:
    process = start(luigi, resting, wait_until, 2)
    victim, other = children(process.pid)
    os.kill(victim, number)
    os.kill(other, signal.SIGKILL)
    store = resting[0]
    wait_until(lambda: store.count("am_fact_attestation_log") == 16, lambda: str(process.poll()))
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    pattern = rf"chunk \d \(BackfillChunk of run run-1\): its process {victim} was ended by {number.name}"
    assert len(re.findall(pattern, stderr)) == 1, stderr
    assert "died unexpectedly" not in stderr
    assert "Traceback" not in stderr


# -- in this process -----------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_process", signals._Process(arrived=signal.SIGTERM))


@pytest.mark.usefixtures("told")
def test_whoever_looks_is_refused_and_a_lock_is_not_waited_for() -> None:
    with pytest.raises(SignalledError):
        signals.refuse_to_go_on()
    with pytest.raises(SignalledError):
        Patience(60)(0)
    with pytest.raises(KeyboardInterrupt), signals.interruptible():
        pytest.fail("it began in spite of the signal")


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    give_back = signals.listen()
    assert [signal.getsignal(number) for number in SIGNALS] != before
    give_back()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_after_a_signal_in_a_loop_over_batches_no_second_one_cuts_what_follows() -> None:
    script = """
import os, signal
from tasks.core import signals
signals.listen()
try:
    with signals.interruptible():
        with signals.interruptible(False):
            os.kill(os.getpid(), signal.SIGTERM)
            print("goes on")
        try:
            os.kill(os.getpid(), signal.SIGINT)
            print("a second one changes nothing")
        finally:
            print(signals.arrived().name)
except KeyboardInterrupt:
    print("cut")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n") == ["goes on", "a second one changes nothing", "SIGTERM", ""]
