"""The ten promises of the design, one section each. Promise 4 has its kills in tests/crash/."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core.clock import now_text
from tasks.core.errors import ProvenanceError
from tasks.job.paths import RunPaths
from tasks.job.settings import load_settings
from tasks.runs.gate import gate_schema
from tasks.runs.markers import chunk_is_done
from tasks.sample.database import build_sample
from tasks.stores.sqlite.session import open_session

ROOT = Path(__file__).parents[1]
RUNNER = str(ROOT / "tests" / "crash" / "runner.py")
KEY = bytes(range(1, 33)).hex()
# Three chunks of three batches each.
STEPS = {"chunk_rows": 100, "batch_rows": 40, "cache_mib": 1}
CREATED_AT = f"{now_text()[:10]}T00:00:00.000Z"
WRITABLE = {
    "am_fact_metadata", "am_fact_attestation_log",
    "am_backfill_run", "am_backfill_chunk", "am_backfill_batch", "am_backfill_reject",
}  # fmt: skip
UPDATABLE = {"am_fact_metadata", "am_backfill_run", "am_backfill_chunk"}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pristine") / "sample.db"
    build_sample(path, facts=300)
    return path


@pytest.fixture
def sample(store: Any, pristine: Path) -> Callable[[], Any]:
    """A store with the sample's rows, every wart among them."""

    def make() -> Any:
        made = store(name="sample.db")
        made.path.unlink()
        copy(pristine, made.path)
        return made

    return make


def copy(source: Path, target: Path) -> None:
    with closing(apsw.Connection(str(source))) as old, closing(apsw.Connection(str(target))) as new:
        with new.backup("main", old, "main") as backup:
            backup.step()
        new.execute("PRAGMA journal_mode = wal").fetchall()


@contextmanager
def raw_connection(settings: Any, *, write: bool) -> Iterator[apsw.Connection]:
    """The connection that a session works on, with nothing between it and the test."""
    with open_session(settings, write=write) as session:
        yield session._connection


# -- 1. A live run writes to its own five tables only; the connection enforces it ---------------------


def rows_of(connection: apsw.Connection, kind: str) -> list[str]:
    sql = "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(sql, (kind,))]


def writes_to(name: str, columns: list[str]) -> dict[str, str]:
    names = ", ".join(f'"{c}"' for c in columns)
    return {
        "INSERT": f'INSERT INTO "{name}" ({names}) SELECT {names} FROM "{name}" WHERE 0',
        "REPLACE": f'REPLACE INTO "{name}" ({names}) SELECT {names} FROM "{name}" WHERE 0',
        "UPDATE": f'UPDATE "{name}" SET "{columns[0]}" = "{columns[0]}"',
        "DELETE": f'DELETE FROM "{name}"',
    }


