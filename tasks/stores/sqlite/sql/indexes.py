"""Whether the indexes that a run finds its rows by hold as many entries as their tables hold rows.

An index that lacks entries hides rows from whoever looks for them there, and SQLite does not notice: a fact would be
attested twice, or without its source. To count both takes a small part of the time that planning takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.contract.binding import Binding
from tasks.contract.catalogue import Catalogue
from tasks.stores.sqlite.sql.spelling import Statement, quoted


@dataclass(frozen=True)
class CountedIndex:
    """An index of a table, and the statements that count its entries and the table's rows."""

    table: str
    index: str
    of_index: Statement
    of_table: Statement


def counted_indexes(binding: Binding, catalogue: Catalogue) -> tuple[CountedIndex, ...]:
    """Every index that rows may be looked up by: those that hold all rows and begin with what is looked for.

    The key of a WITHOUT ROWID table is the table itself.
    """
    return tuple(
        CountedIndex(table, index, _count(table, index), _count(table, None))
        for table, column in _looked_up(binding)
        for index in _indexes(catalogue, table, column)
    )


def _looked_up(binding: Binding) -> Iterator[tuple[str, str]]:
    """(table, column) of every look-up but those by rowid."""
    if not binding.facts.key_is_number:
        yield binding.facts.table, binding.facts.key
    if binding.source and not binding.source.key_is_number:
        yield binding.source.table, binding.source.key
    yield binding.metadata.table, binding.metadata.fact_id
    yield binding.log.table, binding.log.fact_id


def _indexes(catalogue: Catalogue, table: str, column: str) -> Iterator[str]:
    found = catalogue.table(table)
    for index in found.indexes if found else ():
        is_table = found is not None and found.primary_key_not_null and index.is_primary_key
        if index.columns[:1] == (column,) and not index.partial and not is_table:
            yield index.name


def _count(table: str, index: str | None) -> Statement:
    """Without a WHERE, SQLite counts the rows of whichever index is smallest, whatever INDEXED BY says."""
    how = f"INDEXED BY {quoted(index)} WHERE 1" if index else "NOT INDEXED"
    name = f"count_entries {index}" if index else f"count_rows {table}"
    return Statement(name, f"SELECT count(*) FROM {quoted(table)} {how}", "once")
