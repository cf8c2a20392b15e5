"""The gate: what must hold before any statement of a run reaches a real database.

1. The engine is a safe one and the text encoding is UTF-8.
2. The contract resolves into a binding; if not, all drift is reported at once.
3. Every statement of the run compiles against the real database under the live run's guard.
4. No statement that runs per batch would scan or sort a large table.
5. The write path is rehearsed on an empty copy of the job's tables in memory: rows of every shape go in, are
   replaced once, and come back as they were, so that no CHECK, default, trigger or affinity can surprise later.

Nothing here executes a statement of the run on the real database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import apsw

from tasks.contract.binding import Binding, SidecarBinding
from tasks.contract.catalogue import Catalogue, fingerprint
from tasks.contract.findings import Drift
from tasks.contract.resolving import resolve, resolve_sidecar
from tasks.core.errors import DriftError
from tasks.job.settings import Settings
from tasks.stores.sqlite.catalogue import read_catalogue, schema_version, text_encoding
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.own_rules import own_rules
from tasks.stores.sqlite.rehearsal import rehearse, rehearse_sealing
from tasks.stores.sqlite.schema_file import ledger_columns
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, setup_statements
from tasks.stores.sqlite.sql.indexes import CountedIndex, counted_indexes
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.spelling import STAGING, Statement
from tasks.stores.sqlite.stale import answer_is_stale
from tasks.stores.sqlite.unregistered import told_by_object


@dataclass(frozen=True)
class CompiledStatement:
    """A statement together with the plan the real database made for it."""

    statement: Statement
    plan: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The statement as schema.json lists it."""
        s = self.statement
        return {"name": s.name, "sql": s.sql, "scale": s.scale, "writes": s.writes, "plan": list(self.plan)}


@dataclass(frozen=True)
class Verification:
    """A database that passed the gate. `fingerprint` is SHA-256 over the declared shape of the bound tables."""

    engine: str
    binding: Binding
    fingerprint: str
    schema_version: int
    compiled: tuple[CompiledStatement, ...]
    checks: tuple[str, ...]
    catalogue: Catalogue
    own_rules: tuple[str, ...]
    indexes: tuple[CountedIndex, ...]

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """The content of schema.json."""
        return {
            "engine": {"name": "SQLite", "version": self.engine},
            "database": str(settings.database_path),
            "fingerprint": self.fingerprint,
            "binding_digest": self.binding.digest,
            "binding": _roles(self.binding),
            "absences": [*self.binding.absences, *self.own_rules],
            "checks": list(self.checks),
            "statements": [
                {"name": s.name, "sql": s.sql, "scale": s.scale, "writes": s.writes, "plan": plan}
                for s, plan in _all_statements(self, settings)
            ],
        }


def _roles(binding: Binding) -> dict[str, Any]:
    """The binding, with the numbers of rows under SQLite's name for them."""
    names = {"key_is_number": "key_is_rowid", "row_number": "rowid"}
    return {
        role: {names.get(name, name): one for name, one in value.items()} if isinstance(value, dict) else value
        for role, value in asdict(binding).items()
    }


def _all_statements(verification: Verification, settings: Settings) -> Iterator[tuple[Statement, list[str]]]:
    seen = set()
    for write in (False, True):
        for statement in setup_statements(cache_mib=settings.pacing.cache_mib, write=write):
            if statement.name not in seen:
                seen.add(statement.name)
                yield statement, []
    for statement in CATALOGUE_STATEMENTS:
        yield statement, []
    for compiled in verification.compiled:
        yield compiled.statement, list(compiled.plan)


def live_guard(binding: Binding) -> Guard:
    """What a live run may write: see Promise 1."""
    ledger = binding.ledger
    return Guard(
        insert=binding.writable,
        update=(binding.metadata.table, ledger.run, ledger.chunk),
    )


def verify(
    connection: apsw.Connection, settings: Settings, *, more: Callable[[Binding], Iterable[Statement]] = lambda _: ()
) -> Verification:
    """Pass a database through the gate, or raise DriftError with everything that is wrong with it.

    `more` adds statements to those of a run. Leaves the live run's guard installed on the connection: the binding
    decides what may be written.
    """
    connection.authorizer = Guard()
    version = schema_version(connection)
    refuse_unusable(connection, settings)
    catalogue = read_catalogue(connection, configured_names(settings))
    resolved = resolve(settings, catalogue, ledger_columns())
    if isinstance(resolved, list):
        raise drift_error(resolved)
    guard = live_guard(resolved)
    connection.authorizer = guard
    answer_is_stale(connection, settings)
    indexes = counted_indexes(resolved, catalogue)
    counts = dict.fromkeys(statement for index in indexes for statement in (index.of_table, index.of_index))
    statements = (*build_statements(resolved), *counts, *more(resolved))
    compiled, problems = compile_statements(connection, statements, guard, _large_tables(resolved))
    drift = told_by_object(problems, catalogue)
    if not drift:
        drift = _rehearse(resolved, catalogue)
    if drift:
        raise drift_error(drift)
    return Verification(
        engine=apsw.sqlite_lib_version(),
        binding=resolved,
        fingerprint=fingerprint(catalogue, resolved.tables),
        schema_version=version,
        compiled=tuple(compiled),
        checks=(
            "the engine has no known corruption bug and the text encoding is UTF-8",
            "every role of the contract is bound to a table and column that exist",
            "every statement compiles under the guard of a live run",
            "no statement that runs per batch scans or sorts a large table",
            "rows of every shape were written, replaced and read back on an empty copy in memory",
        ),
        catalogue=catalogue,
        indexes=indexes,
        own_rules=own_rules(resolved, catalogue),
    )


