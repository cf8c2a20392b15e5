"""Every command beside an application that opens, writes, commits and closes its database every few milliseconds.

Whoever closes last deletes -wal and -shm. If a process of the job ever lost its locks, the application would take
itself for the last, and what was committed after that would be gone. So every row of both sides is looked for at the
end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
KEYS = {
    "AUTONOMATH_FACT_SIGN_PRIVATE_KEY": bytes(range(32)).hex(),
    "PROVENANCE_CHECKPOINT_PRIVATE_KEY": bytes(range(32, 64)).hex(),
}
# The standard library's SQLite, as most applications have it: it deletes -wal and -shm where it holds the last lock.
_APPLICATION = """
import sqlite3, sys, time
from pathlib import Path
path, stop, number = sys.argv[1], Path(sys.argv[2]), 0
while not stop.exists():
    connection = sqlite3.connect(path, timeout=60)
    with connection:
        connection.execute("INSERT INTO am_source (source_url) VALUES (?)", (f"https://application.test/{number}",))
    connection.close()
    number += 1
    time.sleep(0.003)
print(number)
"""


@contextmanager
def application(path: Path) -> Iterator[list[int]]:
    """The application at work during the block; then the list holds how many rows it was told are committed."""
    stop, written = path.with_name("stop"), list[int]()
    running = subprocess.Popen(
        [sys.executable, "-c", _APPLICATION, str(path), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield written
        stop.touch()
        told, wrong = running.communicate(timeout=120)
        assert (running.returncode, wrong) == (0, "")
        written.append(int(told))
    finally:
        running.kill()
        stop.unlink(missing_ok=True)


def ask(settings: Any, *words: str, signs: bool = True) -> str:
    """One command in a process of its own; it must end well."""
    environ = {name: value for name, value in os.environ.items() if name not in KEYS}
    luigi = words[0] not in ("seal", "verify", "audit", "explain", "prove")
    program = [str(BIN / "luigi"), "--module", "tasks"] if luigi else [str(BIN / "provenance")]
    local = ["--local-scheduler"] if luigi else []
    done = subprocess.run(
        [*program, *words, "--job", settings.job_file, *local], cwd=ROOT, capture_output=True, text=True,
        env={**environ, **(KEYS if signs else {})}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def all_commands(settings: Any, store: Any, facts: int, registry: list[str]) -> None:
    """What an operator and an auditor do with a store in its first days."""
    add_facts(store.path, 1, facts // 2)
    ask(settings, "ApplySchema")

    ask(settings, "Report", "--run-id", "one", signs=False)
    ask(settings, "SignPending", "--run-id", "sign")
    add_facts(store.path, facts // 2 + 1, facts)
    ask(settings, "Report", "--run-id", "two", "--dry-run")
    ask(settings, "Report", "--run-id", "two", "--workers", "2")
    ask(settings, "VerifyAttestations", "--run-id", "verify", *registry)
    ask(settings, "seal")
    ask(settings, "verify", *registry)
    ask(settings, "audit", "--checkpoint", str(checkpoints(settings)[-1]), *registry)
    ask(settings, "explain", "1", str(facts), *registry)
    ask(settings, "prove", str(facts))


def add_facts(path: Path, first: int, last: int) -> None:
    """Facts of the application's, in one transaction that waits for its turn."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        connection.set_busy_timeout(60_000)
        facts = [(number, f"https://a.test/{number}") for number in range(first, last + 1)]
        with connection:
            connection.executemany(
                "INSERT INTO am_entity_facts (id, entity_id, field_name, source_url, created_at) "
                "VALUES (?, 'houjin:1', 'program.overview', ?, '2026-05-01')", facts,
            )  # fmt: skip


def checkpoints(settings: Any) -> list[Path]:
    """The published checkpoint files, the smallest first."""
    return sorted(Path(settings.state_dir).rglob("*.checkpoint"), key=lambda path: int(path.stem))