def test_1_the_connection_of_a_live_run_writes_to_no_other_table(sample: Any, settings: Any, dump: Any) -> None:
    """Every table and view of the database, and SQLite's own, with every kind of write."""
    made = sample()
    made.execute("CREATE TABLE ours (id INTEGER PRIMARY KEY, value TEXT)")
    made.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
    made.execute("CREATE TRIGGER into_ours INSTEAD OF INSERT ON v_am_fact_explainability BEGIN DELETE FROM ours; END")
    rows = dump(made.path)
    with raw_connection(settings(made), write=True) as connection:
        names = [*rows_of(connection, "table"), *rows_of(connection, "view"), "sqlite_schema", "sqlite_sequence"]
        tried = 0
        for name in names:
            columns = [row[0] for row in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (name,))]
            for verb, sql in writes_to(name, columns).items():
                inserts = verb in ("INSERT", "REPLACE")  # the authorizer is told of both as an insert
                allowed = (inserts and name in WRITABLE) or (verb == "UPDATE" and name in UPDATABLE)
                if not allowed:
                    tried += 1
                    with pytest.raises(apsw.Error):
                        connection.execute(sql).fetchall()
        assert tried > 4 * 8
    assert dump(made.path) == rows


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH ':memory:' AS other", "DETACH main", "DROP TABLE am_entity_facts", "DROP TABLE am_fact_metadata",
        "DROP INDEX ix_am_fact_metadata_source_doc", "DROP VIEW v_am_fact_explainability", "CREATE TABLE t (a)",
        "CREATE INDEX i ON am_fact_metadata (notes)", "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON am_fact_metadata BEGIN DELETE FROM am_source; END",
        "CREATE TEMP TRIGGER t AFTER INSERT ON am_fact_metadata BEGIN DELETE FROM am_source; END",
        "ALTER TABLE am_fact_metadata ADD COLUMN x", "ALTER TABLE am_fact_metadata RENAME TO x",
        "VACUUM", "VACUUM INTO '/dev/null'", "REINDEX", "ANALYZE", "PRAGMA user_version = 5",
        "PRAGMA schema_version = 99", "PRAGMA application_id = 5", "PRAGMA journal_mode = DELETE",
        "PRAGMA synchronous = OFF", "PRAGMA writable_schema = ON", "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA wal_autocheckpoint = 0", "PRAGMA query_only = 0", "PRAGMA incremental_vacuum", "PRAGMA optimize",
        "PRAGMA quick_check", "PRAGMA integrity_check", "SELECT load_extension('x')",
    ],
)  # fmt: skip
def test_1_the_connection_of_a_live_run_refuses(sql: str, sample: Any, settings: Any) -> None:
    made = sample()
    header = made.path.read_bytes()
    with raw_connection(settings(made), write=True) as connection, pytest.raises(apsw.Error):
        connection.execute(sql).fetchall()
    assert made.path.read_bytes() == header


def test_1_a_whole_live_run_leaves_every_other_table_as_it_was(sample: Any, settings: Any, run: Any, dump: Any) -> None:
    made = sample()
    before = dump(made.path)
    run(settings(made, pacing=STEPS))
    after = dump(made.path)
    assert {name for name in after if after[name] != before[name]} - {"sqlite_sequence"} == WRITABLE
    assert set(before["am_fact_attestation_log"]) <= set(after["am_fact_attestation_log"])


# -- 2. A dry run writes nothing to the database -----------------------------------------------------


def test_2_a_dry_run_leaves_the_bytes_of_database_and_log_as_they_are(sample: Any, luigi: Any) -> None:
    """The application keeps the database open, with pages in the write-ahead log that are not copied back."""
    made = sample()
    wal = Path(f"{made.path}-wal")
    with closing(apsw.Connection(str(made.path), flags=apsw.SQLITE_OPEN_READWRITE)) as application:
        application.execute("UPDATE am_source SET domain = 'changed'")
        before = made.path.read_bytes(), wal.read_bytes()
        assert len(before[1]) > 0
        finished = luigi("Report", "--dry-run", "--no-lock", store=made)
        assert finished.code == 0, finished.output
        assert (made.path.read_bytes(), wal.read_bytes()) == before
        assert finished.report(mode="dry-run")["rows"]["inserted"] > 0


def test_2_a_dry_run_of_a_database_that_nobody_has_open_leaves_its_bytes(sample: Any, settings: Any, run: Any) -> None:
    made = sample()
    before = made.path.read_bytes()
    run(settings(made, pacing=STEPS), dry_run=True)
    assert made.path.read_bytes() == before
    assert not Path(f"{made.path}-wal").exists() or not Path(f"{made.path}-wal").read_bytes()


def test_2_each_of_three_locks_alone_keeps_a_dry_run_from_writing(sample: Any, settings: Any, dump: Any) -> None:
    """The open flag, query_only and the guard: the first two are looked at with the guard taken off."""
    made = sample()
    rows = dump(made.path)
    with raw_connection(settings(made), write=False) as connection:
        assert connection.readonly("main")
        for sql in ("INSERT INTO am_entity_facts DEFAULT VALUES", "DELETE FROM am_fact_metadata",
                    "PRAGMA query_only = 0", "PRAGMA user_version = 1"):  # fmt: skip
            with pytest.raises(apsw.AuthError):
                connection.execute(sql).fetchall()
        connection.authorizer = None
        assert connection.execute("PRAGMA query_only").get == 1
        for _ in range(2):
            with pytest.raises(apsw.ReadOnlyError):
                connection.execute("UPDATE am_fact_metadata SET notes = 'x'").fetchall()
            connection.execute("PRAGMA query_only = 0").fetchall()  # the second time the flag alone has to do
    assert dump(made.path) == rows


