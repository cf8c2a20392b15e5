"""The gate: what must hold before any statement of a run reaches a real database.

1. The engine is a safe one and the text encoding is UTF-8.
2. The contract resolves into a binding; if not, all drift is reported at once.
3. Every statement of the run compiles against the real database under the live run's guard.
4. No statement that runs per batch would scan or sort a large table.
5. The write path is tried on an empty copy of the job's tables in memory: rows of every shape go in, are
   replaced once, and come back as they were, so that no CHECK, default, trigger or affinity can surprise later.

Nothing here executes a statement of the run on the real database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import apsw

from tasks.contract.binding import Binding
from tasks.contract.catalogue import Catalogue, fingerprint
from tasks.contract.findings import Drift
from tasks.contract.resolving import resolve
from tasks.job.settings import Settings
from tasks.stores.sqlite.catalogue import read_catalogue, schema_version
from tasks.stores.sqlite.compiling import CompiledStatement, LargeTables, compile_statements
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.own_rules import own_rules
from tasks.stores.sqlite.refusing import configured_names, drift_error, refuse_unusable
from tasks.stores.sqlite.schema_file import ledger_columns
from tasks.stores.sqlite.sql.connection import CATALOGUE_STATEMENTS, setup_statements
from tasks.stores.sqlite.sql.indexes import CountedIndex, counted_indexes
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.spelling import Statement
from tasks.stores.sqlite.stale import answer_is_stale
from tasks.stores.sqlite.trial import try_writes
from tasks.stores.sqlite.unregistered import told_by_object

_CHECKS = (
    "the engine has no known corruption bug and the text encoding is UTF-8",
    "every role of the contract is bound to a table and column that exist",
    "every statement compiles under the guard of a live run",
    "no statement that runs per batch scans or sorts a large table",
    "rows of every shape were written, replaced and read back on an empty copy in memory",
)
"""What a database has passed, in the words of schema.json."""


@dataclass(frozen=True)
class Gated:
    """A database that passed the gate. `fingerprint` is SHA-256 over the declared shape of the bound tables."""

    engine: str
    binding: Binding
    fingerprint: str
    schema_version: int
    compiled: tuple[CompiledStatement, ...]
    catalogue: Catalogue
    own_rules: tuple[str, ...]
    indexes: tuple[CountedIndex, ...]

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """The content of schema.json."""
        return {
            "engine": {"name": "SQLite", "version": self.engine},
            "database": str(settings.place.path),
            "fingerprint": self.fingerprint,
            "binding_digest": self.binding.digest,
            "binding": _roles(self.binding),
            "absences": [*self.binding.absences, *self.own_rules],
            "checks": list(_CHECKS),
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


def _all_statements(gated: Gated, settings: Settings) -> Iterator[tuple[Statement, list[str]]]:
    seen = set()
    for write in (False, True):
        for statement in setup_statements(cache_mib=settings.sqlite.cache_mib, write=write):
            if statement.name not in seen:
                seen.add(statement.name)
                yield statement, []
    for statement in CATALOGUE_STATEMENTS:
        yield statement, []
    for compiled in gated.compiled:
        yield compiled.statement, list(compiled.plan)


def live_guard(binding: Binding) -> Guard:
    """What a live run may write: see Promise 1."""
    ledger = binding.ledger
    return Guard(
        insert=binding.writable,
        update=(binding.metadata.table, ledger.run, ledger.chunk),
    )


def pass_gate(
    connection: apsw.Connection, settings: Settings, *, more: Callable[[Binding], Iterable[Statement]] = lambda _: ()
) -> Gated:
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
        drift = _try_writes(resolved, catalogue)
    if drift:
        raise drift_error(drift)
    return Gated(
        engine=apsw.sqlite_lib_version(),
        binding=resolved,
        fingerprint=fingerprint(catalogue, resolved.tables),
        schema_version=version,
        compiled=tuple(compiled),
        catalogue=catalogue,
        indexes=indexes,
        own_rules=own_rules(resolved, catalogue),
    )


def _large_tables(binding: Binding) -> LargeTables:
    names = {"f": binding.facts.table, "m": binding.metadata.table, **dict.fromkeys(("l", "x", "e"), binding.log.table)}
    if binding.source:
        names["s"] = binding.source.table
    return LargeTables(names, lambda statement: _subject(statement, binding))


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


def _try_writes(binding: Binding, catalogue: Catalogue) -> list[Drift]:
    return list(_try_writes_cached(binding, catalogue))


@lru_cache(maxsize=4)
def _try_writes_cached(binding: Binding, catalogue: Catalogue) -> tuple[Drift, ...]:
    """The same declarations always take writes alike, so one process does it once."""
    return tuple(try_writes(binding, catalogue, live_guard(binding)))
