"""Every statement that a run can execute on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.attestation.signature_column import PLACEHOLDER_HEX
from tasks.contract.binding import AttestationBinding, Binding
from tasks.stores.sqlite.sql.attestations import AttestationSql
from tasks.stores.sqlite.sql.bounds import number_if_plain, value_bytes, value_if_plain, value_kind
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
from tasks.stores.sqlite.sql.signature_column import PLACEHOLDER_BLOB
from tasks.stores.sqlite.sql.spelling import STAGING, TRANSACTION, FactSql, Statement, key_value, quoted, raw_value
from tasks.stores.sqlite.sql.stale import stale_statement

# A staged row without a signature gets a placeholder when it is written: it need not be copied about so often.
_SIGNATURE = f"coalesce(b.ed25519_sig, {PLACEHOLDER_BLOB})"
_SIGNATURE_HEX = f"coalesce(b.signature_hex, '{PLACEHOLDER_HEX}')"


_STAGED = "fact_id, source_doc, extracted_at, confidence_lower, confidence_upper"


def build_statements(binding: Binding) -> tuple[Statement, ...]:
    """All statements of a run, in the order in which a run first needs them."""
    sql = RunSql(binding)
    return (*TRANSACTION, *sql.planning(), *sql.reading(), *sql.ledger(), *sql.writing(), *sql.closing())


_RUN_COLUMNS = "plan_id, plan, started_at, finished_at, attester, key_id"
_COUNTS = (
    "eligible", "inserted", "updated", "unchanged", "rejected",
    "signed", "placeholder", "created_at_missing", "confidence_not_numeric",
)  # fmt: skip
_BATCH_VALUES = (
    *_COUNTS[:7], "first_attestation_id", "last_attestation_id", "key_id", "content", "host", "pid", "began_at",
    "committed_at", "reading_seconds", "deriving_seconds", "signing_seconds", "waiting_seconds", "locked_seconds",
)  # fmt: skip


def _all_plain(must_be_read: str, key: str, source: str, created_at: str, confidence: str) -> str:
    return (
        f"(NOT ({must_be_read}) AND {key_is_plain(key)} AND {source_is_plain(source)} AND {time_is_plain(created_at)} "
        f"AND {confidence_is_plain(confidence)})"
    )


_BATCH_COUNTS = ("eligible", "inserted", "updated", "unchanged", "rejected", "signed", "placeholder")


class RunSql(FactSql):
    """The statements by what they are for."""

    # -- planning ------------------------------------------------------------------------------------

    def planning(self) -> tuple[Statement, ...]:
        key = raw_value(self.key)
        keyed, beyond = f"{self.key} IS NOT NULL{self.not_set_aside}", f"{self.key} > {self.after}{self.not_set_aside}"
        walk = f"FROM {self.joined} WHERE {keyed} AND {self.residual} ORDER BY {self.key}"
        created_at = self._fact_column(self.b.facts.created_at)
        until, ledger = f"{self.key} <= {self.through}", self.b.ledger
        onwards = f"FROM {self.joined} WHERE {beyond} AND {self.residual} ORDER BY {self.key}"
        return (
            Statement("data_version", "PRAGMA data_version", "batch"),
            Statement("residual_key_first", f"SELECT {key} {walk} LIMIT 1 OFFSET :skip", "once"),
            Statement("residual_key", f"SELECT {key} {onwards} LIMIT 1 OFFSET :skip", "once"),
            Statement(
                "fact_key_first",
                f"SELECT {key} FROM {self.facts} AS f WHERE {keyed} ORDER BY {self.key} "
                "LIMIT 1 OFFSET :skip", "once",
            ),
            Statement(
                "fact_key",
                f"SELECT {key} FROM {self.facts} AS f WHERE {beyond} ORDER BY {self.key} "
                "LIMIT 1 OFFSET :skip", "once",
            ),
            *(
                Statement(
                    f"residual_facts{suffix}",
                    f"SELECT {self.fact_columns_raw} FROM {self.joined}{self._witnessed} WHERE {where} "
                    f"AND {self.residual} ORDER BY {self.key}", "once",
                )
                for suffix, where in {
                    "": keyed, "_after": beyond, "_through": f"{keyed} AND {until}",
                    "_after_through": f"{beyond} AND {until}",
                }.items()
            ),
            Statement(
                "last_budgeted_key",
                f"SELECT {raw_value('cursor')} FROM {quoted(ledger.chunk)} WHERE cursor IS NOT NULL AND run_id = "
                f"(SELECT run_id FROM {quoted(ledger.run)} WHERE CASE WHEN json_valid(plan) THEN plan ->> '$.max_rows' "
                "END IS NOT NULL ORDER BY rowid DESC LIMIT 1) "
                "ORDER BY state = 'done', CASE state WHEN 'done' THEN -chunk ELSE chunk END LIMIT 1", "once",
            ),
            Statement("journal_mode", "PRAGMA journal_mode", "once"),
            Statement("any_source", f"SELECT EXISTS (SELECT 1 FROM {self.facts} AS f WHERE {self.derivable})", "once"),
            Statement(
                "created_at_sample",
                f"SELECT {value_kind(created_at, 'longest_value')}, {value_bytes(created_at, 'longest_value')} "
                f"FROM {self.facts} AS f ORDER BY {self.key} DESC LIMIT 200", "once",
            ),
            Statement(
                "was_rejected",
                f"SELECT 1 FROM {quoted(self.b.ledger.reject)} WHERE fact_id = :fact_id AND reason = :reason LIMIT 1",
                "once",
            ),
            Statement(
                "count_set_aside",
                f"SELECT count(*), count(*) FILTER (WHERE typeof({self.key}) <> 'null') FROM {self.facts} AS f "
                f"WHERE {self.set_aside}", "once",
            ),
            Statement("count_facts", f"SELECT count(*) FROM {self.facts} NOT INDEXED", "once"),
            Statement(
                "key_before",
                f"SELECT {key} FROM {self.facts} AS f WHERE {self.key} < {self.through}{self.not_set_aside} "
                f"ORDER BY {self.key} DESC LIMIT 1", "batch",
            ),
            Statement(
                "count_through",
                f"SELECT count(*) FROM {self.facts} AS f WHERE {self.key} <= {self.through}{self.not_set_aside}",
                "once",
            ),
            Statement(
                "count_beyond",
                f"SELECT count(*) FROM {self.facts} AS f WHERE {beyond}", "once",
            ),
        )  # fmt: skip

    # -- reading a batch -----------------------------------------------------------------------------

    def reading(self) -> tuple[Statement, ...]:
        from_start = f"{self.key} <= {self.through}{self.not_set_aside}"
        onwards = f"{self.key} > {self.after} AND {from_start}"
        plain, raw = self.fact_columns, self.fact_columns_raw
        old = ", ".join(
            f"m.{quoted(name)}"
            for name in (self.b.metadata.source_doc, self.b.metadata.extracted_at, self.b.metadata.verified_by,
                         self.b.metadata.confidence_lower, self.b.metadata.confidence_upper)
        )  # fmt: skip

        def batch(columns: str, where: str) -> str:
            return (
                f"SELECT {columns} FROM {self.joined}{self._witnessed} WHERE {where} AND {self.residual} "
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
            *self._evidence(),
            Statement(
                "old_metadata",
                f"SELECT {old} FROM {self.metadata} AS m WHERE m.{quoted(self.b.metadata.fact_id)} = :fact_id",
                "batch",
            ),
        )

    def _evidence(self) -> Iterator[Statement]:
        """What the log says of one fact, and the row that it says it of."""
        log = self.b.log
        sql = AttestationSql(AttestationBinding(self.b.metadata, log, self.b.ledger.tile))
        yield Statement(
            "latest_attestation",
            f"SELECT max({sql.of_log(log.attestation_id)}) FROM {sql.log} AS l "
            f"WHERE {sql.of_log(log.fact_id)} = :fact_id", "batch",
        )  # fmt: skip
        yield Statement(
            "attested_metadata",
            f"SELECT {', '.join(map(raw_value, sql.attested))}, {sql.ever_signed} FROM {sql.joined} "
            f"WHERE {sql.fact_id} = :fact_id", "batch",
        )  # fmt: skip

    def _tally(self, where: str, suffix: str) -> Iterator[Statement]:
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
            f"INSERT INTO temp.{STAGING} ({_STAGED}, is_update, is_timeless, key) SELECT CAST({key} AS TEXT), "
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

    # -- the ledger ----------------------------------------------------------------------------------

    def ledger(self) -> tuple[Statement, ...]:
        run, chunk = quoted(self.b.ledger.run), quoted(self.b.ledger.chunk)
        reject, created_at = quoted(self.b.ledger.reject), self._fact_column(self.b.facts.created_at)
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
                f"INSERT INTO {run} (run_id, plan_id, plan, kind, state, started_at, attester, key_id, host, pid) "
                "VALUES (:run_id, :plan_id, :plan, :kind, 'running', :now, :attester, :key_id, :host, :pid) "
                "ON CONFLICT (run_id) DO NOTHING",
                "chunk", writes=True,
            ),
            Statement(
                "finish_run",
                f"UPDATE {run} SET finished_at = :now, state = 'done', stop_reason = :stop_reason, "
                "remaining = :remaining WHERE run_id = :run_id AND finished_at IS NULL",
                "chunk", writes=True,
            ),
            Statement(
                "last_budgeted_run",
                f"SELECT finished_at, remaining FROM {run} WHERE finished_at IS NOT NULL AND remaining IS NOT NULL "
                "AND run_id <> :run_id AND CASE WHEN json_valid(plan) THEN plan ->> '$.max_rows' END IS NOT NULL "
                "ORDER BY rowid DESC LIMIT 1", "once",
            ),
            Statement(
                "oldest_waiting",
                f"SELECT min({created_at}) FROM {self.joined} WHERE CASE WHEN octet_length({created_at}) > 40 THEN 0 "
                f"WHEN :ticks IS NULL THEN {created_at} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' "
                f"ELSE typeof({created_at}) IN ('integer', 'real') END AND {self.residual}", "once",
            ),
            Statement(
                "stop_run",
                f"UPDATE {run} SET state = 'stopped', stop_reason = :stop_reason "
                "WHERE run_id = :run_id AND finished_at IS NULL",
                "chunk", writes=True,
            ),
            Statement(
                "settled_by",
                f"SELECT total(inserted + updated), total(rejected) FROM {chunk} WHERE run_id = :run_id", "batch",
            ),
            Statement(
                "count_new_rejects",
                f"SELECT count(*) FROM {reject} AS r WHERE r.run_id = :run_id AND NOT EXISTS (SELECT 1 FROM {reject} "
                "AS e WHERE e.fact_id = r.fact_id AND e.reason = r.reason AND e.reject_id < r.reject_id)", "batch",
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
                "note_failure",
                f"UPDATE {chunk} SET last_error = :error, updated_at = :now "
                "WHERE run_id = :run_id AND chunk = :chunk AND state = 'running'",
                "chunk", writes=True,
            ),
            Statement("append_ledger_batch", self._append_batch(), "batch", writes=True),
            *self._read_batches(),
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

    def _read_batches(self) -> Iterator[Statement]:
        log = self.b.log
        names = ", ".join([
            "chunk", raw_value("after_key"), raw_value("through_key"), *_BATCH_COUNTS, "first_attestation_id",
            "last_attestation_id", "key_id", "content",
        ])  # fmt: skip
        of_run = f"SELECT {names} FROM {quoted(self.b.ledger.batch)} WHERE run_id = :run_id"
        yield Statement("read_ledger_batches", f"{of_run} ORDER BY chunk, batch", "chunk")
        yield Statement("read_ledger_batches_of_chunk", f"{of_run} AND chunk = :chunk ORDER BY batch", "chunk")
        yield Statement(
            "count_log_rows_of",
            f"SELECT count(*) FROM {quoted(log.table)} WHERE {quoted(log.attester)} = :attester "
            f"AND {quoted(log.attestation_id)} BETWEEN :first AND :last", "batch",
        )  # fmt: skip

    def _append_batch(self) -> str:
        batch = quoted(self.b.ledger.batch)
        values = {
            "run_id": ":run_id", "chunk": ":chunk",
            "batch": f"(SELECT coalesce(max(batch), 0) + 1 FROM {batch} WHERE run_id = :run_id AND chunk = :chunk)",
            "after_key": key_value("after", odd_keys=True), "through_key": key_value("through", odd_keys=True),
            **{name: f":{name}" for name in _BATCH_VALUES},
        }  # fmt: skip
        return f"INSERT INTO {batch} ({', '.join(values)}) VALUES ({', '.join(values.values())})"

    # -- writing a batch -----------------------------------------------------------------------------

    def writing(self) -> tuple[Statement, ...]:
        log, reject = self.b.log, quoted(self.b.ledger.reject)
        log_values = {log.fact_id: "b.fact_id", log.attester: ":attester", log.signature_hex: _SIGNATURE_HEX}
        if log.signed_at:
            log_values[log.signed_at] = ":now"
        if log.notes:
            log_values[log.notes] = "b.notes"
        last = f"(SELECT key FROM temp.{STAGING} ORDER BY rowid DESC LIMIT 1)"
        of_plain = "FILTER (WHERE is_update IS NOT NULL)"
        keys = f", group_concat(fact_id, char(10)) {of_plain}" if self.odd_keys else ""
        return (
            Statement("clear_staging", f"DELETE FROM temp.{STAGING}", "batch", writes=True),
            Statement(
                "stage_row",
                f"INSERT INTO temp.{STAGING} ({_STAGED}, ed25519_sig, signature_hex, is_update) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "batch", writes=True, positional=8,
            ),
            Statement(
                "stage_superseding_row",
                f"INSERT INTO temp.{STAGING} ({_STAGED}, ed25519_sig, signature_hex, is_update, supersedes, notes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "batch", writes=True, positional=10,
            ),
            Statement("was_attested_since", self._was_attested_since(), "batch"),
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
                "reject_set_aside",
                f"INSERT INTO {reject} (run_id, chunk, fact_id, reason, detail, rejected_at) "
                f"SELECT :run_id, :chunk, {self._in_place_of_a_key}, :now FROM {self.facts} AS f "
                f"WHERE {self.set_aside}",
                "once", writes=True,
            ),
        )  # fmt: skip

    def _was_attested_since(self) -> str:
        """A row if the log knows more of a staged fact than was known when it was staged."""
        log = self.b.log
        return (
            f"SELECT 1 FROM temp.{STAGING} AS b CROSS JOIN {quoted(log.table)} AS l "
            f"ON l.{quoted(log.fact_id)} = b.fact_id "
            f"WHERE b.supersedes IS NULL OR l.{quoted(log.attestation_id)} > b.supersedes LIMIT 1"
        )

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
        still = f"m.{quoted(m.source_doc)} IS NULL"
        if self.b.follows_changes:  # of a row that is superseded, `attested_metadata` sees that it is as it was read
            still = f"(b.supersedes IS NOT NULL OR {still})"
        return (
            f"UPDATE {self.metadata} AS m SET {sets} FROM temp.{STAGING} AS b WHERE b.is_update = 1 "
            f"AND m.{quoted(m.fact_id)} = b.fact_id AND {still}"
        )

    # -- closing -------------------------------------------------------------------------------------

    def closing(self) -> tuple[Statement, ...]:
        source_doc = quoted(self.b.metadata.source_doc)
        return (
            *self._count_residual(),
            *self._count_rejected(),
            stale_statement(self.b),
            Statement(
                "top_sources",
                f"SELECT {source_doc}, count(*) FROM {self.metadata} WHERE {source_doc} IS NOT NULL "
                f"GROUP BY {source_doc} ORDER BY count(*) DESC, {source_doc} LIMIT 10", "once",
            ),
        )  # fmt: skip

    def _count_rejected(self) -> Iterator[Statement]:
        """What one run rejected, by the fact: which of those facts are residual now."""
        reject, of_run = quoted(self.b.ledger.reject), "run_id = :run_id"
        same = f"{self.key} = CAST(r.fact_id AS INTEGER)"
        if self.odd_keys:
            same = (
                f"{self.key} IN (r.fact_id, CAST(r.fact_id AS INTEGER)) AND typeof({self.key}) IN ('integer', 'text')"
            )
        yield Statement(
            "count_rejected_residual",
            f"SELECT count(*) FROM (SELECT DISTINCT fact_id FROM {reject} WHERE {of_run}) AS r "
            f"CROSS JOIN {self.joined} WHERE {same} AND CAST({self.key} AS TEXT) = r.fact_id "
            f"AND {self.residual}", "once",
        )  # fmt: skip
        yield Statement(
            "was_rejected_by",
            f"SELECT 1 FROM {reject} WHERE fact_id = :fact_id AND (:run_id IS NULL OR {of_run}) LIMIT 1", "once",
        )  # fmt: skip
        yield Statement(
            "count_rejected_set_aside",
            f"SELECT count(*) FROM {reject} WHERE {of_run} AND ((fact_id = 'NULL' AND detail = :no_key_detail) "
            "OR (fact_id GLOB '(a key of * bytes)' AND reason = :too_long))", "once",
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
            f"{f' AND NOT {self.stale}' if self.b.follows_changes else ''}"
        )
        yield Statement("count_unchanged", unchanged, "once")
        if m.rowid:
            lowest, highest = (f"(SELECT {end}({m.rowid}) FROM {self.metadata})" for end in ("min", "max"))
            yield Statement("metadata_bounds", f"SELECT {lowest}, {highest}", "once")
            yield Statement("count_unchanged_between", f"{unchanged} AND {rowid} BETWEEN :first AND :last", "once")
