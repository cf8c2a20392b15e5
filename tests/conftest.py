"""What the tests share: stores made from the canonical schema, settings, runs in process and on the command line.

No test declares a table by hand. A store that drifted is the canonical schema with one thing changed:

    store(lambda schema: schema.rename_column("am_entity_facts", "id", "fact_id"))
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import hypothesis
import pytest
import yaml

from tasks.backfill.attempt import run_chunk
from tasks.backfill.planning import plan_run
from tasks.core.clock import now_text
from tasks.core.errors import DriftError
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings, load_settings
from tasks.reporting.close import close_run
from tasks.runs.gate import verify_schema
from tasks.runs.markers import chunk_is_done
from tasks.runs.plans import read_plan
from tasks.sealed_log.seal import is_sealed, seal_run
from tasks.stores.sqlite.schema_file import canonical_statements
from tasks.stores.sqlite.session import open_session

ROOT = Path(__file__).parents[1]
KEY_VARIABLE = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
CREATED_AT = f"{now_text()[:10]}T00:00:00.000Z"  # today: a plan of another time than its run is refused
SMALL_PACING = {"chunk_rows": 10, "batch_rows": 4, "lock_timeout_seconds": 2, "cache_mib": 1}
_OF_THE_JOB = (
    KEY_VARIABLE, f"{KEY_VARIABLE}_SIGNS", "PROVENANCE_REQUIRE_BOUND_KEYS", "AUTONOMATH_DB_PATH",
    "PROVENANCE_STATE_DIR", "PROVENANCE_KEY_NAME", "LUIGI_CONFIG_PATH",
)  # fmt: skip

hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")  # no test may fail because the machine is slow


def quoted(name: str) -> str:
    """An identifier as SQL text."""
    return '"' + name.replace('"', '""') + '"'


class Schema:
    """The canonical CREATE statements, to be changed before a store is made of them. Every method gives the schema.

    A change that finds nothing to change is an error, so that no test passes for a mutation that did not happen.
    """

    def __init__(self) -> None:
        self._statements = [list(statement) for statement in canonical_statements()]
        self._then: list[str] = []

    def text(self, name: str) -> str:
        """The statement that creates the object of that canonical name."""
        return next(text for _, found, _, text in self._statements if found == name)

    def replace(self, name: str, old: str, new: str) -> Schema:
        """Change a part of one statement. Runs of blanks count as one."""
        text = " ".join(self.text(name).split())
        assert old in text, f"{old!r} is not in: {text}"
        for statement in self._statements:
            if statement[1] == name:
                statement[3] = text.replace(old, new)
        return self

    def rename_table(self, old: str, new: str) -> Schema:
        """Everywhere: in its own statement, in its indexes and in the views."""
        self._replace_token(old, new, [statement[1] for statement in self._statements])
        return self

    def rename_column(self, table: str, old: str, new: str) -> Schema:
        """In the table and in its indexes; the views keep the old name."""
        self._replace_token(old, new, [name for _, name, on_table, _ in self._statements if on_table == table])
        return self

    def drop_column(self, table: str, column: str) -> Schema:
        """With the CHECKs that hold it and the indexes on it alone; an index on more loses the column."""
        head, parts = self.parts(table)
        kept = [part for part in parts if not re.search(rf"\b{column}\b", _without_reference(part))]
        assert len(kept) < len(parts), f"{table} has no {column}"
        self.declare(table, head, kept)
        for statement in self._statements:
            if statement[0] == "index" and statement[2] == table:
                statement[3] = re.sub(rf", {column}\b[^,)]*", "", statement[3])
        self._statements = [
            s for s in self._statements if not (s[0] == "index" and s[2] == table and re.search(rf"\b{column}\b", s[3]))
        ]
        return self

    def add(self, table: str, part: str) -> Schema:
        """One more column (put before the CHECKs and keys) or one more constraint (put last)."""
        head, parts = self.parts(table)
        is_constraint = part.split("(")[0].split()[0].upper() in ("CHECK", "PRIMARY", "UNIQUE", "FOREIGN")
        first = next((i for i, p in enumerate(parts) if p.split("(")[0].split()[0] in ("CHECK", "PRIMARY")), len(parts))
        parts.insert(len(parts) if is_constraint else first, part)
        return self.declare(table, head, parts)

    def change_column(self, table: str, column: str, declaration: str) -> Schema:
        """Give a column another declaration: `declaration` holds its name as well."""
        head, parts = self.parts(table)
        assert any(part.split()[0] == column for part in parts), f"{table} has no {column}"
        return self.declare(table, head, [declaration if part.split()[0] == column else part for part in parts])

    def table_option(self, table: str, option: str) -> Schema:
        """`STRICT` or `WITHOUT ROWID` at the end of a table's statement."""
        for statement in self._statements:
            if statement[1] == table:
                statement[3] += f" {option}"
        return self

    def drop(self, *names: str) -> Schema:
        """Leave out tables (with their indexes), indexes or views."""
        for name in names:
            assert any(name in (s[1], s[2]) for s in self._statements), name
        self._statements = [s for s in self._statements if s[1] not in names and s[2] not in names]
        return self

    def sidecar_missing(self) -> Schema:
        """Leave out everything that ApplySchema creates."""
        kept = ("am_source", "am_entity_facts", "am_fact_signature")
        self._statements = [s for s in self._statements if s[2] in kept]
        return self

    def then(self, *sql: str) -> Schema:
        """Statements to run after the schema is created: a trigger, an index, a view."""
        self._then += sql
        return self

    def statements(self) -> list[str]:
        return [*(text for _, _, _, text in self._statements), *self._then]

    def parts(self, table: str) -> tuple[str, list[str]]:
        """A table's statement as (text before the parenthesis, its columns and constraints)."""
        head, _, rest = self.text(table).partition("(")
        return head, [" ".join(part.split()) for part in _split_at_commas(rest[: rest.rindex(")")])]

    def declare(self, table: str, head: str, parts: Iterable[str]) -> Schema:
        for statement in self._statements:
            if statement[1] == table:
                statement[3] = f"{head}({', '.join(parts)})"
        return self

    def _replace_token(self, old: str, new: str, names: list[str]) -> None:
        found = 0
        for statement in self._statements:
            if statement[1] in names:
                statement[3], count = re.subn(rf"\b{old}\b", lambda _: quoted(new), statement[3])
                found += count
        assert found, f"nothing is called {old}"