# -- 3. No statement reaches the database that SchemaVerify did not compile --------------------------


def traced(luigi: Any, made: Any, into: Path, *arguments: str, key: str | None = KEY, **options: Any) -> list[str]:
    """The statements that one command line executed, in order."""
    finished = luigi(
        "Report", "--no-lock", *arguments, store=made, key=key, python=(RUNNER,),
        env={"CRASH": json.dumps({"trace": str(into)})}, **options,
    )  # fmt: skip
    assert finished.code == 0, finished.output
    return [json.loads(line)["sql"] for line in into.read_text(encoding="utf-8").splitlines()]


# How SQLite itself works off a table-valued function such as pragma_table_xinfo(?): never a write.
_WITHIN = re.compile(r"PRAGMA (table_list|(table_xinfo|index_list|index_xinfo)='[^']*')")


def executed(statements: list[str]) -> set[str]:
    """What was run and not only compiled: EXPLAIN executes nothing of what it explains."""
    run = [sql for sql in statements if not sql.startswith("EXPLAIN ") and not _WITHIN.fullmatch(sql)]
    return {re.sub(r"\s+", " ", sql) for sql in run}


@pytest.mark.parametrize("mode", ["live", "dry-run"])
def test_3_every_statement_of_a_run_is_in_schema_json(mode: str, sample: Any, luigi: Any, tmp_path: Path) -> None:
    made = sample()
    statements = traced(luigi, made, tmp_path / "trace", *(["--dry-run"] if mode == "dry-run" else []))
    schema = json.loads((luigi.state_dir / "run-1" / "schema.json").read_text(encoding="utf-8"))
    known = {re.sub(r"\s+", " ", s["sql"]): s for s in schema["statements"]}
    assert len(statements) > 100
    assert executed(statements) - set(known) == set()
    compiled = {re.sub(r"^EXPLAIN (QUERY PLAN )?", "", sql) for sql in statements if sql.startswith("EXPLAIN ")}
    assert {re.sub(r"\s+", " ", sql) for sql in compiled} - set(known) == set()
    written = {known[sql]["name"] for sql in executed(statements) if known[sql]["writes"]}
    assert ("insert_metadata" in written) == (mode == "live")
    if mode == "dry-run":
        assert written == set()


def test_3_nothing_of_the_run_is_executed_before_the_gate_is_passed(sample: Any, luigi: Any, tmp_path: Path) -> None:
    """The incident: a name that the database does not have must show before the first row is touched."""
    made = sample()
    made.execute("ALTER TABLE am_source RENAME COLUMN source_url TO url")
    for mode in ([], ["--dry-run"]):
        into = tmp_path / f"trace{len(mode)}"
        finished = luigi(
            "Report", "--no-lock", *mode, store=made, python=(RUNNER,), env={"CRASH": json.dumps({"trace": str(into)})}
        )
        assert finished.code == 30
        assert 'no column "source_url"' in finished.output
        statements = executed([json.loads(line)["sql"] for line in into.read_text().splitlines()])
        assert not [sql for sql in statements if "am_entity_facts" in sql]


# -- 4. See tests/crash/test_kill.py -----------------------------------------------------------------


