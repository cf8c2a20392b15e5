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
        for statement in (
            *sql.read(where, ending),
            sql.tally(where, ending),
            sql.stage(where, ending),
            sql.read_odd(where, ending),
        )
    )


def _all_plain(must_be_read: str, key: str, source: str, created_at: str, confidence: str) -> str:
    return (
        f"(NOT ({must_be_read}) AND {key_is_plain(key)} AND {source_is_plain(source)} AND {time_is_plain(created_at)} "
        f"AND {confidence_is_plain(confidence)})"
    )


_PLAIN_UPDATE = (
    f"CASE WHEN {_all_plain('must_be_read', 'key', 'source', 'created_at', 'confidence')} THEN has_metadata END"
)
"""Of the values that `_plain_values` gives: 1 for a plain fact with metadata, 0 for one without, NULL for an odd one.

Only in a CASE does SQLite stop at the first test that fails.
"""


class _Builder(FactSql):
    """The statements of one range. A fact that is not plain is odd.

    The LIMITs keep each SELECT a step of its own, so that a source is looked up and judged once per fact. The texts of
    plain facts are put together to be decoded: whoever reads them learns whether they are UTF-8.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self.own = value_if_plain(self._fact_column(self.b.facts.source_url), "longest_source")
        self.created_at = value_if_plain(self._fact_column(self.b.facts.created_at), "longest_value")
        self.confidence = number_if_plain(self._fact_column(self.b.facts.confidence))
        self.staged_key = key_if_plain("key") if self.odd_keys else "key"

    def read(self, where: str, ending: str) -> Iterator[Statement]:
        for how, columns in (("", self.fact_columns), ("_raw", self.fact_columns_raw)):
            yield Statement(
                f"read_batch{ending}{how}",
                f"SELECT {columns} FROM {self.joined}{self._witnessed} WHERE {where} AND {self.residual} "
                f"ORDER BY {self.key} LIMIT :limit", "batch",
            )  # fmt: skip

    def tally(self, where: str, ending: str) -> Statement:
        judged = (
            f"SELECT key, source, created_at IS NULL AS is_timeless, {_PLAIN_UPDATE} AS plain_update "
            f"FROM ({self._plain_values(where)}) LIMIT -1"
        )
        of_plain = "FILTER (WHERE plain_update IS NOT NULL)"
        keys = f", group_concat(key, char(10)) {of_plain}" if self.odd_keys else ""
        return Statement(
            f"tally_batch{ending}",
            f"SELECT count(*), {raw_value('max(key)')}, count(plain_update), total(plain_update), "
            "count(plain_update) FILTER (WHERE is_timeless), "
            f"group_concat(source, char(10)) {of_plain}{keys} FROM ({judged})", "batch",
        )  # fmt: skip

    def stage(self, where: str, ending: str) -> Statement:
        """Stages the odd ones too, to be told by `look_at_staging` and dropped."""
        return Statement(
            f"stage_batch{ending}",
            f"INSERT INTO temp.{STAGING} ({STAGED}, is_update, is_timeless, key) "
            f"SELECT CAST({self.staged_key} AS TEXT), source, {extracted_at_of_plain('created_at')}, "
            f"{lower_of_plain('confidence')}, {upper_of_plain('confidence')}, "
            f"{_PLAIN_UPDATE}, created_at IS NULL, {self.staged_key} FROM ({self._plain_values(where)})",
            "batch", writes=True,
        )  # fmt: skip

    def read_odd(self, where: str, ending: str) -> Statement:
        source = f"coalesce({self.own}, {self._of_source(value_if_plain)})"
        all_plain = _all_plain(self._must_be_read, self.key, source, self.created_at, self.confidence)
        return Statement(
            f"read_odd_facts{ending}",
            f"SELECT {self.fact_columns_raw} FROM {self.joined}{self._witnessed} WHERE {where} AND {self.residual} "
            f"AND {all_plain} IS NOT TRUE ORDER BY {self.key}", "batch",
        )  # fmt: skip

    def _plain_values(self, where: str) -> str:
        """What has to be known of the residual facts to judge and derive the plain ones."""
        source_url, join = self._of_source_cheaply(value_if_plain)
        return (
            f"SELECT {self.key} AS key, coalesce({self.own}, {source_url}) AS source, {self.created_at} AS created_at, "
            f"{self.confidence} AS confidence, {self._has_metadata} AS has_metadata, "
            f"{self._must_be_read} AS must_be_read "
            f"FROM {self.joined}{join}{self._witnessed} WHERE {where} AND {self.residual} "
            f"ORDER BY {self.key} LIMIT :limit"
        )
