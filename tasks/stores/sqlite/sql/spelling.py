"""What a statement on SQLite is, and how names, keys and values are spelled in one.

Here alone identifiers are quoted; SQL text is put together in the modules of this folder, from a binding and nothing
else, and values are always bound. The texts are golden-tested (tests/stores/sqlite/test_golden_sql.py), compiled by
SchemaVerify, and looked up by name when they run, so no other text can reach the database.

A statement's `scale` says how often it runs and so what its query plan may do:

    once    per run: may walk a whole table (planning, the closing count)
    chunk   per chunk: touches the ledger only
    batch   per batch: must not scan or sort any of the contract's large tables
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scale = Literal["once", "chunk", "batch"]
STAGING = "am_backfill_staging"
"""The temporary table of a batch: it hides a table of that name, so the gate refuses one in the contract."""


@dataclass(frozen=True)
class Statement:
    """One SQL text with its place in the run. `writes`: only a live run executes it.

    Parameters have names, but where a list of rows is bound: `positional` counts those.
    """

    name: str
    sql: str
    scale: Scale
    writes: bool = False
    positional: int = 0


def quoted(name: str) -> str:
    """An identifier as SQL text. The only place that quotes one."""
    return '"' + name.replace('"', '""') + '"'


def key_value(name: str, *, odd_keys: bool) -> str:
    """A bound key. Text that is not UTF-8 comes in as its bytes with `:<name>_is_text` set."""
    if not odd_keys:
        return f":{name}"
    return f"(CASE WHEN :{name}_is_text THEN CAST(:{name} AS TEXT) ELSE :{name} END)"


def raw_value(expression: str) -> str:
    """A value as two columns, (is it text, the value with text as bytes): no text can break the reader."""
    return (
        f"typeof({expression}) = 'text', "
        f"CASE typeof({expression}) WHEN 'text' THEN CAST({expression} AS BLOB) ELSE {expression} END"
    )
