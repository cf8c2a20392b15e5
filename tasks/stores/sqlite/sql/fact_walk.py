"""Walks over the facts in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.bounds import value_bytes, value_kind
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.spelling import Statement, raw_value
from tasks.stores.sqlite.sql.stale import stale_statement


def walk_statements(binding: Binding) -> tuple[Statement, ...]:
    sql = _Builder(binding)
    return (*sql.keys(), *sql.residual_facts(), *sql.samples(), stale_statement(binding))


class _Builder(FactSql):
    """The statements by what they look for; `keyed` and `beyond` leave out the facts that are set aside."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self.raw_key = raw_value(self.key)
        self.keyed = f"{self.key} IS NOT NULL{self.not_set_aside}"
        self.beyond = f"{self.key} > {self.after}{self.not_set_aside}"

    def keys(self) -> Iterator[Statement]:
        """The key of the residual fact, or of the fact, so many behind another."""
        for ending, where in (("_first", self.keyed), ("", self.beyond)):
            of_residual = f"FROM {self.joined} WHERE {where} AND {self.residual} ORDER BY {self.key}"
            of_any = f"FROM {self.facts} AS f WHERE {where} ORDER BY {self.key}"
            yield Statement(
                f"residual_key{ending}", f"SELECT {self.raw_key} {of_residual} LIMIT 1 OFFSET :skip", "once"
            )
            yield Statement(f"fact_key{ending}", f"SELECT {self.raw_key} {of_any} LIMIT 1 OFFSET :skip", "once")
        yield Statement(
            "key_before",
            f"SELECT {self.raw_key} FROM {self.facts} AS f WHERE {self.key} < {self.through}{self.not_set_aside} "
            f"ORDER BY {self.key} DESC LIMIT 1", "batch",
        )  # fmt: skip

    def residual_facts(self) -> Iterator[Statement]:
        until = f"{self.key} <= {self.through}"
        ranges = {
            "": self.keyed, "_after": self.beyond, "_through": f"{self.keyed} AND {until}",
            "_after_through": f"{self.beyond} AND {until}",
        }  # fmt: skip
        for ending, where in ranges.items():
            yield Statement(
                f"residual_facts{ending}",
                f"SELECT {self.fact_columns_raw} FROM {self.joined}{self._witnessed} WHERE {where} "
                f"AND {self.residual} ORDER BY {self.key}", "once",
            )  # fmt: skip

    def samples(self) -> Iterator[Statement]:
        """What a few facts, or one of them, say of all."""
        created_at = self._fact_column(self.b.facts.created_at)
        yield Statement("any_source", f"SELECT EXISTS (SELECT 1 FROM {self.facts} AS f WHERE {self.derivable})", "once")
        yield Statement(
            "created_at_sample",
            f"SELECT {value_kind(created_at, 'longest_value')}, {value_bytes(created_at, 'longest_value')} "
            f"FROM {self.facts} AS f ORDER BY {self.key} DESC LIMIT 200", "once",
        )  # fmt: skip
        yield Statement(
            "oldest_waiting",
            f"SELECT min({created_at}) FROM {self.joined} WHERE CASE WHEN octet_length({created_at}) > 40 THEN 0 "
            f"WHEN :ticks IS NULL THEN {created_at} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' "
            f"ELSE typeof({created_at}) IN ('integer', 'real') END AND {self.residual}", "once",
        )  # fmt: skip