def _without_reference(part: str) -> str:
    """A column's declaration without what it refers to: am_source (id) is not a column here."""
    return re.sub(r"REFERENCES.*", "", part)


def _split_at_commas(text: str) -> list[str]:
    """Split where a comma stands outside all parentheses."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


@dataclass
class Store:
    """One database file, with short ways to fill it and to look into it. Each call opens its own connection."""

    path: Path

    def execute(self, sql: str, *values: Any) -> list[Any]:
        """Run SQL as the application would: no guard, committed at once."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.set_busy_timeout(5000)
            return list(connection.execute(sql, values or None))

    rows = execute

    def insert(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        """Insert rows given as {column: value}, in one transaction."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection, connection:
            for row in rows:
                names, marks = ", ".join(map(quoted, row)), ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})", tuple(row.values()))

    def add_source(self, id: Any, source_url: Any, **columns: Any) -> None:
        self.insert("am_source", [{"id": id, "source_url": source_url, **columns}])

    def add_fact(self, id: Any, **columns: Any) -> None:
        self.add_facts([{"id": id, **columns}])

    def add_facts(self, facts: Iterable[dict[str, Any]]) -> None:
        """Facts given as {column: value}; entity_id and field_name need not be told."""
        self.insert(
            "am_entity_facts", [{"entity_id": "houjin:1", "field_name": "program.overview", **f} for f in facts]
        )

    def add_metadata(self, fact_id: Any, source_doc: Any = None, **columns: Any) -> None:
        """A metadata row as an earlier run left it: unsigned, and without a source unless one is given."""
        row = {"fact_id": fact_id, "source_doc": source_doc, "extracted_at": "2026-01-01T00:00:00.000Z",
               "verified_by": "etl_prov_backfill_v1", "ed25519_sig": bytes(64)}  # fmt: skip
        self.insert("am_fact_metadata", [{**row, **columns}])

    def metadata(self) -> dict[str, dict[str, Any]]:
        """The metadata rows by fact_id, each as {column: value}."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            cursor = connection.execute("SELECT * FROM am_fact_metadata")
            rows = list(cursor)
            names = [row[1] for row in connection.execute("PRAGMA table_xinfo(am_fact_metadata)")]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return {row["fact_id"]: row for row in found}

    def log(self) -> list[tuple[Any, ...]]:
        """(fact_id, attester, signature_hex) of the attestation log, oldest first."""
        sql = "SELECT fact_id, attester, signature_hex FROM am_fact_attestation_log ORDER BY attestation_id"
        return self.execute(sql)

    def rejects(self) -> list[tuple[Any, ...]]:
        """(fact_id, reason) of every reject, oldest first."""
        return self.execute("SELECT fact_id, reason FROM am_backfill_reject ORDER BY reject_id")

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT count(*) FROM {quoted(table)}")[0][0])


@pytest.fixture(autouse=True)
def _no_environment_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller's shell has set must not reach a test."""
    for name in _OF_THE_JOB:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Store]:
    """`store(*mutations, name="store.db", journal_mode="wal", encoding="UTF-8")` makes a database file.

    A mutation takes the Schema and changes it. Without one the store is canonical, and empty.
    """

    def make(
        *mutations: Callable[[Schema], Any],
        name: str = "store.db",
        journal_mode: str = "wal",
        encoding: str = "UTF-8",
    ) -> Store:
        schema = Schema()
        for mutate in mutations:
            mutate(schema)
        path = tmp_path / name
        assert not path.exists(), f"{path} is there already: give this store another name"
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute(f"PRAGMA encoding = '{encoding}'")
            connection.execute(f"PRAGMA journal_mode = {journal_mode}").fetchall()
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                for sql in schema.statements():
                    connection.execute(sql)
        return Store(path)

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """`settings(store, small=False, **sections)` writes a job file for the store and loads it.

    Sections go in as they stand in the job file: `pacing={"batch_rows": 7}`, `tables={"facts": {"key": "uuid"}}`.
    `small` takes chunks of 10 and batches of 4 facts. State goes to `<tmp_path>/state`.
    """

    def make(store: Store, *, small: bool = False, state_dir: str = "state", **sections: Any) -> Settings:
        content = {"database": str(store.path), "state_dir": str(tmp_path / state_dir), **sections}
        if small:
            content["pacing"] = {**SMALL_PACING, **content.get("pacing", {})}
        path = tmp_path / f"{store.path.stem}.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return load_settings(path, {})

    return make


