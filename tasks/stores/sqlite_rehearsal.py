"""Writes rows of every shape to an empty copy of the job's tables, in memory, before the real ones are touched.

1. Declare the tables, indexes and triggers that the job writes to, as the real database declares them.
2. Write one batch: signed and placeholder rows, with and without source and band; log, ledger, reject.
3. Replace the row that had no source, as a later run would.
4. Read every row back and compare.

What SQLite refuses or changes on the way is drift of the real table.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

import apsw

from tasks.engine.contract import Binding, Catalogue, Drift
from tasks.stores.sqlite_guard import Guard
from tasks.stores.sqlite_sql import build_statements, quoted, setup_statements

_NOW = "2026-05-12T01:23:45.000Z"
_SIGNED = b"\x01" + bytes(7) + bytes(range(64)) + bytes(8)
_PLACEHOLDER = bytes(64)
_MEND = "Compare the table with config/schema/sqlite.sql."

_ROWS: tuple[tuple[Any, ...], ...] = (
    ("-1", "https://例え.jp/出典?q=補助金", _NOW, 0.0, 1.0, _SIGNED),
    ("0012", None, _NOW, None, None, _PLACEHOLDER),
    ("事実-7", "7", _NOW, 0.45, 0.55, _SIGNED),
)
_REPLACED = ("0012", "https://example.test/found-later", _NOW, 1.0, 1.0, _SIGNED)


def rehearse(binding: Binding, catalogue: Catalogue, guard: Guard) -> list[Drift]:
    """Rehearse the write path on a copy. Returns what would go wrong on the real tables, or nothing."""
    with closing(apsw.Connection(":memory:")) as copy:
        for statement in setup_statements(cache_mib=1, write=True):
            copy.execute(statement.sql).fetchall()
        try:
            _declare(copy, binding, catalogue)
        except apsw.Error as error:
            return [Drift(binding.metadata.table, f"its declaration cannot be rehearsed: {error}", "", _MEND)]
        copy.authorizer = guard
        return _write(copy, binding)


def _declare(copy: apsw.Connection, binding: Binding, catalogue: Catalogue) -> None:
    for name in binding.writable:
        table = catalogue.table(name)
        for sql in table.sql if table else ():
            copy.execute(sql).fetchall()


def _write(copy: apsw.Connection, binding: Binding) -> list[Drift]:
    sql = {statement.name: statement.sql for statement in build_statements(binding)}
    chunk = {"run_id": "rehearsal", "chunk": 1, "plan_id": "rehearsal", "now": _NOW, "host": "localhost", "pid": 1}
    counts = dict.fromkeys(
        ("eligible", "inserted", "updated", "unchanged", "rejected", "signed", "placeholder",
         "created_at_missing", "confidence_not_numeric"), 0
    )  # fmt: skip
    written = {"attester": "rehearsal", "now": _NOW}
    steps: list[tuple[str, str, Any]] = [
        (binding.ledger.run, "open_run", {**chunk, "plan": "{}", "attester": "rehearsal", "key_id": None}),
        (binding.ledger.chunk, "claim_chunk", {**chunk, **_bounds("after", None), **_bounds("through", 9)}),
        *((binding.metadata.table, "stage_row", (*row, 0)) for row in _ROWS),
        (binding.metadata.table, "insert_metadata", written),
        (binding.log.table, "append_log", written),
        (binding.metadata.table, "clear_staging", {}),
        (binding.metadata.table, "stage_row", (*_REPLACED, 1)),
        (binding.metadata.table, "update_metadata", written),
        (binding.log.table, "append_log", written),
        (binding.ledger.reject, "reject_fact", {**chunk, "fact_id": "1.5", "reason": "rehearsal", "detail": ""}),
        (
            binding.ledger.chunk,
            "advance_chunk",
            {**chunk, **counts, **_bounds("cursor", 9), **_bounds("expected", None), "state": "done", "seconds": 0.1},
        ),
        (binding.ledger.run, "finish_run", chunk),
    ]
    for table, name, parameters in steps:
        try:
            copy.execute(sql[name], parameters).fetchall()
        except apsw.Error as error:
            return [Drift(table, f"a row of this job would be refused: {error}", "", _MEND)]
    return _compare(copy, binding)


def _bounds(name: str, value: int | None) -> dict[str, Any]:
    return {name: value, f"{name}_is_text": 0}


def _compare(copy: apsw.Connection, binding: Binding) -> list[Drift]:
    """Every value must come back as it went in: same bytes, same type."""
    m = binding.metadata
    columns = (m.fact_id, m.source_doc, m.extracted_at, m.confidence_lower, m.confidence_upper, m.ed25519_sig)
    query = f"SELECT {', '.join(map(quoted, columns))} FROM {quoted(m.table)}"
    found = sorted(copy.execute(query).fetchall(), key=repr)
    expected = sorted((_ROWS[0], _REPLACED, _ROWS[2]), key=repr)
    drift = list(_differences(m.table, columns, expected, found))
    log_rows = copy.execute(f"SELECT count(*) FROM {quoted(binding.log.table)}").fetchall()[0][0]
    if log_rows != len(_ROWS) + 1:
        drift.append(Drift(binding.log.table, f"{len(_ROWS) + 1} rows were logged, {log_rows} are there", "", _MEND))
    return drift


def _differences(
    table: str, columns: tuple[str, ...], expected: list[tuple[Any, ...]], found: list[Any]
) -> Iterable[Drift]:
    if len(expected) != len(found):
        yield Drift(table, f"{len(expected)} rows were written, {len(found)} are there", "", _MEND)
        return
    seen = set()
    for wanted_row, found_row in zip(expected, found, strict=True):
        for column, wanted, got in zip(columns, wanted_row, found_row, strict=True):
            if column not in seen and (type(wanted) is not type(got) or wanted != got):
                seen.add(column)
                yield Drift(table, f'"{column}" turns {wanted!r} into {got!r}', "", _MEND)
