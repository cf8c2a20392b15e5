"""Compiles statements against the real database, executing none, and judges the plans that it makes for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import apsw

from tasks.contract.findings import Drift
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.sql.declarations import plan_of, program_of
from tasks.stores.sqlite.sql.spelling import STAGING, Statement


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
class LargeTables:
    """Aliases in the statements of a suite and the tables they stand for; `subject` heads a message."""

    names: dict[str, str]
    subject: Callable[[Statement], str]


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
        connection.execute(program_of(statement.sql)).fetchall()
        return ()
    rows = connection.execute(plan_of(statement.sql), bindings).fetchall()
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
