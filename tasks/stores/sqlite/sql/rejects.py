"""The facts that runs have rejected."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.spelling import Statement, quoted

_OF_RUN = "run_id = :run_id"
_COLUMNS = "run_id, chunk, fact_id, reason, detail, rejected_at"


def reject_statements(binding: Binding) -> tuple[Statement, ...]:
    sql = _Builder(binding)
    return (*sql.writing(), *sql.asking(), *sql.telling(), *sql.counting())


class _Builder(FactSql):
    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self.reject = quoted(binding.ledger.reject)

    def writing(self) -> Iterator[Statement]:
        into = f"INSERT INTO {self.reject} ({_COLUMNS})"
        values = "VALUES (:run_id, :chunk, :fact_id, :reason, :detail, :now)"
        yield Statement("reject_fact", f"{into} {values}", "batch", writes=True)
        yield Statement(
            "reject_set_aside",
            f"{into} SELECT :run_id, :chunk, {self._in_place_of_a_key}, :now FROM {self.facts} AS f "
            f"WHERE {self.set_aside}",
            "once", writes=True,
        )  # fmt: skip

    @property
    def _in_place_of_a_key(self) -> str:
        """What a reject says of a fact that is set aside: fact_id, reason, detail. A long key is not read for that."""
        if not self.odd_keys:
            return "'NULL', :no_key, :no_key_detail"
        said = (
            ("'NULL'", f"'(a key of ' || octet_length({self.key}) || ' bytes)'"),
            (":no_key", ":too_long"),
            (":no_key_detail", f"'key: ' || octet_length({self.key}) || ' bytes, at most ' || :longest_value"),
        )
        return ", ".join(f"CASE typeof({self.key}) WHEN 'null' THEN {no_key} ELSE {long} END" for no_key, long in said)

    def asking(self) -> Iterator[Statement]:
        """Of one fact: a row if it was rejected."""
        of_fact = f"SELECT 1 FROM {self.reject} WHERE fact_id = :fact_id"
        yield Statement("was_rejected", f"{of_fact} AND reason = :reason LIMIT 1", "once")
        yield Statement("was_rejected_by", f"{of_fact} AND (:run_id IS NULL OR {_OF_RUN}) LIMIT 1", "once")

    def telling(self) -> Iterator[Statement]:
        """What a report tells of a run's."""
        yield Statement(
            "count_rejects", f"SELECT chunk, count(*) FROM {self.reject} WHERE {_OF_RUN} GROUP BY chunk", "once"
        )
        yield Statement(
            "reject_reasons",
            f"SELECT reason, count(*) FROM {self.reject} WHERE {_OF_RUN} GROUP BY reason ORDER BY reason", "once",
        )  # fmt: skip
        yield Statement(
            "reject_sample",
            f"SELECT fact_id, reason, detail, chunk FROM {self.reject} "
            f"WHERE {_OF_RUN} ORDER BY reject_id LIMIT 20", "once",
        )  # fmt: skip

    def counting(self) -> Iterator[Statement]:
        """A run's: those that are new, and those that are residual now."""
        same = f"{self.key} = CAST(r.fact_id AS INTEGER)"
        if self.odd_keys:
            same = (
                f"{self.key} IN (r.fact_id, CAST(r.fact_id AS INTEGER)) AND typeof({self.key}) IN ('integer', 'text')"
            )
        yield Statement(
            "count_new_rejects",
            f"SELECT count(*) FROM {self.reject} AS r WHERE r.{_OF_RUN} AND NOT EXISTS (SELECT 1 FROM {self.reject} "
            "AS e WHERE e.fact_id = r.fact_id AND e.reason = r.reason AND e.reject_id < r.reject_id)", "batch",
        )  # fmt: skip
        yield Statement(
            "count_rejected_residual",
            f"SELECT count(*) FROM (SELECT DISTINCT fact_id FROM {self.reject} WHERE {_OF_RUN}) AS r "
            f"CROSS JOIN {self.joined} WHERE {same} AND CAST({self.key} AS TEXT) = r.fact_id "
            f"AND {self.residual}", "once",
        )  # fmt: skip
        yield Statement(
            "count_rejected_set_aside",
            f"SELECT count(*) FROM {self.reject} WHERE {_OF_RUN} AND ((fact_id = 'NULL' AND detail = :no_key_detail) "
            "OR (fact_id GLOB '(a key of * bytes)' AND reason = :too_long))", "once",
        )  # fmt: skip