@pytest.fixture
def created_at() -> str:
    """When the plans of `run` are made, and so the extracted_at of facts without a created_at."""
    return CREATED_AT


@pytest.fixture
def paths() -> Callable[..., RunPaths]:
    """`paths(settings, run_id="run-1", dry_run=False)`: where that run keeps its files."""

    def make(settings: Settings, run_id: str = "run-1", *, dry_run: bool = False) -> RunPaths:
        return RunPaths(Path(settings.state_dir), run_id, dry_run)

    return make


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """`run(settings, run_id="run-1", dry_run=False, max_rows=None)` is a whole run in this process, without Luigi.

    It does what the four tasks do, skips the chunks that are done, and gives the content of report.json.
    """

    def whole_run(
        settings: Settings,
        run_id: str = "run-1",
        *,
        dry_run: bool = False,
        max_rows: int | None = None,
        created_at: str = CREATED_AT,
        because: str | None = None,
    ) -> dict[str, Any]:
        paths = RunPaths(Path(settings.state_dir), run_id, dry_run)
        verify_schema(settings, paths)
        plan = read_plan(paths, settings) or plan_run(
            settings, paths, max_rows=max_rows, created_at=created_at, because=because
        )
        for planned in plan.chunks:
            if not chunk_is_done(settings, paths, planned.chunk):
                run_chunk(settings, paths, planned.chunk, progress=lambda _: None)
        if not is_sealed(settings, paths):
            seal_run(settings, paths)
        close_run(settings, paths)
        report: dict[str, Any] = json.loads(paths.report.read_text(encoding="utf-8"))
        return report

    return whole_run


