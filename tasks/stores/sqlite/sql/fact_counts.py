"""Counts of facts, and of what is attested of them."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.spelling import Statement, quoted


def count_statements(binding: Binding) -> tuple[Statement, ...]:
    sql = _Builder(binding)
    return (*sql.facts_of_ranges(), *sql.count_residual(), sql.top_sources())


class _Builder(FactSql):
    def facts_of_ranges(self) -> Iterator[Statement]:
        """Facts, residual or not."""
        counted = f"SELECT count(*) FROM {self.facts} AS f WHERE"
        beyond = f"{self.key} > {self.after}{self.not_set_aside}"
        until = f"{self.key} <= {self.through}{self.not_set_aside}"
        yield Statement("count_facts", f"SELECT count(*) FROM {self.facts} NOT INDEXED", "once")
        yield Statement("count_through", f"{counted} {until}", "once")
        yield Statement("count_beyond", f"{counted} {beyond}", "once")
        yield Statement("count_batch_first", f"{counted} {until}", "batch")
        yield Statement("count_batch", f"{counted} {self.key} > {self.after} AND {until}", "batch")
        yield Statement(
            "count_set_aside",
            f"SELECT count(*), count(*) FILTER (WHERE typeof({self.key}) <> 'null') FROM {self.facts} AS f "
            f"WHERE {self.set_aside}", "once",
        )  # fmt: skip

    def count_residual(self) -> Iterator[Statement]:
        """Residual facts, or what is left of all facts without the unchanged ones.

        Where keys are rowids, the metadata's side is the cheaper one to start from: its neighbours are neighbours among
        the facts too, and SQLite steps from one rowid to the next without a search. There, the unchanged facts are
        counted, range by range if the rows of the metadata have numbers.
        """
        if self.odd_keys:
            yield Statement("count_residual", f"SELECT count(*) FROM {self.joined} WHERE {self.residual}", "once")
            return
        m = self.b.metadata
        fact_id, rowid = f"m.{quoted(m.fact_id)}", f"m.{m.row_number}"
        unchanged = (
            f"SELECT count(*) FROM {self.metadata} AS m NOT INDEXED CROSS JOIN {self.facts} AS f "
            f"WHERE {self.key} = CAST({fact_id} AS INTEGER) AND CAST({self.key} AS TEXT) = {fact_id} "
            f"AND (m.{quoted(m.source_doc)} IS NOT NULL OR NOT {self.derivable})"
            f"{f' AND NOT {self.stale}' if self.b.follows_changes else ''}"
        )
        yield Statement("count_unchanged", unchanged, "once")
        if m.row_number:
            lowest, highest = (f"(SELECT {end}({m.row_number}) FROM {self.metadata})" for end in ("min", "max"))
            yield Statement("metadata_bounds", f"SELECT {lowest}, {highest}", "once")
            yield Statement("count_unchanged_between", f"{unchanged} AND {rowid} BETWEEN :first AND :last", "once")

    def top_sources(self) -> Statement:
        source_doc = quoted(self.b.metadata.source_doc)
        return Statement(
            "top_sources",
            f"SELECT {source_doc}, count(*) FROM {self.metadata} WHERE {source_doc} IS NOT NULL "
            f"GROUP BY {source_doc} ORDER BY count(*) DESC, {source_doc} LIMIT 10", "once",
        )  # fmt: skip
