"""Writes rows of every shape to an empty copy of the job's tables, in memory, before the real ones are touched.

1. Declare the tables, indexes and triggers that the job writes to, as the real database declares them.
2. Write one batch: signed and placeholder rows, with and without source and band; log, ledger, reject.
3. Replace the row that had no source, as a later run would.
4. Read every row back and compare.

What SQLite refuses or changes on the way is drift of the real table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import apsw

from tasks.attestation.signature_column import KEY_ID_BYTES, PLACEHOLDER, build, signature_hex
from tasks.contract.binding import Binding, SidecarBinding
from tasks.contract.catalogue import Catalogue
from tasks.contract.findings import Drift
from tasks.stores.protocols.counts import Counts
from tasks.stores.protocols.states import DONE
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.sql.connection import setup_statements
from tasks.stores.sqlite.sql.declarations import every_row
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.sql.sealed_log import build_log_statements

_NOW = "2026-05-12T01:23:45.000Z"
_SIGNED = build(bytes(range(64)), bytes(KEY_ID_BYTES))
_TILE_COLUMNS = (
    "first_leaf", "leaves", "first_attestation_id", "last_attestation_id", "subtree_roots", "attestation_ids",
    "leaf_marks", "payload_digests",
)  # fmt: skip
_TILES = (
    (0, 1, -5, -5, bytes(32), None, bytes(8), bytes(32)),
    (1, 2, 1, 2**62, bytes(32) + b"\xff" * 32, bytes(16), bytes(16), bytes(64)),
)
_CHECKPOINT: dict[str, Any] = {
    "tree_size": 3, "root": bytes(32), "frontier": bytes(72), "last_attestation_id": 2**62,
    "note": "法令\n3\n\n— a b\n", "run_id": None, "now": _NOW,
}  # fmt: skip
_CHUNK = {"run_id": "trial", "chunk": 1, "plan_id": "trial", "now": _NOW, "host": "localhost", "pid": 1}
_BATCH = {
    "first_attestation_id": 1, "last_attestation_id": 2**62, "began_at": _NOW, "committed_at": _NOW,
    **{f"{name}_seconds": 0.1 for name in ("reading", "deriving", "signing", "waiting", "locked")},
}  # fmt: skip
_MEND = "Compare the table with tasks/stores/sqlite/schema.sql."

# Every shape of a row, and two that differ in nothing but the fact: the store has millions of those.
_ROWS: tuple[tuple[Any, ...], ...] = (
    ("-1", "https://例え.jp/出典?q=補助金", _NOW, 0.0, 1.0, _SIGNED),
    ("0012", None, _NOW, None, None, PLACEHOLDER),
    ("1e3", "7", _NOW, 0.45, 0.55, _SIGNED),
    ("1e4", "7", _NOW, 0.45, 0.55, _SIGNED),
    ("事実-7", None, _NOW, None, None, PLACEHOLDER),
)
_REPLACED = ("0012", "https://example.test/found-later", _NOW, 1.0, 1.0, _SIGNED)
_ATTESTER = "trial"


def try_writes(binding: Binding, catalogue: Catalogue, guard: Guard) -> list[Drift]:
    """Try the write path on a copy. Returns what would go wrong on the real tables, or nothing."""
    try:
        copy = declared_copy(binding, catalogue)
    except apsw.Error as error:
        return [Drift(binding.metadata.table, f"its declaration cannot be tried: {error}", "", _MEND)]
    with closing(copy):
        copy.authorizer = guard
        return _write(copy, binding)


def declared_copy(binding: Binding, catalogue: Catalogue) -> apsw.Connection:
    """The tables that a chunk writes to, empty and in memory. Raises apsw.Error if they cannot be declared there."""
    copy = apsw.Connection(":memory:")
    try:
        for statement in setup_statements(cache_mib=1, write=True):
            if statement.name != "foreign_keys":  # the tables that they refer to are not there
                copy.execute(statement.sql).fetchall()
        _declare_all(copy, binding.writable, catalogue)
    except BaseException:
        copy.close(True)
        raise
    return copy


def _declare_all(copy: apsw.Connection, names: Iterable[str], catalogue: Catalogue) -> None:
    for name in names:
        table = catalogue.table(name)
        for sql in table.sql if table else ():
            copy.execute(sql).fetchall()


def _write(copy: apsw.Connection, binding: Binding) -> list[Drift]:
    sql = {statement.name: statement.sql for statement in build_statements(binding)}
    for table, name, parameters, expected in _steps(binding):
        try:
            copy.execute(sql[name], parameters).fetchall()
        except apsw.Error as error:
            return [Drift(table, f"a row of this job would be refused: {error}", "", _MEND)]
        if expected is not None and copy.changes() != expected:
            problem = f"{name} would write {copy.changes()} rows instead of {expected}"
            return [Drift(table, problem, "", _MEND)]
    return [*_compare_metadata(copy, binding), *_compare_log(copy, binding)]


_Step = tuple[str, str, Any, "int | None"]


def _steps(binding: Binding) -> list[_Step]:
    """(table, statement, parameters, rows that must change) in the order of a real run."""
    written = {"attester": _ATTESTER, "now": _NOW}
    metadata, log = binding.metadata.table, binding.log.table
    return [
        *_open_steps(binding),
        *((metadata, "stage_row", (*row, signature_hex(row[-1]), 0), None) for row in _ROWS),
        (metadata, "insert_metadata", written, len(_ROWS)),
        (log, "append_log", written, len(_ROWS)),
        (metadata, "clear_staging", {}, None),
        (metadata, "stage_row", (*_REPLACED, signature_hex(_REPLACED[-1]), 1), None),
        (metadata, "update_metadata", written, 1),
        (log, "append_log", written, 1),
        *_close_steps(binding),
    ]


def _open_steps(binding: Binding) -> Iterator[_Step]:
    run = {**_CHUNK, "plan": "{}", "kind": "backfill", "attester": _ATTESTER, "key_id": None}
    yield binding.ledger.run, "open_run", run, 1
    for chunk in (1, 2):
        bounds = {**_bounds("after", None), **_bounds("through", 9)}
        yield binding.ledger.chunk, "claim_chunk", {**_CHUNK, **bounds, "chunk": chunk}, 1


def _close_steps(binding: Binding) -> Iterator[_Step]:
    yield binding.ledger.chunk, "note_failure", {**_CHUNK, "error": "法令"}, 1
    for _ in range(2):
        yield binding.ledger.reject, "reject_fact", {**_CHUNK, "fact_id": "1.5", "reason": "r", "detail": ""}, 1
    counts = Counts().by_name()
    bounds = {**_bounds("cursor", 9), **_bounds("expected", None)}
    yield binding.ledger.chunk, "advance_chunk", {**_CHUNK, **counts, **bounds, "state": DONE, "seconds": 0.1}, 1
    batch = {**_CHUNK, **counts, **_BATCH, **_bounds("after", None), **_bounds("through", 9)}
    for key_id, signed in (("0123456789abcdef", 1), (None, 0)):
        of_key = {
            "key_id": key_id,
            "content": bytes(64) if signed else None,
            "signed": signed,
            "inserted": signed,
            "eligible": signed,
        }
        yield binding.ledger.batch, "append_ledger_batch", {**batch, **of_key}, 1
    yield binding.ledger.run, "finish_run", {**_CHUNK, "stop_reason": "complete", "remaining": 0}, 1


def _bounds(name: str, value: int | None) -> dict[str, Any]:
    return {name: value, f"{name}_is_text": 0}


def _compare_metadata(copy: apsw.Connection, binding: Binding) -> Iterator[Drift]:
    m = binding.metadata
    columns = (m.fact_id, m.source_doc, m.extracted_at, m.confidence_lower, m.confidence_upper, m.ed25519_sig)
    expected = [row for row in _ROWS if row[0] != _REPLACED[0]] + [_REPLACED]
    yield from _differences(copy, m.table, columns, expected)


def _compare_log(copy: apsw.Connection, binding: Binding) -> Iterator[Drift]:
    log = binding.log
    columns = [log.fact_id, log.attester, log.signature_hex] + ([log.signed_at] if log.signed_at else [])
    expected = []
    for fact_id, *_, blob in [*_ROWS, _REPLACED]:
        expected.append((fact_id, _ATTESTER, signature_hex(blob), _NOW)[: len(columns)])
    yield from _differences(copy, log.table, tuple(columns), expected)


def _differences(
    copy: apsw.Connection, table: str, columns: tuple[str, ...], expected: list[tuple[Any, ...]]
) -> Iterator[Drift]:
    """Every value must come back as it went in, of the same type. The first column is the fact."""
    found: list[Any] = sorted(copy.execute(every_row(table, columns)).fetchall(), key=repr)
    expected = sorted(expected, key=repr)
    facts, came_back = [row[0] for row in expected], [row[0] for row in found]
    if facts != came_back:
        yield Drift(table, f'"{columns[0]}" turns {facts!r} into {came_back!r}', "", _MEND)
        return
    seen = set()
    for wanted_row, found_row in zip(expected, found, strict=True):
        for column, wanted, got in zip(columns, wanted_row, found_row, strict=True):
            if column not in seen and (type(wanted) is not type(got) or wanted != got):
                seen.add(column)
                yield Drift(table, f'"{column}" turns {wanted!r} into {got!r}', "", _MEND)


def try_sealing(binding: SidecarBinding, catalogue: Catalogue, guard: Guard) -> list[Drift]:
    """Write a tile of each kind and a checkpoint to empty copies of their tables, and read them back."""
    tables = (binding.ledger.tile, binding.ledger.checkpoint)
    sql = {statement.name: statement.sql for statement in build_log_statements(binding)}
    with closing(apsw.Connection(":memory:")) as copy:
        name = tables[0]
        try:
            _declare_all(copy, tables, catalogue)
            copy.authorizer = guard
            for tile in _TILES:
                copy.execute(sql["append_tile"], tile).fetchall()
            name = tables[1]
            copy.execute(sql["append_checkpoint"], _CHECKPOINT).fetchall()
        except apsw.Error as error:
            return [Drift(name, f"a row of this job would be refused: {error}", "", _MEND)]
        checkpoint = ("tree_size", "root", "frontier", "last_attestation_id", "note")
        expected = [tuple(_CHECKPOINT[column] for column in checkpoint)]
        return [
            *_differences(copy, tables[0], _TILE_COLUMNS, list(_TILES)),
            *_differences(copy, tables[1], checkpoint, expected),
        ]
