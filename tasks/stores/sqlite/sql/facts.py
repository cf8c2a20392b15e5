"""How statements speak of facts, their sources and their metadata: the expressions that several of them share."""

from __future__ import annotations

from tasks.contract.binding import Binding
from tasks.core.values import ATTESTED, FOLLOWS, READS_LIKE_ANOTHER
from tasks.stores.sqlite.sql.bounds import Reading, shows, value, value_bytes, value_kind
from tasks.stores.sqlite.sql.same import surely_same
from tasks.stores.sqlite.sql.spelling import key_value, quoted, raw_value

IS_STALE = "fact_is_stale"
"""The function of SQL that asks derivation: see stores/sqlite/stale.py."""


class FactSql:
    """What the statements of a run say of facts, their sources and their metadata, quoted once."""

    def __init__(self, binding: Binding) -> None:
        self.b = binding
        self.facts = quoted(binding.facts.table)
        self.key = f"f.{quoted(binding.facts.key)}"
        self.odd_keys = not binding.facts.key_is_number
        long = f"(typeof({self.key}) <> 'integer' AND octet_length({self.key}) > :longest_value)"
        self.set_aside = f"(typeof({self.key}) = 'null' OR {long})" if self.odd_keys else f"{self.key} IS NULL"
        self.not_set_aside = f" AND NOT {long}" if self.odd_keys else ""
        self.metadata = quoted(binding.metadata.table)
        self.after = key_value("after", odd_keys=self.odd_keys)
        self.through = key_value("through", odd_keys=self.odd_keys)

    def _fact_column(self, name: str | None) -> str:
        return f"f.{quoted(name)}" if name else "NULL"

    def _of_source(self, reading: Reading) -> str:
        """What is asked of the URL in the fact's source row, as a scalar; NULL where there is none."""
        source, source_id = self.b.source, self.b.facts.source_id
        if source is None or source_id is None:
            return "NULL"
        asked = reading(f"s.{quoted(source.source_url)}", "longest_source")
        return f"(SELECT {asked} FROM {quoted(source.table)} AS s WHERE s.{quoted(source.key)} = f.{quoted(source_id)})"

    def _of_source_cheaply(self, reading: Reading) -> tuple[str, str]:
        """What `_of_source` gives, and the join that it takes, none where that is the subquery.

        A join is faster, for a subquery opens the source table anew for every fact. It is taken only where the source's
        key is the rowid: on any other key, two sources could share one, and a fact would come twice.
        """
        source, source_id = self.b.source, self.b.facts.source_id
        if source is None or source_id is None or not source.key_is_number:
            return self._of_source(reading), ""
        join = f" LEFT JOIN {quoted(source.table)} AS s ON s.{quoted(source.key)} = f.{quoted(source_id)}"
        return reading(f"s.{quoted(source.source_url)}", "longest_source"), join

    @property
    def derivable(self) -> str:
        """1 if there is a source, right or wrong: one of the two is there and no blank text. Never NULL."""
        own = self.b.facts.source_url
        tests = [shows(self._fact_column(own))] if own else []
        linked = self._of_source(lambda column, _: shows(column))
        tests += [f"coalesce({linked}, 0)"] if linked != "NULL" else []
        return f"({' OR '.join(tests)})" if tests else "0"

    def _fact_values(self, *readings: Reading) -> list[str]:
        """The values of derivation.Fact but for the first and the last, each read in all these ways."""
        f = self.b.facts
        own, created_at, confidence = map(self._fact_column, (f.source_url, f.created_at, f.confidence))
        return [
            *(reading(own, "longest_source") for reading in readings),
            *(self._of_source(reading) for reading in readings),
            *(reading(created_at, "longest_value") for reading in readings),
            *(reading(confidence, "longest_value") for reading in readings),
        ]

    @property
    def fact_columns(self) -> str:
        """The columns of derivation.Fact; a text among them may be none."""
        return ", ".join([self.key, *self._fact_values(value), self._standing])

    @property
    def _has_metadata(self) -> str:
        return f"m.{quoted(self.b.metadata.fact_id)} IS NOT NULL"

    @property
    def _is_attested(self) -> str:
        """True for a fact that the log knows, where `_witnessed` is joined."""
        return f"l.{quoted(self.b.log.fact_id)} IS NOT NULL"

    @property
    def _standing(self) -> str:
        """The last value of derivation.Fact."""
        standing = f"({self._has_metadata}) + {ATTESTED} * ({self._is_attested})"
        if self.b.follows_changes:
            standing += f" + {FOLLOWS} * ({self._has_metadata} AND {self._is_attested})"
        if not self.b.facts.key_is_untyped:
            return standing
        return f"{standing} + {READS_LIKE_ANOTHER} * ({self.text_twin})"

    @property
    def _must_be_read(self) -> str:
        """True for a fact that SQL alone must not judge, whatever its values look like."""
        if not self.b.facts.key_is_untyped:
            return self._is_attested
        return f"{self._is_attested} OR {self.text_twin}"

    @property
    def fact_columns_raw(self) -> str:
        """The columns of derivation.Fact in a form that no text can break. Read from facts that are `_witnessed`."""
        return f"{self.fact_values_raw}, {self._standing}"

    @property
    def fact_values_raw(self) -> str:
        """The same without the last."""
        return ", ".join([raw_value(self.key), *self._fact_values(value_kind, value_bytes)])

    @property
    def joined(self) -> str:
        """Facts with their metadata row, where there is one."""
        fact_id = f"m.{quoted(self.b.metadata.fact_id)}"
        return f"{self.facts} AS f LEFT JOIN {self.metadata} AS m ON {self._is_of_fact(fact_id)}"

    @property
    def _witnessed(self) -> str:
        """What joins the latest attestation to `joined`, where there is one.

        A fact without any costs one step into the index by fact_id, on a cursor that stays open: the plus keeps the
        subquery, which would be run for every fact, from being the way in.
        """
        log, fact_id, attestation_id = map(quoted, (self.b.log.table, self.b.log.fact_id, self.b.log.attestation_id))
        return (
            f" LEFT JOIN {log} AS l ON {self._is_of_fact(f'l.{fact_id}')} AND +l.{attestation_id} = "
            f"(SELECT max(x.{attestation_id}) FROM {log} AS x WHERE x.{fact_id} = l.{fact_id})"
        )

    def _is_of_fact(self, column: str) -> str:
        """True if a column of the sidecar holds the id of the fact. Other kinds of keys, and long ones, have none."""
        key = f"CAST({self.key} AS TEXT)"
        if self.odd_keys:
            usable = f"typeof({self.key}) IN ('integer', 'text'){self.not_set_aside}"
            key = f"CASE WHEN {usable} THEN {key} END"
        return f"{column} = {key}"

    @property
    def residual(self) -> str:
        """True for a fact that would be inserted, updated or rejected."""
        m = self.b.metadata
        residual = f"(m.{quoted(m.fact_id)} IS NULL OR (m.{quoted(m.source_doc)} IS NULL AND {self.derivable}))"
        if self.b.follows_changes:
            residual = f"({residual} OR {self.stale})"
        return f"({residual} OR {self.text_twin})" if self.b.facts.key_is_untyped else residual

    @property
    def stale(self) -> str:
        """True for a fact that the log knows, and that is no longer what its metadata row says. Never NULL.

        Exact: what two comparisons of text do not settle, which is little, is asked of `IS_STALE`.
        """
        m, log = self.b.metadata, self.b.log
        same = self._surely_same(self._of_source(lambda column, _: column))
        attested = ", ".join(raw_value(f"m.{quoted(column)}") for column in (m.source_doc, m.extracted_at))
        logged = f"SELECT 1 FROM {quoted(log.table)} AS e WHERE e.{quoted(log.fact_id)} = m.{quoted(m.fact_id)}"
        asked = f"{IS_STALE}({self.fact_values_raw}, {attested})"
        return f"(({same}) IS NOT TRUE AND EXISTS ({logged}) AND {asked})"

    def _surely_same(self, linked: str) -> str:
        own, created_at = map(self._fact_column, (self.b.facts.source_url, self.b.facts.created_at))
        source_doc, extracted_at = (
            f"m.{quoted(name)}" for name in (self.b.metadata.source_doc, self.b.metadata.extracted_at)
        )
        return surely_same(
            source_doc=source_doc, extracted_at=extracted_at, own=own, linked=linked, created_at=created_at
        )

    @property
    def text_twin(self) -> str:
        """True for the text key '7' beside the integer 7: both are fact "7", the integer is the one attested."""
        twin, key = f"g.{quoted(self.b.facts.key)}", self.key
        return (
            f"(typeof({key}) = 'text' AND EXISTS (SELECT 1 FROM {self.facts} AS g "
            f"WHERE {twin} = CAST({key} AS INTEGER) + 0 AND typeof({twin}) = 'integer' "
            f"AND CAST({twin} AS TEXT) = {key}))"
        )
