"""Processes that die where a test wants them to, and the check of what they leave behind.

The check knows nothing of the program: it reads the tables and the files with its own few lines, and compares them
with what the sample is known to hold.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from nacl.signing import SigningKey

from tasks.sample.database import build_sample

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("runner.py")
KEY = bytes(range(1, 33)).hex()
ATTESTER = "etl_prov_backfill_v2"
FACTS = 400
OUTCOMES = ("eligible", "inserted", "updated", "unchanged", "rejected")
# Three chunks of four batches: 130 = 3 × 40 + 10 residual facts.
SMALL = {"chunk_rows": 130, "batch_rows": 40, "lock_timeout_seconds": 10, "cache_mib": 1}
# Luigi refuses a command line that is running already, going by its text; forks of one server all look alike.
QUICK = ("--no-lock", "--worker-wait-interval", "0.05", "--worker-wait-jitter", "0")


class Forks:
    """A process that has imported everything and forks a command line when it is asked for one."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(RUNNER), "--serve"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fork(self, request: dict[str, Any]) -> int:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    server = Forks()
    yield server
    server.close()


@dataclass
class Command:
    """One command line that was started; `hits` is the stem of the files its trap leaves."""

    pid: int
    hits: Path
    _status: Path
    _log: Path

    def wait(self, timeout: float = 60) -> int:
        """Its exit code, or minus the number of the signal that ended it."""
        wait_until(self._status.exists, timeout, lambda: f"{self.output}\nthe command did not end")
        return int(self._status.read_text())

    @property
    def running(self) -> bool:
        return not self._status.exists()

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def wait_until_trapped(self) -> None:
        reached = Path(f"{self.hits}.reached")
        wait_until(lambda: reached.exists() or not self.running, 60, lambda: "the point was not reached")
        assert reached.exists(), self.output

    def release(self) -> None:
        Path(f"{self.hits}.go").touch()

    def kill(self, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)


def wait_until(true: Callable[[], bool], timeout: float, otherwise: Callable[[], str]) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.005)


