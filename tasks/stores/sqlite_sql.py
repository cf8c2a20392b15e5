"""Every statement that a run can execute on SQLite, built from a binding and nothing else.

This is the one place where identifiers are quoted and SQL text is put together; values are always bound.
The texts are golden-tested (tests/stores/test_sqlite_sql.py), compiled by SchemaVerify, and looked up by
name when they run, so no other text can reach the database.

A statement's `scale` says how often it runs and so what its query plan may do:

    once    per run: may walk a whole table (planning, the closing count)
    chunk   per chunk: touches the ledger only
    batch   per batch: must not scan or sort any of the contract's large tables
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.attestation.signing import PLACEHOLDER, PLACEHOLDER_HEX
from tasks.engine.binding import Binding
from tasks.engine.derivation import WHITESPACE
from tasks.stores.sqlite_plain import (
    confidence_is_plain,
    extracted_at_of_plain,
    key_is_plain,
    lower_of_plain,
    source_is_plain,
    time_is_plain,
    upper_of_plain,
)

Scale = Literal["once", "chunk", "batch"]
STAGING = "backfill_batch"

# A staged row without a signature gets a placeholder when it is written: it need not be copied about so often.
_SIGNATURE = f"coalesce(b.ed25519_sig, zeroblob({len(PLACEHOLDER)}))"
_SIGNATURE_HEX = f"coalesce(b.signature_hex, '{PLACEHOLDER_HEX}')"


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


CATALOGUE_STATEMENTS = (
    Statement("encoding", "PRAGMA encoding", "once"),
    Statement("table_list", "SELECT CAST(name AS BLOB), type, wr FROM pragma_table_list WHERE schema = 'main'", "once"),
    Statement(
        "table_columns",
        'SELECT name, type, "notnull", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?)',
        "once",
    ),
    Statement("index_list", "SELECT name, \"unique\", partial, origin = 'pk' FROM pragma_index_list(?)", "once"),
    Statement("index_columns", "SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno", "once"),
    Statement(
        "declarations",
        "SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL "
        "ORDER BY type, name",
        "once",
    ),
)


def setup_statements(*, cache_mib: int, write: bool) -> tuple[Statement, ...]:
    """What every connection executes first; the first one that reads tells whether the file is SQLite at all."""
    staging = (
        f"CREATE TEMP TABLE {STAGING} (fact_id TEXT, source_doc TEXT, extracted_at TEXT, confidence_lower REAL, "
        "confidence_upper REAL, ed25519_sig BLOB, signature_hex TEXT, is_update INTEGER, is_timeless INTEGER, key)"
    )
    by_mode = (
        Statement("synchronous", "PRAGMA synchronous = EXTRA", "once")
        if write
        else Statement("query_only", "PRAGMA query_only = 1", "once")
    )
    return (
        Statement("temp_store", "PRAGMA temp_store = MEMORY", "once"),
        Statement("cache_size", f"PRAGMA cache_size = -{cache_mib * 1024}", "once"),
        Statement("first_read", "SELECT count(*) FROM sqlite_schema", "once"),
        Statement("create_staging", staging, "once"),
        by_mode,
    )


def quoted(name: str) -> str:
    """An identifier as SQL text. The only place that quotes one."""
    return '"' + name.replace('"', '""') + '"'


def build_statements(binding: Binding) -> tuple[Statement, ...]:
    """All statements of a run, in the order in which a run first needs them."""
    sql = RunSql(binding)
    return (*_TRANSACTION, *sql.planning(), *sql.reading(), *sql.ledger(), *sql.writing(), *sql.closing())


_TRANSACTION = (
    Statement("schema_version", "PRAGMA schema_version", "batch"),
    Statement("data_version", "PRAGMA data_version", "once"),
    Statement("begin_read", "BEGIN", "batch"),
    Statement("begin_write", "BEGIN IMMEDIATE", "batch", writes=True),
    Statement("commit", "COMMIT", "batch"),
    Statement("rollback", "ROLLBACK", "batch"),
)

_RUN_COLUMNS = "plan_id, plan, started_at, finished_at, attester, key_id"
_COUNTS = (
    "eligible", "inserted", "updated", "unchanged", "rejected",
    "signed", "placeholder", "created_at_missing", "confidence_not_numeric",
)  # fmt: skip


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


def _all_plain(key: str, source: str, created_at: str, confidence: str) -> str:
    return (
        f"({key_is_plain(key)} AND {source_is_plain(source)} AND {time_is_plain(created_at)} "
        f"AND {confidence_is_plain(confidence)})"
    )


class RunSql:
    """The expressions that several statements share, quoted once."""

    def __init__(self, binding: Binding) -> None:
        self.b = binding
        self.facts = quoted(binding.facts.table)
        self.key = f"f.{quoted(binding.facts.key)}"
        self.odd_keys = not binding.facts.key_is_rowid
        self.metadata = quoted(binding.metadata.table)
        self.after = key_value("after", odd_keys=self.odd_keys)
        self.through = key_value("through", odd_keys=self.odd_keys)

    def _fact_column(self, name: str | None) -> str:
        return f"f.{quoted(name)}" if name else "NULL"

    @property
    def source_lookup(self) -> str:
        """The URL of the fact's source row, as a scalar; NULL where there is none."""
        source, source_id = self.b.source, self.b.facts.source_id
        if source is None or source_id is None:
            return "NULL"
        return (
            f"(SELECT s.{quoted(source.source_url)} FROM {quoted(source.table)} AS s "
            f"WHERE s.{quoted(source.key)} = f.{quoted(source_id)})"
        )

    @property
    def _cheap_source_lookup(self) -> tuple[str, str]:
        """The same, and what must be joined for it: a subquery opens its table anew for every fact, a join once.

        Joined only where that cannot double a fact.
        """
        source, source_id = self.b.source, self.b.facts.source_id
        if source is None or source_id is None or not source.key_is_rowid:
            return self.source_lookup, ""
        join = f" LEFT JOIN {quoted(source.table)} AS s ON s.{quoted(source.key)} = f.{quoted(source_id)}"
        return f"s.{quoted(source.source_url)}", join

    @property
    def derivable(self) -> str:
        """True if there is a source, right or wrong: one of the two is there and no blank text."""
        blank = "char(" + ", ".join(str(ord(c)) for c in WHITESPACE) + ")"
        tests = [f"coalesce(trim({part}, {blank}), '') <> '' OR typeof({part}) = 'blob'" for part in self._sources]
        return f"({' OR '.join(tests)})" if tests else "0"

    @property
    def _sources(self) -> list[str]:
        """Where a source can come from, the first before the second, as far as this store has them."""
        return [part for part in (self._fact_column(self.b.facts.source_url), self.source_lookup) if part != "NULL"]

    @property
    def fact_values(self) -> list[str]:
        """The values of derivation.Fact, but for the last."""
        f = self.b.facts
        return [
            self.key, self._fact_column(f.source_url), self.source_lookup,
            self._fact_column(f.created_at), self._fact_column(f.confidence),
        ]  # fmt: skip

    @property
    def _has_metadata(self) -> str:
        return f"m.{quoted(self.b.metadata.fact_id)} IS NOT NULL"

    @property
    def fact_columns_raw(self) -> str:
        """The columns of derivation.Fact in a form that no text can break."""
        return ", ".join([*map(raw_value, self.fact_values), self._has_metadata])

    @property
    def joined(self) -> str:
        """Facts with their metadata row, where there is one."""
        fact_id = f"m.{quoted(self.b.metadata.fact_id)}"
        typed = f" AND typeof({self.key}) IN ('integer', 'text')" if self.odd_keys else ""
        return f"{self.facts} AS f LEFT JOIN {self.metadata} AS m ON {fact_id} = CAST({self.key} AS TEXT){typed}"

    @property
    def residual(self) -> str:
        """True for a fact that would be inserted, updated or rejected."""
        m = self.b.metadata
        residual = f"(m.{quoted(m.fact_id)} IS NULL OR (m.{quoted(m.source_doc)} IS NULL AND {self.derivable}))"
        return f"{residual} AND NOT {self.text_twin}" if self.b.facts.key_is_untyped else residual

    @property
    def text_twin(self) -> str:
        """True for the text key '7' beside the integer 7: both are fact "7", the integer is the one attested."""
        twin, key = f"g.{quoted(self.b.facts.key)}", self.key
        return (
            f"(typeof({key}) = 'text' AND EXISTS (SELECT 1 FROM {self.facts} AS g "
            f"WHERE {twin} = CAST({key} AS INTEGER) + 0 AND typeof({twin}) = 'integer' "
            f"AND CAST({twin} AS TEXT) = {key}))"
        )

    # -- planning ------------------------------------------------------------------------------------

    def planning(self) -> tuple[Statement, ...]:
        key = raw_value(self.key)
        walk = f"FROM {self.joined} WHERE {self.key} IS NOT NULL AND {self.residual} ORDER BY {self.key}"
        onwards = f"FROM {self.joined} WHERE {self.key} > {self.after} AND {self.residual} ORDER BY {self.key}"
        return (
            Statement("residual_key_first", f"SELECT {key} {walk} LIMIT 1 OFFSET :skip", "once"),
            Statement("residual_key", f"SELECT {key} {onwards} LIMIT 1 OFFSET :skip", "once"),
            Statement(
                "fact_key_first",
                f"SELECT {key} FROM {self.facts} AS f WHERE {self.key} IS NOT NULL ORDER BY {self.key} "
                "LIMIT 1 OFFSET :skip", "once",
            ),
            Statement(
                "fact_key",
                f"SELECT {key} FROM {self.facts} AS f WHERE {self.key} > {self.after} ORDER BY {self.key} "
                "LIMIT 1 OFFSET :skip", "once",
            ),
            Statement("residual_facts", f"SELECT {self.fact_columns_raw} {walk}", "once"),
            Statement(
                "was_rejected",
                f"SELECT 1 FROM {quoted(self.b.ledger.reject)} WHERE fact_id = :fact_id AND reason = :reason LIMIT 1",
                "once",
            ),
            Statement("count_null_keys", f"SELECT count(*) FROM {self.facts} AS f WHERE {self.key} IS NULL", "once"),
            Statement("count_facts", f"SELECT count(*) FROM {self.facts}", "once"),
            Statement(
                "key_before",
                f"SELECT {raw_value(self.key)} FROM {self.facts} AS f WHERE {self.key} < {self.through} "
                f"ORDER BY {self.key} DESC LIMIT 1", "batch",
            ),
            Statement(
                "count_through",
                f"SELECT count(*) FROM {self.facts} AS f WHERE {self.key} <= {self.through}", "once",
            ),
            Statement(
                "count_beyond",
                f"SELECT count(*) FROM {self.facts} AS f WHERE {self.key} > {self.after}", "once",
            ),
        )  # fmt: skip

    # -- reading a batch -----------------------------------------------------------------------------

    def reading(self) -> tuple[Statement, ...]:
        from_start = f"{self.key} <= {self.through}"
        onwards = f"{self.key} > {self.after} AND {self.key} <= {self.through}"
        plain, raw = ", ".join([*self.fact_values, self._has_metadata]), self.fact_columns_raw
        old = ", ".join(
            f"m.{quoted(name)}"
            for name in (self.b.metadata.source_doc, self.b.metadata.extracted_at, self.b.metadata.verified_by,
                         self.b.metadata.confidence_lower, self.b.metadata.confidence_upper)
        )  # fmt: skip

        def batch(columns: str, where: str) -> str:
            return (
                f"SELECT {columns} FROM {self.joined} WHERE {where} AND {self.residual} "
                f"ORDER BY {self.key} LIMIT :limit"
            )

        return (
            *self._tally(from_start, "_first"),
            *self._tally(onwards, ""),
            Statement("read_batch_first", batch(plain, from_start), "batch"),
            Statement("read_batch", batch(plain, onwards), "batch"),
            Statement("read_batch_first_raw", batch(raw, from_start), "batch"),
            Statement("read_batch_raw", batch(raw, onwards), "batch"),
            Statement("count_batch_first", f"SELECT count(*) FROM {self.facts} AS f WHERE {from_start}", "batch"),
            Statement("count_batch", f"SELECT count(*) FROM {self.facts} AS f WHERE {onwards}", "batch"),
            Statement(
                "old_metadata",
                f"SELECT {old} FROM {self.metadata} AS m WHERE m.{quoted(self.b.metadata.fact_id)} = :fact_id",
                "batch",
            ),
        )

    def _tally(self, where: str, suffix: str) -> Iterator[Statement]:
        """Counts or stages a batch without reading its plain facts, and reads the others.

        The LIMITs keep each SELECT a step of its own, so that a source is looked up and judged once per fact. A plain
        fact is judged 1 if it has metadata and 0 if not; only in a CASE does SQLite stop at the first test that fails.
        The texts are put together to be decoded: whoever reads them learns whether they are UTF-8.
        """
        own = self._fact_column(self.b.facts.source_url)
        created_at = self._fact_column(self.b.facts.created_at)
        confidence = self._fact_column(self.b.facts.confidence)
        source_url, join = self._cheap_source_lookup
        residual = f"WHERE {where} AND {self.residual} "
        values = (
            f"SELECT {self.key} AS key, coalesce({own}, {source_url}) AS source, {created_at} AS created_at, "
            f"{confidence} AS confidence, {self._has_metadata} AS has_metadata "
            f"FROM {self.joined}{join} {residual}ORDER BY {self.key} LIMIT :limit"
        )
        plain_update = f"CASE WHEN {_all_plain('key', 'source', 'created_at', 'confidence')} THEN has_metadata END"
        judged = (
            f"SELECT key, source, created_at IS NULL AS is_timeless, {plain_update} AS plain_update "
            f"FROM ({values}) LIMIT -1"
        )
        source = f"coalesce({own}, {self.source_lookup})"
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
            f"INSERT INTO temp.{STAGING} SELECT CAST(key AS TEXT), source, {extracted_at_of_plain('created_at')}, "
            f"{lower_of_plain('confidence')}, {upper_of_plain('confidence')}, "
            f"NULL, NULL, {plain_update}, created_at IS NULL, key FROM ({values})", "batch", writes=True,
        )  # fmt: skip
        yield Statement(
            f"read_odd_facts{suffix}",
            f"SELECT {self.fact_columns_raw} FROM {self.joined} {residual}"
            f"AND {_all_plain(self.key, source, created_at, confidence)} IS NOT TRUE ORDER BY {self.key}", "batch",
        )  # fmt: skip

    # -- the ledger ----------------------------------------------------------------------------------

    def ledger(self) -> tuple[Statement, ...]:
        run, chunk = quoted(self.b.ledger.run), quoted(self.b.ledger.chunk)
        keys = {name: key_value(name, odd_keys=True) for name in ("after", "through", "cursor", "expected")}
        row = ", ".join([
            "chunk", "plan_id", raw_value("after_key"), raw_value("through_key"), raw_value("cursor"), *_COUNTS,
            "state", "attempts", "host", "pid", "started_at", "finished_at", "seconds",
        ])  # fmt: skip
        adds = ", ".join(f"{name} = {name} + :{name}" for name in _COUNTS)
        return (
            Statement("read_run", f"SELECT {_RUN_COLUMNS} FROM {run} WHERE run_id = :run_id", "chunk"),
            Statement(
                "open_run",
                f"INSERT INTO {run} (run_id, plan_id, plan, started_at, attester, key_id, host, pid) VALUES "
                "(:run_id, :plan_id, :plan, :now, :attester, :key_id, :host, :pid) ON CONFLICT (run_id) DO NOTHING",
                "chunk", writes=True,
            ),
            Statement(
                "finish_run",
                f"UPDATE {run} SET finished_at = :now WHERE run_id = :run_id AND finished_at IS NULL",
                "chunk", writes=True,
            ),
            Statement("read_chunk", f"SELECT {row} FROM {chunk} WHERE run_id = :run_id AND chunk = :chunk", "batch"),
            Statement("read_chunks", f"SELECT {row} FROM {chunk} WHERE run_id = :run_id ORDER BY chunk", "chunk"),
            Statement(
                "claim_chunk",
                f"INSERT INTO {chunk} (run_id, chunk, plan_id, after_key, through_key, cursor, state, attempts, "
                f"host, pid, started_at, updated_at) VALUES (:run_id, :chunk, :plan_id, {keys['after']}, "
                f"{keys['through']}, {keys['after']}, 'running', 1, :host, :pid, :now, :now) "
                "ON CONFLICT (run_id, chunk) DO UPDATE SET attempts = attempts + 1, host = excluded.host, "
                "pid = excluded.pid, updated_at = excluded.updated_at WHERE state = 'running'",
                "chunk", writes=True,
            ),
            Statement(
                "advance_chunk",
                f"UPDATE {chunk} SET cursor = {keys['cursor']}, {adds}, state = :state, updated_at = :now, "
                "finished_at = CASE :state WHEN 'done' THEN :now END, seconds = seconds + :seconds "
                "WHERE run_id = :run_id AND chunk = :chunk AND plan_id = :plan_id AND state = 'running' "
                f"AND cursor IS {keys['expected']}",
                "batch", writes=True,
            ),
            Statement(
                "reject_reasons",
                f"SELECT reason, count(*) FROM {quoted(self.b.ledger.reject)} WHERE run_id = :run_id "
                "GROUP BY reason ORDER BY reason", "once",
            ),
            Statement(
                "reject_sample",
                f"SELECT fact_id, reason, detail, chunk FROM {quoted(self.b.ledger.reject)} "
                "WHERE run_id = :run_id ORDER BY reject_id LIMIT 20", "once",
            ),
        )  # fmt: skip

    # -- writing a batch -----------------------------------------------------------------------------

    def writing(self) -> tuple[Statement, ...]:
        log, reject = self.b.log, quoted(self.b.ledger.reject)
        log_values = {log.fact_id: "b.fact_id", log.attester: ":attester", log.signature_hex: _SIGNATURE_HEX}
        if log.signed_at:
            log_values[log.signed_at] = ":now"
        last = f"(SELECT key FROM temp.{STAGING} ORDER BY rowid DESC LIMIT 1)"
        of_plain = "FILTER (WHERE is_update IS NOT NULL)"
        keys = f", group_concat(fact_id, char(10)) {of_plain}" if self.odd_keys else ""
        return (
            Statement("clear_staging", f"DELETE FROM temp.{STAGING}", "batch", writes=True),
            Statement(
                "stage_row",
                f"INSERT INTO temp.{STAGING} (fact_id, source_doc, extracted_at, confidence_lower, confidence_upper, "
                f"ed25519_sig, signature_hex, is_update) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "batch",
                writes=True, positional=8,
            ),
            Statement(
                "look_at_staging",
                f"SELECT count(*), {raw_value(last)}, count(is_update), total(is_update), "
                "count(is_update) FILTER (WHERE is_timeless), "
                f"group_concat(source_doc, char(10)) {of_plain}{keys} FROM temp.{STAGING}", "batch",
            ),
            Statement("drop_odd_rows", f"DELETE FROM temp.{STAGING} WHERE is_update IS NULL", "batch", writes=True),
            Statement("insert_metadata", self._insert_metadata(), "batch", writes=True),
            Statement("update_metadata", self._update_metadata(), "batch", writes=True),
            Statement(
                "append_log",
                f"INSERT INTO {quoted(log.table)} ({', '.join(map(quoted, log_values))}) "
                f"SELECT {', '.join(log_values.values())} FROM temp.{STAGING} AS b ORDER BY b.rowid",
                "batch", writes=True,
            ),
            Statement(
                "reject_fact",
                f"INSERT INTO {reject} (run_id, chunk, fact_id, reason, detail, rejected_at) "
                "VALUES (:run_id, :chunk, :fact_id, :reason, :detail, :now)", "batch", writes=True,
            ),
            Statement(
                "reject_null_keys",
                f"INSERT INTO {reject} (run_id, chunk, fact_id, reason, detail, rejected_at) "
                f"SELECT :run_id, :chunk, 'NULL', :reason, :detail, :now FROM {self.facts} AS f "
                f"WHERE {self.key} IS NULL",
                "once", writes=True,
            ),
        )  # fmt: skip

    def _insert_metadata(self) -> str:
        m = self.b.metadata
        values = {
            m.fact_id: "b.fact_id", m.source_doc: "b.source_doc", m.extracted_at: "b.extracted_at",
            m.verified_by: ":attester", m.confidence_lower: "b.confidence_lower",
            m.confidence_upper: "b.confidence_upper", m.ed25519_sig: _SIGNATURE,
        }  # fmt: skip
        values |= {name: ":now" for name in (m.created_at, m.updated_at) if name}
        return (
            f"INSERT INTO {self.metadata} ({', '.join(map(quoted, values))}) SELECT {', '.join(values.values())} "
            f"FROM temp.{STAGING} AS b WHERE b.is_update = 0 ORDER BY b.rowid "
            f"ON CONFLICT ({quoted(m.fact_id)}) DO NOTHING"
        )

    def _update_metadata(self) -> str:
        m = self.b.metadata
        values = {
            m.source_doc: "b.source_doc", m.extracted_at: "b.extracted_at", m.verified_by: ":attester",
            m.confidence_lower: "b.confidence_lower", m.confidence_upper: "b.confidence_upper",
            m.ed25519_sig: _SIGNATURE,
        }  # fmt: skip
        if m.updated_at:
            values[m.updated_at] = ":now"
        sets = ", ".join(f"{quoted(column)} = {value}" for column, value in values.items())
        return (
            f"UPDATE {self.metadata} AS m SET {sets} FROM temp.{STAGING} AS b WHERE b.is_update = 1 "
            f"AND m.{quoted(m.fact_id)} = b.fact_id AND m.{quoted(m.source_doc)} IS NULL"
        )

    # -- closing -------------------------------------------------------------------------------------

    def closing(self) -> tuple[Statement, ...]:
        source_doc = quoted(self.b.metadata.source_doc)
        return (
            *self._count_residual(),
            Statement(
                "top_sources",
                f"SELECT {source_doc}, count(*) FROM {self.metadata} WHERE {source_doc} IS NOT NULL "
                f"GROUP BY {source_doc} ORDER BY count(*) DESC, {source_doc} LIMIT 10", "once",
            ),
        )  # fmt: skip

    def _count_residual(self) -> Iterator[Statement]:
        """Residual facts, or what is left of all facts without the unchanged ones.

        Where keys are rowids, the metadata's side is the cheaper one to start from: its neighbours are neighbours among
        the facts too, and SQLite steps from one rowid to the next without a search. There, the unchanged facts are
        counted, range by range if the rows of the metadata have numbers.
        """
        if self.odd_keys:
            yield Statement("count_residual", f"SELECT count(*) FROM {self.joined} WHERE {self.residual}", "once")
            return
        m = self.b.metadata
        fact_id, rowid = f"m.{quoted(m.fact_id)}", f"m.{m.rowid}"
        unchanged = (
            f"SELECT count(*) FROM {self.metadata} AS m NOT INDEXED CROSS JOIN {self.facts} AS f "
            f"WHERE {self.key} = CAST({fact_id} AS INTEGER) AND CAST({self.key} AS TEXT) = {fact_id} "
            f"AND (m.{quoted(m.source_doc)} IS NOT NULL OR NOT {self.derivable})"
        )
        yield Statement("count_unchanged", unchanged, "once")
        if m.rowid:
            lowest, highest = (f"(SELECT {end}({m.rowid}) FROM {self.metadata})" for end in ("min", "max"))
            yield Statement("metadata_bounds", f"SELECT {lowest}, {highest}", "once")
            yield Statement("count_unchanged_between", f"{unchanged} AND {rowid} BETWEEN :first AND :last", "once")