def compare(settings: Any, store: Any, facts: int, written: int) -> None:
    """Every row that anybody was told is committed is there, and no other."""
    half = facts // 2
    assert store.rows("PRAGMA integrity_check") == [("ok",)]
    rows = store.rows("SELECT source_url FROM am_source ORDER BY id")
    assert rows == [(f"https://application.test/{number}",) for number in range(written)]
    ids = {str(number) for number in range(1, facts + 1)}
    metadata = store.metadata()
    assert set(metadata) == ids
    assert all(row["ed25519_sig"] != bytes(64) for row in metadata.values())
    first = store.rows("SELECT fact_id FROM am_fact_attestation_log WHERE signature_hex = ?", "0" * 128)
    assert sorted(first) == sorted((str(number),) for number in range(1, half + 1))
    assert store.count("am_fact_attestation_log") == facts + half  # the first half once unsigned and once signed
    runs = store.rows("SELECT run_id, finished_at IS NOT NULL FROM am_backfill_run WHERE run_id IN ('one', 'two')")
    assert sorted(runs) == [("one", 1), ("two", 1)]
    assert {state for (state,) in store.rows("SELECT state FROM am_backfill_chunk")} == {"done"}
    stored = store.rows("SELECT tree_size, note FROM am_attestation_checkpoint ORDER BY tree_size")
    assert stored == [(int(path.stem), path.read_text(encoding="utf-8")) for path in checkpoints(settings)]
    assert stored[-1][0] == facts + half


def beside(store: Any, settings: Any, tmp_path: Path, journal_mode: str, facts: int, name: str = "store.db") -> int:
    """All commands on a fresh store beside the application. Gives how many rows the application wrote."""
    made = store(lambda schema: schema.sidecar_missing(), name=name, journal_mode=journal_mode)
    pacing = {"chunk_rows": max(10, facts // 5), "batch_rows": max(4, facts // 20), "lock_timeout_seconds": 60}
    loaded = settings(made, state_dir=f"state-{name}", pacing={**pacing, "cache_mib": 1})
    keys = tmp_path / "keys.yaml"
    if not keys.exists():
        keys.write_text("keys:\n" + "".join(_entry(loaded, use) for use in ("rows", "checkpoints")), encoding="utf-8")
    with application(made.path) as written:
        all_commands(loaded, made, facts, ["--keys", str(keys)])
    compare(loaded, made, facts, written[0])
    with closing(apsw.Connection(str(made.path))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchall() == [(journal_mode,)]
    return written[0]


def _entry(settings: Any, use: str) -> str:
    environ = {**os.environ, **KEYS}
    shown = subprocess.run(
        [str(BIN / "provenance"), "public-key", "--use", use, "--job", settings.job_file],
        capture_output=True, text=True, check=True, cwd=ROOT, env=environ,
    ).stdout  # fmt: skip
    return shown[shown.index("  - name") :]


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_no_row_of_either_side_is_lost_whatever_command_runs(
    journal_mode: str, store: Any, settings: Any, tmp_path: Path
) -> None:
    assert beside(store, settings, tmp_path, journal_mode, facts=60) > 100


@pytest.mark.soak
@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
def test_no_row_of_either_side_is_lost_in_many_rounds(
    journal_mode: str, store: Any, settings: Any, tmp_path: Path
) -> None:
    for number in range(12):
        beside(store, settings, tmp_path, journal_mode, facts=3000, name=f"store-{number}.db")


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize(
    "point", ["before the write lock", "before the seal's write lock", "before statement reject_sample"]
)
def test_what_is_committed_after_the_application_was_the_last_to_close_is_in_the_database(
    point: str, journal_mode: str, sample: Any, command: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of the run stands still with its connections open, while the application opens and closes its own, and
    then keeps one, so that nobody but the run itself could save what the run commits.
    """
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", KEYS["PROVENANCE_CHECKPOINT_PRIVATE_KEY"])
    made = sample(journal_mode=journal_mode)
    run = command(made.settings, at=point, do="wait")
    run.wait_until_trapped()
    of_application = "SELECT count(*) FROM am_source WHERE source_url LIKE 'https://application.test/%'"
    with application(made.path) as written:
        end = time.monotonic() + 60
        while made.query(of_application)[0][0] < 5:
            assert time.monotonic() < end, "the application does not write"
            time.sleep(0.01)
    with closing(apsw.Connection(str(made.path))) as stays:
        stays.execute("SELECT count(*) FROM am_source").fetchall()
        run.release()
        assert run.wait() == 0, run.output
    assert made.query(of_application) == [(written[0],)]
    check(made)
    stored = made.query("SELECT tree_size, note FROM am_attestation_checkpoint ORDER BY tree_size")
    assert stored == [(int(path.stem), path.read_text(encoding="utf-8")) for path in checkpoints(made.settings)]
    assert len(stored) == 1
