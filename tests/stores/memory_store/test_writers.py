"""Writers beside each other, and writers that die, on a store that was written from the protocols alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.memory_facts import OLD, audited, sound
from support.memory_store.session import MemorySession
from support.memory_store.state import State
from support.memory_store.store import SCHEME

from tasks.core.errors import DatabaseError, LockedError
from tasks.stores.open import open_store


def test_several_runs_at_once_attest_every_fact_once(memory: Any, job: Any, run: Any, signed: bool) -> None:
    database, settings = memory(sound(30)), job()
    with ThreadPoolExecutor(3) as pool:
        reports = [*pool.map(lambda number: run(settings, f"run-{number}"), range(3))]
    assert sorted(entry.fact_id for entry in database.state.log.values()) == sorted(map(str, range(1, 31)))
    assert sum(report["rows"]["inserted"] for report in reports) == 30
    assert audited(settings).clean


def test_a_batch_that_was_overtaken_is_read_again(
    memory: Any, job: Any, run: Any, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = memory(sound(12)), job()
    read, others = MemorySession.read_batch, iter(["another-run"])

    def overtaken(session: MemorySession, **of_batch: Any) -> Any:
        batch = read(session, **of_batch)
        for other in others:
            run(settings, other, max_rows=3)
        return batch

    monkeypatch.setattr(MemorySession, "read_batch", overtaken)
    report = run(settings)
    assert report["rows"] == {"eligible": 12, "inserted": 9, "updated": 0, "unchanged": 3, "rejected": 0}
    assert len(database.state.log) == 12


def test_a_batch_that_dies_half_way_has_written_nothing_and_the_same_command_goes_on(
    memory: Any, job: Any, run: Any, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = memory(sound(12)), job()
    append, left = State.append_log, iter(range(6))

    def dies(state: State, *values: Any) -> int:
        if next(left, None) is None:
            raise RuntimeError("the power is gone")
        return append(state, *values)

    monkeypatch.setattr(State, "append_log", dies)
    with pytest.raises(RuntimeError):
        run(settings)
    assert len(database.state.log) == len(database.state.metadata) == 4
    assert [batch.counts.inserted for _, batch in database.state.batches] == [4]
    monkeypatch.setattr(State, "append_log", append)
    report = run(settings)
    assert (report["rows"]["inserted"], report["chunks"][0]["attempts"]) == (12, 2)
    assert audited(settings).clean


def test_a_writer_that_waits_in_vain_for_another_one_writes_nothing(memory: Any, job: Any, run: Any) -> None:
    database, settings = memory(sound(3)), job(pacing={"lock_timeout_seconds": 0})
    before = database.state
    with (
        open_store(settings).session(write=True) as session,
        database.transaction(patience=0),
        pytest.raises(LockedError, match="locked by another writer"),
    ):
        session.note_failure(run_id="run-1", chunk=1, error="it is of no use to wait to say so", now=OLD)
        session.stop_run(run_id="run-1", stop_reason="rejects")
    assert database.state == before


def test_a_session_that_only_reads_cannot_write(memory: Any, job: Any) -> None:
    memory(sound(3))
    with open_store(job()).session(write=False) as session, pytest.raises(DatabaseError, match="to be read only"):
        session.stop_run(run_id="run-1", stop_reason="rejects")


def test_a_store_of_another_process_is_not_there(memory: Any, job: Any, run: Any) -> None:
    memory(sound(3))
    elsewhere = job(f"{SCHEME}://elsewhere")
    assert not open_store(elsewhere).exists()
    with pytest.raises(DatabaseError, match="there is none in this process"):
        run(elsewhere)