@pytest.fixture
def signing_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key of 64 hex digits, configured for this test through the environment."""
    key = bytes(range(100, 132)).hex()
    monkeypatch.setenv(KEY_VARIABLE, key)
    return key


@pytest.fixture
def dump() -> Callable[[Path], dict[str, list[tuple[Any, ...]]]]:
    """`dump(path)` is every row of every ordinary table with its storage classes, to compare before and after."""

    def read(path: Path) -> dict[str, list[tuple[Any, ...]]]:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(5000)
            with connection:
                sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name"
                tables = [row[0] for row in connection.execute(sql) if not row[0].startswith("sqlite_")]
                return {table: sorted(_raw_rows(connection, table), key=repr) for table in tables}

    return read


def _raw_rows(connection: apsw.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    columns = [row[0] for row in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))]
    values = ", ".join(
        f"typeof({c}), CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END" for c in map(quoted, columns)
    )
    yield from connection.execute(f"SELECT {values} FROM {quoted(table)}")


@dataclass(frozen=True)
class Finished:
    """One command line that came to its end."""

    code: int
    stdout: str
    stderr: str
    state_dir: Path

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def report(self, run_id: str = "run-1", *, mode: str = "live") -> dict[str, Any]:
        """The report.json of a run; `mode` is live or dry-run."""
        path = self.state_dir / run_id / mode / "report.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content


@dataclass
class CommandLine:
    """The real command line: `python -m luigi --module tasks …` in the top level of the project."""

    state_dir: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __call__(self, task: str, *arguments: str, timeout: float = 120, **options: Any) -> Finished:
        """`luigi("Report", "--dry-run", store=store)` runs to the end; see `start` for the options."""
        process = self.start(task, *arguments, **options)
        stdout, stderr = process.communicate(timeout=timeout)
        return Finished(process.returncode, stdout, stderr, self.state_dir)

    def start(
        self,
        task: str,
        *arguments: str,
        store: Store | None = None,
        settings: Settings | None = None,
        run_id: str | None = "run-1",
        key: str | None = None,
        env: dict[str, str] | None = None,
        local_scheduler: bool = True,
        python: tuple[str, ...] = ("-m", "luigi"),
    ) -> subprocess.Popen[str]:
        """Start it and return at once; what is still alive when the test ends is killed.

        `store` goes to AUTONOMATH_DB_PATH, `settings` (its job file) to --job, `run_id` to --run-id unless the task
        takes none, `key` to the signing key variable; `env` is added last. `python` may name another way in, such
        as ("some_script.py",), which gets the same arguments.
        """
        command = [sys.executable, *python, "--module", "tasks", task, *arguments]
        command += ["--local-scheduler"] if local_scheduler else []
        command += ["--job", settings.job_file] if settings else []
        takes_run_id = task in ("Report", "BackfillChunk", "PlanChunks", "SchemaVerify")
        command += ["--run-id", run_id] if run_id and takes_run_id else []
        process = subprocess.Popen(
            command, cwd=ROOT, env={**self.environment(store, key), **(env or {})}, text=True, encoding="utf-8",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.started.append(process)
        return process

    def environment(self, store: Store | None = None, key: str | None = None) -> dict[str, str]:
        """This process's environment with nothing of the job's but what is given."""
        found = {name: value for name, value in os.environ.items() if name not in _OF_THE_JOB}
        found["PROVENANCE_STATE_DIR"] = str(self.state_dir)
        found |= {"AUTONOMATH_DB_PATH": str(store.path)} if store else {}
        return found | ({KEY_VARIABLE: key} if key is not None else {})


@pytest.fixture
def luigi(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line; `luigi(task, *arguments, store=…)` gives code, stdout, stderr and report()."""
    line = CommandLine(tmp_path / "state")
    yield line
    for process in line.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def drift(dump: Any) -> Callable[[Settings], str]:
    """`drift(settings)` passes the gate as a dry run and as a live run do; both must refuse, and write nothing.

    Gives the message, which is the same in both modes.
    """

    def refused(settings: Settings) -> str:
        before = dump(settings.database_path)
        messages = []
        for write in (False, True):
            with pytest.raises(DriftError) as caught, open_session(settings, write=write):
                pass
            messages.append(str(caught.value))
        assert dump(settings.database_path) == before
        assert messages[0] == messages[1]
        assert messages[0].endswith("Nothing was written.")
        return messages[0]

    return refused