@dataclass(frozen=True)
class SidecarVerification:
    """What was attested, verified for one kind of session: its statements compiled under its guard."""

    binding: SidecarBinding
    schema_version: int
    compiled: tuple[CompiledStatement, ...]

    @property
    def sql(self) -> dict[str, str]:
        return {c.statement.name: c.statement.sql for c in self.compiled}


def verify_sidecar(
    connection: apsw.Connection,
    settings: Settings,
    *,
    build: Callable[[SidecarBinding], Iterable[Statement]],
    guard: Callable[[SidecarBinding], Guard],
    seals: bool,
) -> SidecarVerification:
    """The gate for sessions that need the attestations but not the facts. Leaves the guard installed.

    One that `seals` has its writes rehearsed on an empty copy in memory too.

    Raises DriftError with everything that is wrong.
    """
    connection.authorizer = Guard()
    version = schema_version(connection)
    refuse_unusable(connection, settings)
    catalogue = read_catalogue(connection, configured_names(settings))
    resolved = resolve_sidecar(settings, catalogue, ledger_columns())
    if isinstance(resolved, list):
        raise drift_error(resolved)
    installed = guard(resolved)
    connection.authorizer = installed
    tables = LargeTables({"l": resolved.log.table, "m": resolved.metadata.table}, lambda _: resolved.log.table)
    compiled, problems = compile_statements(connection, build(resolved), installed, tables)
    drift = told_by_object(problems, catalogue) + _refuse_other_ids(settings, catalogue, resolved)
    if seals and not drift:
        drift += _rehearse_sealing_cached(resolved, catalogue)
    if drift:
        raise drift_error(drift)
    return SidecarVerification(resolved, version, tuple(compiled))


@lru_cache(maxsize=4)
def _rehearse_sealing_cached(binding: SidecarBinding, catalogue: Catalogue) -> tuple[Drift, ...]:
    return tuple(rehearse_sealing(binding, catalogue, Guard(insert=(binding.ledger.tile, binding.ledger.checkpoint))))


def _refuse_other_ids(settings: Settings, catalogue: Catalogue, binding: SidecarBinding) -> list[Drift]:
    """Leaves are given in the order of the ids, so these must be integers that SQLite itself orders."""
    table = catalogue.table(binding.log.table)
    if table is None or table.numbered_by == binding.log.attestation_id:
        return []
    where = f"tables.attestation_log.attestation_id, {settings.where('tables.attestation_log.attestation_id')}"
    problem = f'"{binding.log.attestation_id}" is not its INTEGER PRIMARY KEY'
    return [Drift(table.name, problem, where, "The log cannot be sealed without: compare config/schema/sqlite.sql.")]


def drift_error(drift: list[Drift]) -> DriftError:
    """All drift as one error, a line each."""
    lines = list(dict.fromkeys(str(item) for item in drift))
    if len(lines) == 1:
        return DriftError(f"{lines[0]} Nothing was written.")
    return DriftError("\n".join([f"{len(lines)} things to mend:", *lines, "Nothing was written."]))


def configured_names(settings: Settings) -> tuple[str, ...]:
    """Every table that the job file names."""
    tables = settings.tables
    named = (tables.facts, tables.source, tables.metadata, tables.attestation_log)
    return (*(table.name for table in named), *tables.ledger.model_dump().values())


def refuse_unusable(connection: apsw.Connection, settings: Settings) -> None:
    """What no binding could be made of, before anything else is asked: raises DriftError, one line.

    In another text encoding every name comes as other bytes, and nothing that is said of the tables would be true.
    """
    path = settings.database_path
    encoding = text_encoding(connection)
    if encoding != "UTF-8":
        mend = "Dump it and load it into a database made with PRAGMA encoding = 'UTF-8'."
        raise drift_error(
            [Drift(f"database {path}", f"text encoding is {encoding}, only UTF-8 is supported", "", mend)]
        )
    hidden = [name for name in configured_names(settings) if name.lower() == STAGING]
    if hidden:
        mend = "Rename the table, or name the one that is meant in the job file."
        raise drift_error([Drift(hidden[0], "this is what the job calls its temporary table", "", mend)])


