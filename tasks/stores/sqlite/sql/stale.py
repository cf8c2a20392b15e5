"""Attested facts that may be no longer what was attested, as SQL.

Most facts are told to be the same by two comparisons of text. Whatever those do not settle is read and derived again:
rows/stale.py decides.
"""

from __future__ import annotations

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.spelling import Statement, quoted, raw_value


def stale_statement(binding: Binding) -> Statement:
    """The unchanged facts that are not surely what their metadata row says, where the log knows them.

    Gives derivation.Fact but for its last column, each value with its kind, then source_doc and extracted_at likewise.
    """
    return Statement("stale_candidates", _Builder(binding).candidates(), "once")


class _Builder(FactSql):
    def candidates(self) -> str:
        m, log = self.b.metadata, self.b.log
        attested = f"m.{quoted(m.fact_id)}"
        source_doc, extracted_at = f"m.{quoted(m.source_doc)}", f"m.{quoted(m.extracted_at)}"
        linked, join = self._of_source_cheaply(lambda column, _: column)
        same = self._surely_same(linked)
        twin = f" AND NOT {self.text_twin}" if self.b.facts.key_is_untyped else ""
        return (
            f"SELECT {self.fact_values_raw}, {raw_value(source_doc)}, {raw_value(extracted_at)} "
            f"FROM {self._unchanged(attested)}{join} WHERE ({same}) IS NOT TRUE AND {attested} IS NOT NULL "
            f"AND ({source_doc} IS NOT NULL OR NOT {self.derivable}) AND EXISTS (SELECT 1 FROM {quoted(log.table)} "
            f"AS e WHERE e.{quoted(log.fact_id)} = {attested}){twin}"
        )

    def _unchanged(self, attested: str) -> str:
        """Begun at the metadata where keys are rowids: neighbours there are neighbours among the facts."""
        if self.odd_keys:
            return self.joined
        return (
            f"{self.metadata} AS m NOT INDEXED CROSS JOIN {self.facts} AS f "
            f"ON {self.key} = CAST({attested} AS INTEGER) AND CAST({self.key} AS TEXT) = {attested}"
        )
