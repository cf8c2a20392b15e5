"""What reads the next batch of a chunk: whole, or its plain facts only counted (tally) or derived (stage)."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.bounds import number_if_plain, value_if_plain
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.plain import (
    confidence_is_plain,
    extracted_at_of_plain,
    key_if_plain,
    key_is_plain,
    lower_of_plain,
    source_is_plain,
    time_is_plain,
    upper_of_plain,
)
from tasks.stores.sqlite.sql.spelling import STAGING, Statement, raw_value
from tasks.stores.sqlite.sql.staging import STAGED


def batch_statements(binding: Binding) -> tuple[Statement, ...]:
    """What reads the batches of a range that begins with the first fact, and of one that begins behind another."""
    sql = _Builder(binding)
    from_start = f"{sql.key} <= {sql.through}{sql.not_set_aside}"
    onwards = f"{sql.key} > {sql.after} AND {from_start}"
    return tuple(
        statement
        for ending, where in (("_first", from_start), ("", onwards))
        for statement in (*sql.read(where, ending), *sql.tally(where, ending))
    )


def _all_plain(must_be_read: str, key: str, source: str, created_at: str, confidence: str) -> str:
    return (
        f"(NOT ({must_be_read}) AND {key_is_plain(key)} AND {source_is_plain(source)} AND {time_is_plain(created_at)} "
        f"AND {confidence_is_plain(confidence)})"
    )


class _Builder(FactSql):
    def read(self, where: str, ending: str) -> Iterator[Statement]:
        for how, columns in (("", self.fact_columns), ("_raw", self.fact_columns_raw)):
            yield Statement(
                f"read_batch{ending}{how}",
                f"SELECT {columns} FROM {self.joined}{self._witnessed} WHERE {where} AND {self.residual} "
                f"ORDER BY {self.key} LIMIT :limit", "batch",
            )  # fmt: skip

    def tally(self, where: str, suffix: str) -> Iterator[Statement]:
        """Counts or stages a batch without reading its plain facts, and reads the others.

        The LIMITs keep each SELECT a step of its own, so that a source is looked up and judged once per fact. A plain
        fact is judged 1 if it has metadata and 0 if not; only in a CASE does SQLite stop at the first test that fails.
        The texts are put together to be decoded: whoever reads them learns whether they are UTF-8.
        """
        own = value_if_plain(self._fact_column(self.b.facts.source_url), "longest_source")
        created_at = value_if_plain(self._fact_column(self.b.facts.created_at), "longest_value")
        confidence = number_if_plain(self._fact_column(self.b.facts.confidence))
        source_url, join = self._of_source_cheaply(value_if_plain)
        residual = f"WHERE {where} AND {self.residual} "
        values = (
            f"SELECT {self.key} AS key, coalesce({own}, {source_url}) AS source, {created_at} AS created_at, "
            f"{confidence} AS confidence, {self._has_metadata} AS has_metadata, {self._must_be_read} AS must_be_read "
            f"FROM {self.joined}{join}{self._witnessed} {residual}ORDER BY {self.key} LIMIT :limit"
        )
        key = key_if_plain("key") if self.odd_keys else "key"
        plain_update = (
            f"CASE WHEN {_all_plain('must_be_read', 'key', 'source', 'created_at', 'confidence')} THEN has_metadata END"
        )
        judged = (
            f"SELECT key, source, created_at IS NULL AS is_timeless, {plain_update} AS plain_update "
            f"FROM ({values}) LIMIT -1"
        )
        source = f"coalesce({own}, {self._of_source(value_if_plain)})"
        of_plain = "FILTER (WHERE plain_update IS NOT NULL)"
        keys = f", group_concat(key, char(10)) {of_plain}" if self.odd_keys else ""
        yield Statement(
            f"tally_batch{suffix}",
            f"SELECT count(*), {raw_value('max(key)')}, count(plain_update), total(plain_update), "
            "count(plain_update) FILTER (WHERE is_timeless), "
            f"group_concat(source, char(10)) {of_plain}{keys} FROM ({judged})", "batch",
        )  # fmt: skip
        yield Statement(
            f"stage_batch{suffix}",
            f"INSERT INTO temp.{STAGING} ({STAGED}, is_update, is_timeless, key) SELECT CAST({key} AS TEXT), "
            f"source, {extracted_at_of_plain('created_at')}, "
            f"{lower_of_plain('confidence')}, {upper_of_plain('confidence')}, "
            f"{plain_update}, created_at IS NULL, {key} FROM ({values})", "batch", writes=True,
        )  # fmt: skip
        yield Statement(
            f"read_odd_facts{suffix}",
            f"SELECT {self.fact_columns_raw} FROM {self.joined}{self._witnessed} {residual}"
            f"AND {_all_plain(self._must_be_read, self.key, source, created_at, confidence)} IS NOT TRUE "
            f"ORDER BY {self.key}", "batch",
        )  # fmt: skip