def test_4_a_killed_command_line_ends_its_run_when_it_is_given_again(
    sample: Any, luigi: Any, settings: Any, tmp_path: Path
) -> None:
    """The plain way, with interpreters of their own; tests/crash/ does it at every point."""
    made = sample()
    job = settings(made, pacing={"chunk_rows": 100, "batch_rows": 30})
    trap = {"at": "before commit", "nth": 5, "do": "kill", "hits": str(tmp_path / "hits")}
    options: dict[str, Any] = {"settings": job, "key": KEY}
    first = luigi("Report", "--no-lock", python=(RUNNER,), env={"CRASH": json.dumps(trap)}, **options)
    assert first.code == -9
    committed = made.count("am_fact_attestation_log")
    assert luigi("Report", "--no-lock", **options).code == 0
    log = [fact_id for fact_id, attester, _ in made.log() if attester == "etl_prov_backfill_v2"]
    assert len(log) == len(set(log)) > committed
    report = json.loads((Path(job.state_dir) / "run-1" / "live" / "report.json").read_text(encoding="utf-8"))
    assert report["rows"]["inserted"] + report["rows"]["updated"] == len(log)


# -- 5. The marker never precedes the durable commit -------------------------------------------------


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What happens to database and files, in order: commits, fsyncs, renames."""
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink()
        fsync(handle)
        seen.append(f"fsync folder {name.name}" if name.is_dir() else f"fsync {_plain(name)}")

    def noted_replace(temporary: str, name: str, **folders: int) -> None:
        seen.append(f"rename {_plain(Path(temporary))} to {name}")
        replace(temporary, name, **folders)

    def hook(connection: apsw.Connection) -> None:
        if connection.db_filename("main"):
            connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, lambda event: _note_commit(connection, event))

    def _note_commit(connection: apsw.Connection, event: dict[str, Any]) -> None:
        if event["sql"] == "COMMIT":
            seen.append("commit")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    apsw.connection_hooks.append(hook)
    yield seen
    apsw.connection_hooks.remove(hook)


def _plain(path: Path) -> str:
    """A temporary file's name without what is random in it."""
    return "temporary " + path.name.split(".")[1] if path.name.startswith(".") else path.name


def test_5_commit_then_file_then_rename_then_folder(sample: Any, settings: Any, run: Any, events: list[str]) -> None:
    run(settings(sample(), pacing=STEPS))
    for number in (1, 2, 3):
        name = f"chunk-{number:06d}"
        renamed = events.index(f"rename temporary {name} to {name}.json")
        assert events[renamed - 1] == f"fsync temporary {name}"
        assert events[renamed + 1] == "fsync folder chunks"
        last_commit = max(i for i, event in enumerate(events[:renamed]) if event == "commit")
        assert last_commit < renamed - 1
        following = events.index("commit", renamed)
        assert following > renamed + 1