@dataclass(frozen=True)
class LargeTables:
    """Aliases in the statements of a suite and the tables they stand for; `subject` heads a message."""

    names: dict[str, str]
    subject: Callable[[Statement], str]


def _large_tables(binding: Binding) -> LargeTables:
    names = {"f": binding.facts.table, "m": binding.metadata.table, **dict.fromkeys(("l", "x", "e"), binding.log.table)}
    if binding.source:
        names["s"] = binding.source.table
    return LargeTables(names, lambda statement: _subject(statement, binding))


def compile_statements(
    connection: apsw.Connection, statements: Iterable[Statement], guard: Guard, tables: LargeTables
) -> tuple[list[CompiledStatement], list[Drift]]:
    """Compile statements, executing none, under a guard that is installed already; all that is wrong at once."""
    compiled, drift = [], []
    for statement in statements:
        result = _compile(connection, statement, guard, tables)
        drift.extend(result if isinstance(result, list) else [])
        compiled.extend([result] if isinstance(result, CompiledStatement) else [])
    return compiled, drift


def _compile(
    connection: apsw.Connection, statement: Statement, guard: Guard, tables: LargeTables
) -> CompiledStatement | list[Drift]:
    """Compile without executing, and read the plan. Raises nothing for what a schema can cause."""
    guard.denied = None
    try:
        plan = _plan(connection, statement)
    except apsw.AuthError:
        mend = "The job writes to its own tables only, and no trigger may fire on that: drop it."
        return [Drift(tables.subject(statement), f"{statement.name} would do {guard.denied}", "", mend)]
    except apsw.SQLError as error:
        mend = "Compare the table with tasks/stores/sqlite/schema.sql."
        return [Drift(tables.subject(statement), f"{statement.name} does not compile: {error}", "", mend)]
    problems = plan_problems(plan, tables.names) if statement.scale == "batch" else []
    if problems:
        mend = (
            "Add an index on the column that is looked up, with the type of the column it is compared to. If there is "
            "one, the statistics mislead SQLite: run ANALYZE in the sqlite3 shell."
        )
        return [
            Drift(tables.subject(statement), f"{statement.name} would {p} for every batch", "", mend) for p in problems
        ]
    return CompiledStatement(statement, plan)


def _plan(connection: apsw.Connection, statement: Statement) -> tuple[str, ...]:
    bindings: Any = (None,) * statement.positional if statement.positional else _Anything()
    if not statement.sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
        connection.execute(f"EXPLAIN {statement.sql}").fetchall()
        return ()
    rows = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", bindings).fetchall()
    return tuple(str(row[3]) for row in rows)


class _Anything(dict[str, None]):
    """Binds NULL to every named parameter: a plan does not depend on the values."""

    def __missing__(self, key: str) -> None:
        return None


_SMALL = (f"temp.{STAGING}", STAGING, "b", "CONSTANT")
"""What may be scanned: the staged batch, and the rows of a subquery, whose own scans have lines of their own."""


def plan_problems(plan: Iterable[str], names: dict[str, str], *, small: tuple[str, ...] = _SMALL) -> list[str]:
    """What this plan does that grows with the size of the store, in words. `small` may be scanned."""
    found = []
    for line in plan:
        words = line.split()
        if words[0] == "SCAN" and words[1] not in small and not words[1].startswith("(subquery-"):
            found.append(f"scan {names.get(words[1], words[1])} from end to end")
        elif "AUTOMATIC" in words:
            found.append(f"build an index over {names.get(words[1], words[1])}")
        elif line.startswith("USE TEMP B-TREE"):
            found.append(f"sort ({line.lower()})")
    return found


def _subject(statement: Statement, binding: Binding) -> str:
    """The table that a statement is about, for the head of a message."""
    ledger = binding.ledger
    by_word = {
        "metadata": binding.metadata.table, "sources": binding.metadata.table, "log": binding.log.table,
        "run": ledger.run, "chunk": ledger.chunk, "chunks": ledger.chunk, "failure": ledger.chunk,
        "ledger": ledger.batch,
        "reject": ledger.reject, "rejected": ledger.reject,
    }  # fmt: skip
    return next((by_word[word] for word in statement.name.split("_") if word in by_word), binding.facts.table)


def _rehearse(binding: Binding, catalogue: Catalogue) -> list[Drift]:
    return list(_rehearse_cached(binding, catalogue))


@lru_cache(maxsize=4)
def _rehearse_cached(binding: Binding, catalogue: Catalogue) -> tuple[Drift, ...]:
    """The same declarations always rehearse alike, so one process does it once."""
    return tuple(rehearse(binding, catalogue, live_guard(binding)))