@pytest.fixture
def command(forks: Forks, luigi: Any, tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """`command(settings, "Report", *arguments, run_id=, at=, nth=, file=, do=)` starts a command line, signed.

    `at` and what follows are as runner.py takes them. What still runs when the test ends is killed.
    """
    started: list[Command] = []

    def start(
        settings: Any, task: str = "Report", *arguments: str, run_id: str = "run-1", key: str | None = KEY, **crash: Any
    ) -> Command:
        stem = tmp_path / f"command-{len(started)}"
        found = Command(0, stem.with_suffix(".hits"), stem.with_suffix(".status"), stem.with_suffix(".log"))
        line = ["--module", "tasks", task, "--local-scheduler", "--job", settings.job_file, "--run-id", run_id]
        found.pid = forks.fork({
            "arguments": [*line, *QUICK, *arguments], "env": luigi.environment(None, key),
            "crash": {"hits": str(found.hits), **crash}, "status": str(found._status), "log": str(found._log),
        })  # fmt: skip
        started.append(found)
        return found

    yield start
    for found in started:
        try:
            os.killpg(found.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@dataclass
class Sample:
    """A sample database, its job file, and what one run has to make of it."""

    path: Path
    settings: Any
    expected: dict[str, Any]
    before: dict[str, tuple[Any, ...]]
    state: Path

    @property
    def rows(self) -> dict[str, int]:
        return {name: self.expected[name] for name in OUTCOMES}

    def query(self, sql: str, *values: Any) -> list[Any]:
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.set_busy_timeout(20_000)
            return list(connection.execute(sql, values or None))

    def files(self) -> dict[str, bytes]:
        """Every file of the state directory with its content."""
        return {str(p.relative_to(self.state)): p.read_bytes() for p in sorted(self.state.rglob("*")) if p.is_file()}

    def report(self, run_id: str = "run-1", mode: str = "live") -> dict[str, Any]:
        return dict(json.loads((self.state / run_id / mode / "report.json").read_text(encoding="utf-8")))


_METADATA = (
    "SELECT fact_id, source_doc, extracted_at, verified_by, confidence_lower, confidence_upper, ed25519_sig, "
    "created_at, updated_at FROM am_fact_metadata ORDER BY fact_id"
)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The sample with every wart, made once and copied from then on."""
    path = tmp_path_factory.mktemp("pristine") / "sample.db"
    summary = build_sample(path, facts=FACTS)
    return path, dict(summary.expected)


@pytest.fixture
def sample(tmp_path: Path, store: Any, settings: Any, pristine: tuple[Path, dict[str, Any]]) -> Callable[..., Sample]:
    """`sample(journal_mode="wal", **pacing)`: a copy of the sample database with a job file of small steps."""

    def make(*, journal_mode: str = "wal", **pacing: Any) -> Sample:
        made = store(name="sample.db")
        made.path.unlink()
        with closing(apsw.Connection(str(pristine[0]))) as source, closing(apsw.Connection(str(made.path))) as copy:
            with copy.backup("main", source, "main") as backup:
                backup.step()
            copy.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
        job = settings(made, pacing={**SMALL, **pacing})
        found = Sample(made.path, job, pristine[1], {}, Path(job.state_dir))
        found.before = {row[0]: row for row in found.query(_METADATA)}
        return found

    return make


@dataclass
class Written:
    """What the check read, for tests that want to know more."""

    metadata: dict[str, tuple[Any, ...]]
    log: list[tuple[Any, ...]]
    chunks: list[dict[str, Any]]
    report: dict[str, Any]


@pytest.fixture
def check() -> Callable[..., Written]:
    """`check(sample, run_id="run-1")` proves that the run attested every fact once, and that everything says so.

    The order is from the database outwards: the file, the rows, the log, the rejects, the ledger, the markers, the
    report. Each is compared with the sample's known numbers or with the one before it, never with the program.
    """

    def prove(sample: Sample, run_id: str = "run-1") -> Written:
        assert sample.query("PRAGMA integrity_check") == [("ok",)]
        metadata = {row[0]: row for row in sample.query(_METADATA)}
        log = prove_rows_and_log(sample, metadata)
        prove_rejects(sample, run_id)
        chunks = prove_ledger(sample, run_id)
        prove_markers(sample, run_id, chunks)
        return Written(metadata, log, chunks, prove_report(sample, run_id, chunks))

    return prove


def written_rows(sample: Sample, metadata: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """The rows that are new or changed; the others must be as they were."""
    assert set(sample.before) <= set(metadata)
    return {fact_id: row for fact_id, row in metadata.items() if sample.before.get(fact_id) != row}


def prove_rows_and_log(sample: Sample, metadata: dict[str, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Every attestable fact has its row, each written row a true signature and exactly one line in the log."""
    written = written_rows(sample, metadata)
    updated = set(written) & set(sample.before)
    assert len(written) - len(updated) == sample.rows["inserted"]
    assert len(updated) == sample.rows["updated"]
    facts = {str(row[0]) for row in sample.query("SELECT id FROM am_entity_facts")}
    rejected = {row[0] for row in sample.query("SELECT fact_id FROM am_backfill_reject")}
    assert set(metadata) | rejected == facts
    assert not set(metadata) & rejected
    log = sample.query(
        "SELECT fact_id, attester, signature_hex FROM am_fact_attestation_log WHERE attester = ? ORDER BY 1", ATTESTER
    )
    assert log == [(fact_id, ATTESTER, row[6][8:72].hex()) for fact_id, row in sorted(written.items())]
    assert sample.query("SELECT count(*) FROM am_fact_attestation_log") == [(len(log) + len(sample.before),)]
    verify_key = SigningKey(bytes.fromhex(KEY)).verify_key
    for fact_id, source_doc, extracted_at, verified_by, lower, upper, blob, _, _ in written.values():
        payload = {"confidence_lower": lower, "confidence_upper": upper, "extracted_at": extracted_at,
                   "fact_id": fact_id, "source_doc": source_doc, "verified_by": verified_by}  # fmt: skip
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        verify_key.verify(text.encode(), blob[8:72])
        assert verified_by == ATTESTER
    return log


def prove_rejects(sample: Sample, run_id: str) -> None:
    found = sample.query("SELECT fact_id, reason FROM am_backfill_reject WHERE run_id = ?", run_id)
    assert len({fact_id for fact_id, _ in found}) == len(found), "a reject was written twice"
    assert Counter(reason for _, reason in found) == sample.expected["rejects"]


def prove_ledger(sample: Sample, run_id: str) -> list[dict[str, Any]]:
    """Every chunk done, at its end, and all of them together what the sample holds."""
    names = ("chunk", "plan_id", "after", "through", "cursor", "state", "attempts", "finished_at", *OUTCOMES, "signed")
    sql = f"""SELECT chunk, plan_id, after_key, through_key, cursor, state, attempts, finished_at,
                     {", ".join(OUTCOMES)}, signed FROM am_backfill_chunk WHERE run_id = ? ORDER BY chunk"""
    chunks = [dict(zip(names, row, strict=True)) for row in sample.query(sql, run_id)]
    assert [chunk["chunk"] for chunk in chunks] == list(range(1, len(chunks) + 1))
    for chunk in chunks:
        assert chunk["state"] == "done" and chunk["finished_at"] and chunk["attempts"] >= 1
        assert chunk["cursor"] == chunk["through"]
        assert chunk["signed"] == chunk["inserted"] + chunk["updated"]
    for name in ("inserted", "updated", "rejected"):
        assert sum(chunk[name] for chunk in chunks) == sample.rows[name], name
    runs = sample.query("SELECT plan_id, finished_at FROM am_backfill_run WHERE run_id = ?", run_id)
    assert len(runs) == 1 and runs[0][1]
    assert {chunk["plan_id"] for chunk in chunks} == {runs[0][0]}
    return chunks


def prove_markers(sample: Sample, run_id: str, chunks: list[dict[str, Any]]) -> None:
    """One whole marker per chunk, saying what the ledger says; no part of a file under a name that counts."""
    folder = sample.state / run_id / "live" / "chunks"
    found = sorted(folder.glob("chunk-*.json"))
    assert [path.name for path in found] == [f"chunk-{chunk['chunk']:06d}.json" for chunk in chunks]
    for path, chunk in zip(found, chunks, strict=True):
        marker = json.loads(path.read_text(encoding="utf-8"))
        assert marker["rows"] == {name: chunk[name] for name in OUTCOMES}
        for name in ("chunk", "plan_id", "after", "through", "attempts", "finished_at"):
            assert marker[name] == chunk[name], (path.name, name)


def prove_report(sample: Sample, run_id: str, chunks: list[dict[str, Any]]) -> dict[str, Any]:
    report = sample.report(run_id)
    rows = report["rows"]
    assert rows == sample.rows
    assert rows["eligible"] == rows["inserted"] + rows["updated"] + rows["unchanged"] + rows["rejected"]
    assert report["remaining"] == rows["rejected"]
    assert report["rejects"] == sample.expected["rejects"]
    assert report["signatures"]["signed"] == rows["inserted"] + rows["updated"]
    assert report["signatures"]["placeholder"] == 0
    assert report["plan_id"] == chunks[0]["plan_id"]
    assert [c["rows"] for c in report["chunks"]] == [{name: c[name] for name in OUTCOMES} for c in chunks]
    assert (sample.state / run_id / "live" / "report.md").read_text(encoding="utf-8").strip()
    return report
