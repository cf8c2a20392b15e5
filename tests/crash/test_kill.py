"""`kill -9` anywhere, then the same command again: every fact attested once, and everything says so."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# (point, which time, which file); three chunks of four batches each, so 12 batches in all.
IN_A_BATCH = [
    (point, nth)
    for point in ("before the write lock", "before commit", "after commit")
    for nth in (1, 6, 12)
]  # fmt: skip
BETWEEN_CHUNKS = [
    ("after commit", 4), ("before the write lock", 5), ("before statement claim_chunk", 3),
    ("after statement claim_chunk", 2),
]  # fmt: skip
AT_THE_MARKER = [("after the last commit, before the marker", nth) for nth in (1, 2, 3)]
IN_A_TRANSACTION = [
    ("before statement open_run", 1), ("after statement open_run", 1), ("after statement insert_metadata", 5),
    ("after statement update_metadata", 1), ("after statement append_log", 7), ("after statement reject_fact", 2),
    ("before statement advance_chunk", 3), ("before statement finish_run", 1), ("after statement finish_run", 1),
]  # fmt: skip
FILES = [
    ("while a file is written", "schema.json"), ("while a file is written", "plan.json"),
    ("while a file is written", "chunk-000001.json"), ("while a file is written", "report.md"),
    ("while a file is written", "report.json"), ("before the rename of a file", "schema.json"),
    ("before the rename of a file", "chunk-000002.json"), ("before the rename of a file", "report.json"),
    ("after the link of a file", "plan.json"), ("before the folder is synced", "plan.json"),
    ("before the folder is synced", "chunk-000003.json"), ("before the folder is synced", "report.json"),
]  # fmt: skip


def finish_and_check(sample: Any, command: Any, check: Any, dump: Any, *arguments: str) -> Any:
    """The same command again ends well, the check holds, and a third time nothing moves."""
    again = command(sample.settings, "Report", *arguments)
    assert again.wait() == 0, again.output
    written = check(sample)
    rows, files = dump(sample.path), sample.files()
    third = command(sample.settings, "Report", *arguments)
    assert third.wait() == 0, third.output
    assert dump(sample.path) == rows
    assert sample.files() == files
    return written


def test_a_run_without_a_kill_passes_the_same_check(sample: Any, command: Any, check: Any, dump: Any) -> None:
    made = sample()
    written = finish_and_check(made, command, check, dump)
    assert len(written.chunks) == 3
    assert [chunk["attempts"] for chunk in written.chunks] == [1, 1, 1]


@pytest.mark.parametrize(("at", "nth"), [*IN_A_BATCH, *BETWEEN_CHUNKS, *AT_THE_MARKER, *IN_A_TRANSACTION])
def test_killed_at_a_point_the_same_command_ends_it(
    at: str, nth: int, sample: Any, command: Any, check: Any, dump: Any
) -> None:
    made = sample()
    assert command(made.settings, at=at, nth=nth, do="kill").wait() == -signal.SIGKILL
    finish_and_check(made, command, check, dump)


@pytest.mark.parametrize(
    ("at", "nth"),
    [("after statement open_run", 1), ("after statement claim_chunk", 2), ("before commit", 5), ("after commit", 5)],
)
def test_killed_on_a_rollback_journal_the_same_command_ends_it(
    at: str, nth: int, sample: Any, command: Any, check: Any, dump: Any
) -> None:
    """The journal of the broken transaction lies beside the database when the gate opens it to read."""
    made = sample(journal_mode="delete")
    assert command(made.settings, at=at, nth=nth, do="kill").wait() == -signal.SIGKILL
    assert Path(f"{made.path}-journal").exists() == (at != "after commit")
    finish_and_check(made, command, check, dump)


@pytest.mark.parametrize(("at", "file"), FILES)
def test_killed_while_a_file_is_written_the_same_command_ends_it(
    at: str, file: str, sample: Any, command: Any, check: Any, dump: Any
) -> None:
    made = sample()
    assert command(made.settings, at=at, file=file, do="kill").wait() == -signal.SIGKILL
    finish_and_check(made, command, check, dump)


def test_killed_at_every_batch_in_turn_the_last_command_ends_it(
    sample: Any, command: Any, check: Any, dump: Any
) -> None:
    """Each start comes one batch further than the one before, and dies before it can commit the next."""
    made = sample()
    for _ in range(4):
        assert command(made.settings, at="before commit", nth=2, do="kill").wait() == -signal.SIGKILL
    written = finish_and_check(made, command, check, dump)
    assert [chunk["attempts"] for chunk in written.chunks] == [4, 2, 1]


def test_a_chunk_that_was_killed_goes_on_behind_its_cursor(sample: Any, command: Any) -> None:
    """What was committed is not read again: the next start has that many batches less to do."""
    made = sample()
    assert command(made.settings, at="after commit", nth=6, do="kill").wait() == -signal.SIGKILL
    again = command(made.settings, at="before commit", nth=99, do="kill")
    assert again.wait() == 0, again.output
    assert again.hits.stat().st_size == 12 - 6


@pytest.mark.parametrize(
    ("damage", "file"),
    [("torn", "schema.json"), ("torn", "plan.json"), ("missing", "plan.json"),
     ("torn", "live/chunks/chunk-000002.json"), ("empty", "live/chunks/chunk-000002.json"),
     ("missing", "live/chunks/chunk-000002.json"), ("torn", "live/report.json")],
)  # fmt: skip
def test_a_file_that_was_lost_or_torn_later_comes_back_from_the_ledger(
    damage: str, file: str, sample: Any, command: Any, check: Any
) -> None:
    made = sample()
    assert command(made.settings).wait() == 0
    rows = made.query("SELECT * FROM am_backfill_chunk")
    path = made.state / "run-1" / file
    whole = path.read_bytes()
    (made.state / "run-1" / "live" / "report.json").unlink()
    if damage == "missing":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(whole[: len(whole) // 2 if damage == "torn" else 0])
    again = command(made.settings)
    assert again.wait() == 0, again.output
    check(made)
    assert made.query("SELECT * FROM am_backfill_chunk") == rows
    if "report" not in file and "schema" not in file:
        assert path.read_bytes() == whole


# -- two workers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "nth"),
    [("before commit", 3), ("after commit", 4), ("after the last commit, before the marker", 2),
     ("while a file is written", 4)],
)  # fmt: skip
def test_of_two_workers_one_is_killed_and_the_same_command_ends_it(
    at: str, nth: int, sample: Any, command: Any, check: Any, dump: Any
) -> None:
    """The process that dies is a child; the other chunks are done, and the exit code says that one is not."""
    made = sample()
    first = command(made.settings, "Report", "--workers", "2", at=at, nth=nth, do="kill")
    assert first.wait() == 30, first.output
    assert re.search(r"of run run-1\b.*: its process \d+ was ended by SIGKILL", first.output), first.output
    finish_and_check(made, command, check, dump, "--workers", "2")


@pytest.mark.parametrize(("at", "nth"), [("before commit", 4), ("after commit", 3), ("before the rename of a file", 3)])
def test_parent_and_workers_killed_together_the_same_command_ends_it(
    at: str, nth: int, sample: Any, command: Any, check: Any, dump: Any
) -> None:
    made = sample()
    first = command(made.settings, "Report", "--workers", "2", at=at, nth=nth, do="kill group")
    assert first.wait() == -signal.SIGKILL
    finish_and_check(made, command, check, dump, "--workers", "2")


def test_the_parent_alone_killed_its_orphans_do_no_harm(sample: Any, command: Any, check: Any, dump: Any) -> None:
    """The children are at a batch while the same command is started again beside them."""
    made = sample(batch_pause_seconds=0.02)
    first = command(made.settings, "Report", "--workers", "2", at="before commit", nth=2, do="kill parent")
    assert first.wait() == -signal.SIGKILL
    finish_and_check(made, command, check, dump, "--workers", "2")


def written_by_chunks(sample: Any) -> int:
    """How many rows the ledger says are written."""
    return int(sample.query("SELECT coalesce(sum(inserted + updated), 0) FROM am_backfill_chunk")[0][0])


def wait_until(true: Callable[[], bool], run: Any) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, run.output
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, ": interrupted. It stopped at"),
        (signal.SIGKILL, -signal.SIGKILL, "the process that had started this worker has ended"),
    ],
)
def test_a_signal_to_the_parent_alone_stops_its_workers_after_their_batch(
    how: signal.Signals, code: int, said: str, sample: Any, command: Any, check: Any, dump: Any
) -> None:
    """They would work on to the end of their chunk otherwise, when everybody thinks that the run was stopped."""
    made = sample(batch_rows=5, batch_pause_seconds=0.1)
    first = command(made.settings, "Report", "--workers", "2")
    wait_until(lambda: written_by_chunks(made) >= 20, first)
    os.kill(first.pid, how)
    assert first.wait() == code
    wait_until(lambda: first.output.count(said) >= 2, first)
    states = [state for (state,) in made.query("SELECT state FROM am_backfill_chunk")]
    assert states == ["running", "running"]
    assert 20 <= written_by_chunks(made) < 200
    finish_and_check(made, command, check, dump, "--workers", "2")


# -- at any time -------------------------------------------------------------------------------------


def kill_at_random(seed: int, kills: int, sample: Any, command: Any, *arguments: str) -> int:
    """Start the command and kill it after a random while, `kills` times. Returns how often it was still running."""
    chance = random.Random(seed)
    killed = 0
    for _ in range(kills):
        started = command(sample.settings, "Report", *arguments)
        time.sleep(chance.uniform(0.05, 0.45))
        if started.running:
            started.kill(group=chance.random() < 0.5 or bool(arguments))
            killed += started.wait() == -signal.SIGKILL
    return killed


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")], ids=["one worker", "two workers"])
def test_killed_at_random_times_the_last_command_ends_it(
    arguments: tuple[str, ...], sample: Any, command: Any, check: Any, dump: Any
) -> None:
    made = sample(chunk_rows=60, batch_rows=15, batch_pause_seconds=0.03)
    assert kill_at_random(20261122, 6, made, command, *arguments) >= 3
    finish_and_check(made, command, check, dump, *arguments)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(40))
def test_killed_at_random_times_over_and_over(seed: int, sample: Any, command: Any, check: Any, dump: Any) -> None:
    made = sample(chunk_rows=40, batch_rows=7, batch_pause_seconds=0.01)
    arguments = ("--workers", "2") if seed % 2 else ()
    kill_at_random(seed, 12, made, command, *arguments)
    finish_and_check(made, command, check, dump, *arguments)


def test_the_trap_kills_a_real_process_of_its_own(sample: Any, command: Any) -> None:
    """The tests above would show nothing if the process never died, or died with this one."""
    made = sample()
    started = command(made.settings, at="after commit", nth=1, do="kill")
    assert started.pid != os.getpid()
    assert started.wait() == -signal.SIGKILL
    assert not (Path(made.settings.state_dir) / "run-1" / "live" / "report.json").exists()
    assert made.query("SELECT count(*) FROM am_backfill_chunk WHERE state = 'running' AND cursor IS NOT after_key") == [
        (1,)
    ]
