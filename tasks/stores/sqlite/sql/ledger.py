"""The ledger: runs, their chunks, and the batches that were committed."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.stores.protocols.counts import COUNTS, COUNTS_OF_BATCHES
from tasks.stores.protocols.states import DONE, RUNNING, STOPPED, ChunkState, before_chunk_is
from tasks.stores.sqlite.sql.spelling import Statement, key_value, quoted, raw_value

_RUN = "plan_id, plan, started_at, finished_at, attester, key_id"
_CHUNK = ", ".join([
    "chunk", "plan_id", raw_value("after_key"), raw_value("through_key"), raw_value("cursor"), *COUNTS,
    "state", "attempts", "host", "pid", "started_at", "finished_at", "seconds",
])  # fmt: skip
_BATCH = ", ".join([
    "chunk", raw_value("after_key"), raw_value("through_key"), *COUNTS_OF_BATCHES, "first_attestation_id",
    "last_attestation_id", "key_id", "content",
])  # fmt: skip
_BATCH_VALUES = (
    *COUNTS_OF_BATCHES, "first_attestation_id", "last_attestation_id", "key_id", "content", "host", "pid", "began_at",
    "committed_at", "reading_seconds", "deriving_seconds", "signing_seconds", "waiting_seconds", "locked_seconds",
)  # fmt: skip
_AFTER, _THROUGH, _CURSOR, _EXPECTED = (
    key_value(name, odd_keys=True) for name in ("after", "through", "cursor", "expected")
)
_HAS_BUDGET = "CASE WHEN json_valid(plan) THEN plan ->> '$.max_rows' END IS NOT NULL"


def _comes_to(state: ChunkState) -> str:
    """Where a chunk may come to this state from the one that it is in."""
    found = [f"'{before}'" for before in before_chunk_is(state)]
    return f"state = {found[0]}" if len(found) == 1 else f"state IN ({', '.join(found)})"


def ledger_statements(binding: Binding) -> tuple[Statement, ...]:
    sql = _Builder(binding)
    return (*sql.runs(), *sql.budgeted_runs(), *sql.chunks(), *sql.steps(), *sql.batches())


class _Builder:
    def __init__(self, binding: Binding) -> None:
        ledger = binding.ledger
        self.log = binding.log
        self.run, self.chunk, self.batch = quoted(ledger.run), quoted(ledger.chunk), quoted(ledger.batch)

    def runs(self) -> Iterator[Statement]:
        yield Statement("read_run", f"SELECT {_RUN} FROM {self.run} WHERE run_id = :run_id", "chunk")
        yield Statement(
            "open_run",
            f"INSERT INTO {self.run} (run_id, plan_id, plan, kind, state, started_at, attester, key_id, host, pid) "
            f"VALUES (:run_id, :plan_id, :plan, :kind, '{RUNNING}', :now, :attester, :key_id, :host, :pid) "
            "ON CONFLICT (run_id) DO NOTHING",
            "chunk", writes=True,
        )  # fmt: skip
        yield Statement(
            "finish_run",
            f"UPDATE {self.run} SET finished_at = :now, state = '{DONE}', stop_reason = :stop_reason, "
            "remaining = :remaining WHERE run_id = :run_id AND finished_at IS NULL",
            "chunk", writes=True,
        )  # fmt: skip
        yield Statement(
            "stop_run",
            f"UPDATE {self.run} SET state = '{STOPPED}', stop_reason = :stop_reason "
            "WHERE run_id = :run_id AND finished_at IS NULL",
            "chunk", writes=True,
        )  # fmt: skip

    def budgeted_runs(self) -> Iterator[Statement]:
        """What the last run with a row budget left behind."""
        yield Statement(
            "last_budgeted_run",
            f"SELECT finished_at, remaining FROM {self.run} WHERE finished_at IS NOT NULL AND remaining IS NOT NULL "
            f"AND run_id <> :run_id AND {_HAS_BUDGET} ORDER BY rowid DESC LIMIT 1", "once",
        )  # fmt: skip
        yield Statement(
            "last_budgeted_key",
            f"SELECT {raw_value('cursor')} FROM {self.chunk} WHERE cursor IS NOT NULL AND run_id = "
            f"(SELECT run_id FROM {self.run} WHERE {_HAS_BUDGET} ORDER BY rowid DESC LIMIT 1) "
            f"ORDER BY state = '{DONE}', CASE state WHEN '{DONE}' THEN -chunk ELSE chunk END LIMIT 1", "once",
        )  # fmt: skip

    def chunks(self) -> Iterator[Statement]:
        of_run = f"SELECT {_CHUNK} FROM {self.chunk} WHERE run_id = :run_id"
        yield Statement("read_chunk", f"{of_run} AND chunk = :chunk", "batch")
        yield Statement("read_chunks", f"{of_run} ORDER BY chunk", "chunk")
        yield Statement(
            "settled_by",
            f"SELECT total(inserted + updated), total(rejected) FROM {self.chunk} WHERE run_id = :run_id", "batch",
        )  # fmt: skip

    def steps(self) -> Iterator[Statement]:
        """What moves a chunk on."""
        yield Statement(
            "claim_chunk",
            f"INSERT INTO {self.chunk} (run_id, chunk, plan_id, after_key, through_key, cursor, state, attempts, "
            f"host, pid, started_at, updated_at) VALUES (:run_id, :chunk, :plan_id, {_AFTER}, "
            f"{_THROUGH}, {_AFTER}, '{RUNNING}', 1, :host, :pid, :now, :now) "
            "ON CONFLICT (run_id, chunk) DO UPDATE SET attempts = attempts + 1, host = excluded.host, "
            f"pid = excluded.pid, updated_at = excluded.updated_at WHERE {_comes_to(RUNNING)} "
            "AND plan_id = excluded.plan_id",
            "chunk", writes=True,
        )  # fmt: skip
        adds = ", ".join(f"{name} = {name} + :{name}" for name in COUNTS)
        yield Statement(
            "advance_chunk",
            f"UPDATE {self.chunk} SET cursor = {_CURSOR}, {adds}, state = :state, updated_at = :now, "
            f"finished_at = CASE :state WHEN '{DONE}' THEN :now END, seconds = seconds + :seconds "
            f"WHERE run_id = :run_id AND chunk = :chunk AND plan_id = :plan_id AND {_comes_to(DONE)} "
            f"AND cursor IS {_EXPECTED}",
            "batch", writes=True,
        )  # fmt: skip
        yield Statement(
            "note_failure",
            f"UPDATE {self.chunk} SET last_error = :error, updated_at = :now "
            f"WHERE run_id = :run_id AND chunk = :chunk AND {_comes_to(RUNNING)}",
            "chunk", writes=True,
        )  # fmt: skip

    def batches(self) -> Iterator[Statement]:
        yield Statement("append_ledger_batch", self._append_batch(), "batch", writes=True)
        of_run = f"SELECT {_BATCH} FROM {self.batch} WHERE run_id = :run_id"
        yield Statement("read_ledger_batches", f"{of_run} ORDER BY chunk, batch", "chunk")
        yield Statement("read_ledger_batches_of_chunk", f"{of_run} AND chunk = :chunk ORDER BY batch", "chunk")
        counted = f"SELECT count(*) FROM {quoted(self.log.table)}"
        within = f"{quoted(self.log.attestation_id)} BETWEEN :first AND :last"
        of_attester = f"{quoted(self.log.attester)} = :attester"
        yield Statement("count_log_rows", f"{counted} WHERE {within}", "batch")
        yield Statement("count_log_rows_of", f"{counted} WHERE {of_attester} AND {within}", "batch")

    def _append_batch(self) -> str:
        of_chunk = f"FROM {self.batch} WHERE run_id = :run_id AND chunk = :chunk"
        values = {
            "run_id": ":run_id", "chunk": ":chunk", "batch": f"(SELECT coalesce(max(batch), 0) + 1 {of_chunk})",
            "after_key": _AFTER, "through_key": _THROUGH, **{name: f":{name}" for name in _BATCH_VALUES},
        }  # fmt: skip
        return f"INSERT INTO {self.batch} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