def test_5_at_the_rename_of_the_marker_the_ledger_row_is_committed(
    sample: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sample()
    replace = os.replace
    seen = []

    def look(temporary: str, name: str, **folders: int) -> None:
        if name.startswith("chunk-"):
            sql = "SELECT state FROM am_backfill_chunk WHERE chunk = ?"
            seen.append(made.execute(sql, int(Path(name).stem.removeprefix("chunk-"))))
        replace(temporary, name, **folders)

    monkeypatch.setattr(os, "replace", look)
    run(settings(made, pacing=STEPS))
    assert seen == [[("done",)]] * 3


def test_5_a_live_connection_syncs_every_commit(sample: Any, settings: Any) -> None:
    """2 is FULL, 3 is EXTRA; what survives a power cut is shown in tests/crash/test_power_loss.py."""
    with raw_connection(settings(sample()), write=True) as connection:
        connection.authorizer = None
        assert connection.execute("PRAGMA synchronous").get >= 2


# -- 6. Running again on a converged database writes nothing and logs nothing ------------------------


def test_6_the_same_run_again_changes_nothing(sample: Any, settings: Any, run: Any, dump: Any) -> None:
    made = sample()
    job = settings(made, pacing=STEPS)
    run(job)
    rows = dump(made.path)
    run(job)
    assert dump(made.path) == rows


def test_6_a_new_run_on_a_converged_database_writes_nothing_at_all(
    store: Any, settings: Any, run: Any, dump: Any
) -> None:
    """Facts without a source included: the incident's job wrote and logged those again every day."""
    made = store()
    made.add_source(1, "https://example.test/1")
    made.add_facts([{"id": i, "source_id": 1 if i % 3 else None, "created_at": "2026-01-01"} for i in range(1, 60)])
    made.add_metadata("7", None)
    made.add_metadata("9", None)
    job = settings(made, small=True)
    first = run(job)
    assert first["rows"]["inserted"] == 57 and first["rows"]["updated"] == 1
    rows, content = dump(made.path), made.path.read_bytes()
    again = run(job, "run-2")
    assert dump(made.path) == rows
    assert made.path.read_bytes() == content
    assert again["chunks"] == []
    assert again["rows"] == {"eligible": 59, "inserted": 0, "updated": 0, "unchanged": 59, "rejected": 0}


def test_6_a_new_run_attests_nothing_where_only_rejects_are_left(
    sample: Any, settings: Any, run: Any, dump: Any
) -> None:
    made = sample()
    job = settings(made, pacing=STEPS)
    run(job)
    rows = dump(made.path)
    again = run(job, "run-2")
    after = dump(made.path)
    assert after["am_fact_metadata"] == rows["am_fact_metadata"]
    assert after["am_fact_attestation_log"] == rows["am_fact_attestation_log"]
    assert again["rows"]["inserted"] == again["rows"]["updated"] == 0
    assert again["remaining"] == again["rows"]["rejected"] > 0


# -- 7. Two at once never write a row twice (more in tests/crash/test_concurrency.py) ----------------


@pytest.mark.parametrize("run_ids", [("run-1", "run-1"), ("run-1", "run-2")], ids=["one run", "two runs"])
def test_7_two_at_once_never_write_a_row_twice(
    run_ids: tuple[str, str], sample: Any, settings: Any, luigi: Any
) -> None:
    made = sample()
    job = settings(made, pacing={**STEPS, "batch_rows": 10})
    both = [luigi.start("Report", "--no-lock", settings=job, run_id=run_id, key=KEY) for run_id in run_ids]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    log = [fact_id for fact_id, attester, _ in made.log() if attester == "etl_prov_backfill_v2"]
    assert len(log) == len(set(log)) > 0
    written = made.execute("SELECT sum(inserted + updated) FROM am_backfill_chunk")[0][0]
    assert written == len(log)


# -- 8. Nothing reads the whole table into memory, nothing checks the whole database -----------------

_OF_THE_WHOLE_DATABASE = re.compile(r"quick_check|integrity_check|foreign_key_check|VACUUM|ANALYZE|optimize", re.I)


@pytest.mark.parametrize("mode", ["live", "dry-run"])
def test_8_no_check_of_the_whole_database_is_issued(mode: str, sample: Any, luigi: Any, tmp_path: Path) -> None:
    statements = traced(luigi, sample(), tmp_path / "trace", *(["--dry-run"] if mode == "dry-run" else []), key=None)
    assert statements
    assert [sql for sql in statements if _OF_THE_WHOLE_DATABASE.search(sql)] == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
def test_8_ten_times_the_facts_take_no_more_memory(luigi: Any, settings: Any, store: Any, tmp_path: Path) -> None:
    """One chunk holds all facts, so nothing but the batch bounds what is read at once."""
    peaks = []
    for facts in (10_000, 100_000):
        made = store(name=f"{facts}.db")
        made.path.unlink()
        build_sample(made.path, facts=facts)
        pacing = {"chunk_rows": 1_000_000, "batch_rows": 2000, "cache_mib": 2, "wal_autocheckpoint_pages": 500}
        spec = {"memory": str(tmp_path / f"{facts}.peak")}
        finished = luigi(
            "Report", "--no-lock", settings=settings(made, pacing=pacing), run_id=f"run-{facts}", python=(RUNNER,),
            env={"CRASH": json.dumps(spec)},
        )  # fmt: skip
        assert finished.code == 0, finished.output
        peaks.append(int(Path(spec["memory"]).read_text()))
    assert peaks[1] - peaks[0] < 3500, f"KiB at the peak: {peaks}"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
@pytest.mark.parametrize("mode", ["signed", "unsigned", "dry-run"])
@pytest.mark.parametrize(
    ("facts", "text", "column"),
    [(1500, "x" * 100_000, "source_url"), (1500, "é" * 50_000, "source_url"), (150, "x" * 990_000, "source_url"),
     (1500, "x" * 100_000, "id")],
    ids=["many", "not ASCII", "large", "keys"],
)  # fmt: skip
def test_8_long_texts_take_no_more_memory_than_many_facts(
    facts: int, text: str, column: str, mode: str, luigi: Any, settings: Any, store: Any, tmp_path: Path
) -> None:
    """150 MB in one batch, as the job file counts batches: several times that if it were held together."""
    made = store(lambda schema: schema.change_column("am_entity_facts", "id", "id TEXT PRIMARY KEY"))
    made.add_facts({"id": f"{n}", "source_url": "https://a.test/", column: f"{n:06}{text}"} for n in range(facts))
    job = settings(made, derivation={"longest_source_bytes": 1_000_000, "longest_value_bytes": 1_000_000})
    peak = tmp_path / "peak"
    finished = luigi(
        "Report", "--no-lock", *(["--dry-run"] if mode == "dry-run" else []), settings=job, python=(RUNNER,),
        key=KEY if mode == "signed" else None, env={"CRASH": json.dumps({"memory": str(peak)})},
    )  # fmt: skip
    assert finished.code == 0, finished.output
    assert finished.report(mode="dry-run" if mode == "dry-run" else "live")["rows"]["inserted"] == facts
    assert int(peak.read_text()) < 280 * 1024, f"{peak.read_text()} KiB"


# -- 9. Bad input ends in one clear message ----------------------------------------------------------


@pytest.fixture
def job_file(sample: Any, tmp_path: Path) -> Callable[..., Any]:
    """`job_file(more="", **keys)`: settings for the sample, with YAML appended or a key replaced."""

    def make(more: str = "", **keys: Any) -> Any:
        content = {"database": tmp_path / "sample.db", "state_dir": tmp_path / "state", **keys}
        text = "".join(f"{key}: {value}\n" for key, value in content.items() if value is not None) + more
        (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
        return load_settings(tmp_path / "job.yaml", os.environ)

    sample()
    return make


def gate(settings: Any) -> None:
    gate_schema(settings, RunPaths(Path(settings.state_dir), "r", False))


def planned(settings: Any, run_id: str = "r", max_rows: int | None = None) -> Any:
    paths = RunPaths(Path(settings.state_dir), run_id, False)
    plan_backfill(settings, paths, max_rows=max_rows, created_at=CREATED_AT)
    return settings


def chunk(settings: Any, number: int = 1, run_id: str = "r") -> None:
    run_chunk(settings, RunPaths(Path(settings.state_dir), run_id, False), number, progress=lambda _: None)


def with_key(key: str, action: Callable[[], None]) -> None:
    os.environ["AUTONOMATH_FACT_SIGN_PRIVATE_KEY"] = key  # taken away again by the fixture of every test
    try:
        action()
    finally:
        del os.environ["AUTONOMATH_FACT_SIGN_PRIVATE_KEY"]


def locked(job: Any, tmp: Path) -> None:
    settings = planned(job("pacing: {lock_timeout_seconds: 0.1}\n"))
    with closing(apsw.Connection(str(tmp / "sample.db"))) as other:
        other.execute("BEGIN IMMEDIATE")
        chunk(settings)


def open_key_file(job: Any, tmp: Path) -> None:
    (tmp / "key").write_text(KEY)
    (tmp / "key").chmod(0o644)
    gate(job(f"signing: {{key_file: {tmp}/key}}\n"))


def foreign_marker(job: Any, tmp: Path) -> None:
    settings = planned(job())
    chunk(settings)
    paths = RunPaths(Path(settings.state_dir), "r", False)
    content = json.loads(paths.marker(1).read_text())
    paths.marker(1).write_text(json.dumps({**content, "plan_id": "f" * 64}))
    chunk_is_done(settings, paths, 1)


def key_changed(job: Any, _: Path) -> None:
    settings = planned(job())
    chunk(settings)
    with_key(KEY, lambda: chunk(settings))


def not_a_database(job: Any, tmp: Path) -> None:
    (tmp / "text.db").write_text("not a database " * 999)
    gate(job(database=tmp / "text.db"))


def table_missing(job: Any, tmp: Path) -> None:
    with closing(apsw.Connection(str(tmp / "sample.db"))) as connection:
        connection.execute("DROP TABLE am_backfill_chunk")
    gate(job())


# What the user did, and what the message must say: where, what was seen, what was expected or comes next.
BAD_INPUT: dict[str, tuple[Callable[[Any, Path], Any], tuple[str, ...]]] = {
    "no such database": (lambda job, tmp: gate(job(database=tmp / "no.db")), ("no.db", "no such file", "MakeSample")),
    "a folder for a database": (lambda job, tmp: gate(job(database=tmp)), ("expected a SQLite file", "a folder")),
    "not a database": (not_a_database, ("text.db", "not a SQLite database", "(?i)expected|check|set ")),
    "no such job file": (lambda job, tmp: load_settings(tmp / "no.yaml"), ("no.yaml", "no such job file", "--job")),
    "unknown key": (
        lambda job, tmp: job("pacing: {chunk_row: 5}\n"), ("job.yaml line 3", '"pacing.chunk_row"', '"chunk_rows"')),
    "wrong type": (
        lambda job, tmp: job("pacing: {chunk_rows: many}\n"), ("line 3", "pacing.chunk_rows", "integer", "'many'")),
    "database not named": (
        lambda job, tmp: job(database=None), ("job.yaml", '"database" is missing', "(?i)expected|add|set ")),
    "not YAML": (lambda job, tmp: job("tables: [\n"), ("job.yaml", "not YAML", "line 4")),
    "variable not set": (
        lambda job, tmp: job("signing: {key_name: '${NOT_SET}'}\n"), ("line 3", "NOT_SET", "Set it, or write")),
    "another kind of database": (
        lambda job, tmp: gate(job(database="mysql://u:hush@h/d")), ("line 1", '"mysql"', "expected a path")),
    "run id": (lambda job, tmp: planned(job(), "../up"), ("--run-id '../up'", "expected 1 to 100 letters")),
    "row budget": (lambda job, tmp: planned(job(), max_rows=0), ("--max-rows 0", "expected 1 or more")),
    "short key": (
        lambda job, tmp: with_key(KEY[1:], lambda: gate(job())),
        ("AUTONOMATH_FACT_SIGN", "63 hex digits", "expected 64")),
    "key not hex": (
        lambda job, tmp: with_key("zz" * 32, lambda: gate(job())), ("AUTONOMATH_FACT_SIGN", "not hex", "expected 64")),
    "key required": (
        lambda job, tmp: gate(job("signing: {required: true}\n")), ("signing.required is true", "not set")),
    "key file open to all": (open_key_file, ("/key", "0644", "expected 0600", "chmod 600")),
    "key file missing": (
        lambda job, tmp: gate(job(f"signing: {{key_file: {tmp}/nokey}}\n")),
        ("nokey", "No such file", "(?i)expected|check|set ")),
    "drifted name": (
        lambda job, tmp: gate(job("tables: {facts: {key: fact_id}}\n")),
        ("am_entity_facts", 'no column "fact_id"', "line 3", "set key: id")),
    "table missing": (table_missing, ("am_backfill_chunk", "no such table", "ApplySchema")),
    "no plan": (lambda job, tmp: chunk(job()), ("plan.json", "missing or torn", "(?i)run")),
    "another budget": (
        lambda job, tmp: planned(planned(job()), max_rows=5),
        ("plan.json", "no --max-rows", "--max-rows 5", "--run-id")),
    "no such chunk": (lambda job, tmp: chunk(planned(job()), 99), ("--chunk 99", "has chunks 1 to 1")),
    "other rules": (
        lambda job, tmp: (planned(job()), chunk(job("derivation: {attester: me}\n"))),
        ("plan.json", "another derivation", "--run-id")),
    "other key": (key_changed, ("run r", "no signing key", "--run-id")),
    "foreign marker": (foreign_marker, ("chunk-000001.json", "belongs to plan f", "the current plan is", "--run-id")),
    "locked": (locked, ("sample.db", "locked by another writer", "lock_timeout_seconds", "Run the same command")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUT)
def test_9_bad_input_ends_in_a_message_that_says_all_it_should(name: str, job_file: Any, tmp_path: Path) -> None:
    act, parts = BAD_INPUT[name]
    with pytest.raises(ProvenanceError) as caught:
        act(job_file, tmp_path)
    message = str(caught.value)
    for part in parts:
        assert re.search(part if part.startswith("(?i)") else re.escape(part), message), message
    assert re.search(r"Nothing (of this batch )?was written|\d+ rows written", message), message
    assert caught.value.__cause__ is None and KEY not in message and "hush" not in message


def test_9_the_command_line_shows_the_message_once_and_no_traceback(sample: Any, luigi: Any) -> None:
    made = sample()
    for number, (arguments, key, words) in enumerate((
        (("--job", "no/such.yaml"), None, "there is no such job file"),
        (("--max-rows", "0"), None, "--max-rows 0: expected 1 or more"),
        ((), "ab", "has 2 hex digits, expected 64"),
    )):  # fmt: skip
        finished = luigi("Report", "--no-lock", *arguments, store=made, key=key, run_id=f"run-{number}")
        assert finished.code != 0
        assert finished.output.count(words) == 1, finished.output
        assert "Traceback" not in finished.output, finished.output


def test_9_a_key_that_went_bad_after_planning_is_said_once(sample: Any, luigi: Any) -> None:
    """No retry can mend it, so none is made."""
    made = sample()
    assert luigi("PlanChunks", "--no-lock", store=made, key=KEY).code == 0
    finished = luigi("Report", "--no-lock", "--scheduler-retry-delay", "1", store=made, key="ab")
    assert finished.code == 30
    assert finished.output.count("has 2 hex digits, expected 64") == 1, finished.output


# -- 10. The job talks to no network service but its database and its scheduler ----------------------


def watched(luigi: Any, made: Any, into: Path, *arguments: str, **options: Any) -> tuple[Any, list[str]]:
    """A run that gets no network but loopback, and every use of a socket it tried."""
    spec = {"network": str(into)}
    finished = luigi(
        "Report", "--no-lock", *arguments, store=made, key=KEY, python=(RUNNER,), env={"CRASH": json.dumps(spec)},
        **options,
    )  # fmt: skip
    return finished, into.read_text().splitlines() if into.exists() else []


def test_10_with_a_local_scheduler_no_socket_is_used_at_all(sample: Any, luigi: Any, tmp_path: Path) -> None:
    finished, used = watched(luigi, sample(), tmp_path / "network")
    assert finished.code == 0, finished.output
    assert used == []
    assert finished.report()["signatures"]["signed"] > 0


def test_10_with_luigid_nothing_but_the_scheduler_is_called(sample: Any, luigi: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = "from luigi.cmdline import luigid; luigid()"
    where = ["--address", "127.0.0.1", "--port", port, "--state-path", str(tmp_path / "state.pickle")]
    luigid = subprocess.Popen(
        [sys.executable, "-c", script, *where],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
    )  # fmt: skip
    try:
        wait_for_port(int(port))
        finished, used = watched(
            luigi, sample(), tmp_path / "network", "--scheduler-host", "127.0.0.1", "--scheduler-port", port,
            local_scheduler=False,
        )  # fmt: skip
    finally:
        luigid.kill()
        luigid.wait()
    assert finished.code == 0, finished.output
    assert used, "the scheduler was not called: the watch does not see"
    assert {line.split()[1] for line in used} == {"127.0.0.1"}


def wait_for_port(port: int) -> None:
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"nothing listens on port {port}")
