"""The SQLite session: every method runs statements that the gate compiled, looked up by name."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import apsw
from pydantic import TypeAdapter

from tasks.attestation.signature_column import signature_hex
from tasks.contract.binding import Binding
from tasks.core import crash_points
from tasks.core.documents import typed
from tasks.core.errors import DatabaseError, ProvenanceError, RowRefusedError, SchemaChangedError, StateError
from tasks.core.fact_keys import Key, decoded, decoded_pairs, decoded_value, describe
from tasks.core.values import KEY_NOT_TEXT_OR_INTEGER, TOO_LONG, NotUtf8, Record, Reject, UnreadableFact, Value
from tasks.derivation.rules import Rules, refused_fact
from tasks.job.settings import Settings
from tasks.stores.protocols.session import (
    BatchRead,
    BatchWrite,
    Counts,
    LedgerBatch,
    LedgerRow,
    PlainCounts,
    RunKind,
    RunRow,
    SetAside,
    Superseded,
)
from tasks.stores.sqlite.gate import Verification, live_guard, verify
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.opening import StoreConnection, close_quietly, connected, open_connection, translated
from tasks.stores.sqlite.refusals import RowRehearsal, first_unreadable
from tasks.stores.sqlite.sharing import Piece, share
from tasks.stores.sqlite.sql.bounds import value_parameters
from tasks.stores.sqlite.sql.spelling import quoted
from tasks.stores.sqlite.stale import answer_is_stale

NULL_KEY_DETAIL = "the key is NULL"
_RUN_ROWS = TypeAdapter(RunRow)
_TRIES_FOR_ONE_MOMENT = 10
_MOST_BATCH_TEXT = 8 * 2**20  # characters, of which there will be copies; 25,000 ordinary facts take half of it
_RANGES_TO_COUNT = 16  # so many that two connections end together, so few that their number costs nothing


@contextmanager
def open_session(settings: Settings, *, write: bool) -> Iterator[SqliteSession]:
    """A connection that has passed the gate, closed when the block ends.

    Raises DriftError if the database does not honour the contract, DatabaseError if it cannot be used. Without
    `write` the connection cannot change the database: read-only open, query_only, and the guard.
    """
    path = settings.database_path
    with connected(settings, write=write) as connection:
        with translated(path, "its schema was verified", lock_timeout=settings.pacing.lock_timeout_seconds):
            verification = verify(connection, settings)
        session = SqliteSession(connection, settings, verification)
        try:
            yield session
        finally:
            session.end_rehearsal()


class SqliteSession:
    """One verified connection. See stores.base.Session for what each method promises."""

    _kind: RunKind = "backfill"

    def __init__(self, connection: StoreConnection, settings: Settings, verification: Verification) -> None:
        self._connection = connection
        self._settings = settings
        self._verification = verification
        self._sql = {c.statement.name: c.statement.sql for c in verification.compiled}
        self._rules = value_parameters(settings.derivation)
        self._helper: apsw.Connection | None = None  # shares the snapshot that is open, if there is one
        self._read_at: list[Any] | None = None  # the data_version of the batch that is to be written
        self._fitting: int | None = None  # so many facts went into the last batch, if it was cut short
        self._rehearsal: RowRehearsal | None = None

    @property
    def binding(self) -> Binding:
        return self._verification.binding

    @property
    def fingerprint(self) -> str:
        return self._verification.fingerprint

    @property
    def file(self) -> Path:
        return self._connection.file.real

    def verification_json(self) -> dict[str, Any]:
        return self._verification.as_json(self._settings)

    # -- one statement, one transaction --------------------------------------------------------------

    def _run(self, name: str, **parameters: Any) -> list[Any]:
        """Execute a verified statement by name and fetch everything it returns."""
        return self._run_on(self._connection, name, **parameters)

    def _run_on(self, connection: apsw.Connection, name: str, **parameters: Any) -> list[Any]:
        with self._translated(name):
            return connection.execute(self._sql[name], {**self._rules, **parameters}).fetchall()

    def _stream(self, name: str, **parameters: Any) -> Iterator[Any]:
        with self._translated(name):
            yield from self._connection.execute(self._sql[name], {**self._rules, **parameters})

    def _run_bounded(self, name: str, **parameters: Any) -> tuple[list[Any], bool]:
        """The rows of a statement up to the one that makes them `_MOST_BATCH_TEXT`, and whether these are all."""
        rows, is_whole, error = self._run_while_readable(name, **parameters)
        if error is not None:
            raise error
        return rows, is_whole

    def _run_while_readable(self, name: str, **parameters: Any) -> tuple[list[Any], bool, RowRefusedError | None]:
        """The same; third, what SQLite said if it could not read the next row: then these are the rows before it."""
        rows, size = list[Any](), 0
        try:
            values = {**self._rules, **parameters}
            with self._translated(name), closing(self._connection.execute(self._sql[name], values)) as found:
                for row in found:
                    rows.append(row)
                    size += _text_in(row)
                    if size > _MOST_BATCH_TEXT:
                        return rows, False, None
        except RowRefusedError as error:
            self.check_schema()
            return rows, False, error
        return rows, True, None

    def _translated(self, name: str) -> AbstractContextManager[None]:
        return translated(
            self._settings.database_path, f"{name} ran", written="Nothing of this batch was written.",
            lock_timeout=self._settings.pacing.lock_timeout_seconds,
        )  # fmt: skip

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        """Commit what the block did, or roll all of it back."""
        self._run(begin)
        try:
            if begin == "begin_write":
                self.check_file()
            yield
            self._run("commit")
        except BaseException:
            with suppress(apsw.Error):
                if self._connection.in_transaction:
                    self._connection.execute(self._sql["rollback"])
            raise

    def check_file(self) -> None:
        self._connection.file.refuse_another()

    def check_schema(self) -> None:
        self.check_file()
        if self._run("schema_version")[0][0] != self._verification.schema_version:
            raise SchemaChangedError(f"database {self._settings.database_path}: the schema changed while the chunk ran")

    # -- planning ------------------------------------------------------------------------------------

    def residual_key(self, *, after: Key, skip: int) -> Key:
        return self._skipped("residual_key", after, skip)

    def fact_key(self, *, after: Key, skip: int) -> Key:
        return self._skipped("fact_key", after, skip)

    def _skipped(self, name: str, after: Key, skip: int) -> Key:
        first = "_first" if after is None else ""
        rows = self._run(f"{name}{first}", skip=skip, **(bound("after", after) if after is not None else {}))
        if not rows:
            raise DatabaseError(
                f"database {self._settings.database_path}: there are fewer residual facts after {describe(after)} than "
                f"were counted: an index does not agree with its table. Nothing was written. Look at the database "
                f"with the sqlite3 shell, or restore a backup."
            )
        return decoded(*rows[0])

    def last_budgeted_key(self) -> Key:
        rows = self._run("last_budgeted_key")
        return decoded(*rows[0]) if rows else None

    def residual_facts(self, *, after: Key = None, through: Key = None) -> Iterator[tuple[Any, ...]]:
        position, end = after, "" if through is None else "_through"
        ending = {} if through is None else bound("through", through)
        while True:
            name, begin = (
                ("residual_facts", {}) if position is None else ("residual_facts_after", bound("after", position))
            )
            try:
                for row in map(_decode_raw, self._stream(f"{name}{end}", **begin, **ending)):
                    position = row[0]
                    yield row
                return
            except RowRefusedError as error:
                unreadable = self._unreadable_fact(position, error)
            yield unreadable
            position = unreadable.key

    def _unreadable_fact(self, after: Key, error: RowRefusedError) -> UnreadableFact:
        """The first fact behind `after` that the database cannot read, found by halving the range of keys.

        Raises the error that led here if there is none: then it was not about a row.
        """
        self.check_schema()
        first, bounds = ("_first", {}) if after is None else ("", bound("after", after))

        def key_at(number: int) -> Key:
            rows = self._run(f"fact_key{first}", skip=number, **bounds)
            return decoded(*rows[0]) if rows else None

        def cannot_read_through(key: Key) -> bool:
            try:
                self._run(f"read_batch{first}_raw", limit=1, **bounds, **bound("through", key))
            except RowRefusedError:
                return True
            return False

        key = first_unreadable(key_at, cannot_read_through)
        if key is None:
            raise error
        return UnreadableFact(key, refused_fact(key, error.words))

    def journal_mode(self) -> str:
        return str(self._run("journal_mode")[0][0])

    def any_source(self) -> bool:
        try:
            return bool(self._run("any_source")[0][0])
        except RowRefusedError:
            return True

    def created_at_sample(self) -> list[Value]:
        if self.binding.facts.created_at is None:
            return []
        with suppress(RowRefusedError):
            return [decoded_value(*row) for row in self._run("created_at_sample")]
        return []

    def was_rejected(self, fact_id: str, reason: str) -> bool:
        return bool(self._run("was_rejected", fact_id=fact_id, reason=reason))

    def count_set_aside(self) -> SetAside:
        """Costs a walk over the keys unless they are rowids: their lengths are looked at."""
        if self.binding.facts.key_is_rowid:
            return SetAside()
        both, long_keys = self._run("count_set_aside")[0]
        return SetAside(null_keys=both - long_keys, long_keys=long_keys)

    def key_before(self, key: Key) -> Key:
        rows = self._run("key_before", **bound("through", key))
        return decoded(*rows[0]) if rows else None

    def count_facts(self) -> int:
        return self._count("count_facts")

    def refuse_damaged_indexes(self) -> None:
        indexes = self._verification.indexes
        names = list(dict.fromkeys(s.name for index in indexes for s in (index.of_table, index.of_index)))
        with self._counting():
            counted = dict(zip(names, share([self._piece(name) for name in names], self._connections), strict=True))
        for index in indexes:
            rows, entries = counted[index.of_table.name], counted[index.of_index.name]
            if rows != entries:
                raise DatabaseError(
                    f"database {self._settings.database_path}: {index.table} has {rows} rows, and its index "
                    f'"{index.index}" has {entries} entries: the index is damaged, and rows would be missed. '
                    f"Nothing was written. Build it anew with the sqlite3 shell: REINDEX {quoted(index.index)}; "
                    f"or restore a backup."
                )

    def count_through(self, key: Key) -> int:
        return self._count("count_through", **bound("through", key))

    def count_beyond(self, key: Key) -> int:
        return self._count("count_beyond", **bound("after", key))

    def count_residual(self) -> int:
        with self._counting():
            try:
                return _residual(share(self._counts(), self._connections))
            except RowRefusedError:
                return self._count_one_by_one()

    def closing_counts(self) -> tuple[int, list[tuple[str, int]]]:
        with self._counting():
            try:
                sources, *counts = share([self._top_sources, *self._counts()], self._connections)
            except RowRefusedError:
                return self._count_one_by_one(), self._top_sources(self._connection)
        return _residual(counts), sources

    def _count_one_by_one(self) -> int:
        """The residual facts, where one of them cannot be read; that one counts."""
        return self.count_set_aside().total + sum(1 for _ in self.residual_facts())

    def _counting(self) -> AbstractContextManager[None]:
        return nullcontext() if self._connection.in_transaction else self.counting_snapshot()

    @property
    def _connections(self) -> list[apsw.Connection]:
        """Those that read as one snapshot shows it."""
        return [self._connection, self._helper] if self._helper else [self._connection]

    def _counts(self) -> list[Piece]:
        """A count of facts, and counts to take away from it: what is left is residual."""
        if not self.binding.facts.key_is_rowid:
            return [self._piece("count_residual")]
        if not self.binding.metadata.rowid:
            return [self._piece("count_facts"), self._piece("count_unchanged")]
        ranges = _even_ranges(*self._run("metadata_bounds")[0])
        return [
            self._piece("count_facts"),
            *(self._piece("count_unchanged_between", first=first, last=last) for first, last in ranges),
        ]

    def _piece(self, name: str, **parameters: Any) -> Piece:
        return lambda connection: int(self._run_on(connection, name, **parameters)[0][0])

    def _count(self, name: str, **parameters: Any) -> int:
        return int(self._run(name, **parameters)[0][0])

    def _top_sources(self, connection: apsw.Connection) -> list[tuple[str, int]]:
        try:
            return [(str(source), count) for source, count in self._run_on(connection, "top_sources")]
        except UnicodeDecodeError:
            return []

    # -- reading -------------------------------------------------------------------------------------

    def stale_candidates(self) -> Iterator[tuple[Any, ...]]:
        for row in self._stream("stale_candidates"):
            yield tuple(decoded_pairs(row))

    def snapshot(self) -> AbstractContextManager[None]:
        return self._transaction("begin_read")

    @contextmanager
    def counting_snapshot(self) -> Iterator[None]:
        """A snapshot that a second connection shares, so that two threads can count in it.

        The helper's snapshot is taken first, this connection's after it. If this one's data_version is then still what
        it was before both, nothing was committed in between, and both are the same. Else it is tried again; on a
        database that is never still, this connection counts alone.
        Source: https://sqlite.org/pragma.html#pragma_data_version
        """
        helper = open_connection(self._settings.database_path, pacing=self._settings.pacing, write=False)
        helper.authorizer = Guard()
        answer_is_stale(helper, self._settings)
        try:
            for _ in range(_TRIES_FOR_ONE_MOMENT):
                before = self._run("data_version")
                self._run_on(helper, "begin_read")
                self._run_on(helper, "schema_version")
                with self.snapshot():
                    if self._run("data_version") == before:
                        self._helper = helper
                        yield
                        return
                self._run_on(helper, "rollback")
            with self.snapshot():
                yield
        finally:
            self._helper = None
            close_quietly(helper)

    def read_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        with self.snapshot():
            self._read_at = self._run("data_version")
            facts, rejects, last = self._read_facts(after, through, limit)
            exhausted = last is None
            if exhausted:
                last = through
            eligible, set_aside = self._count_range(after, last, with_set_aside=with_set_aside)
        return BatchRead(facts, last, eligible, exhausted, set_aside, rejects=rejects)

    def _read_facts(self, after: Key, through: Key, limit: int) -> tuple[list[Any], list[Reject], Key]:
        """At most `limit` residual facts of a range, those that cannot be read, and the last key; None at the end."""
        facts, rejects = list[Any](), list[Reject]()
        position = after
        while True:
            rows, is_whole, error = self._read_some(position, through, limit - len(facts) - len(rejects))
            facts += rows
            position = rows[-1][0] if rows else position
            if error is not None:
                position, reject = self._unreadable_fact(position, error)
                rejects.append(reject)
            is_full = len(facts) + len(rejects) >= limit
            if error is None or is_full:
                self._fitting = None if is_whole or error else len(facts)
                return facts, rejects, None if is_whole and not is_full else position

    def _read_some(self, after: Key, through: Key, limit: int) -> tuple[list[Any], bool, RowRefusedError | None]:
        """Facts up to the first that cannot be read; see `_run_while_readable`."""
        first, bounds = _range(after, through)
        try:
            return self._run_while_readable(f"read_batch{first}", limit=limit, **bounds)
        except UnicodeDecodeError:
            raw, is_whole, error = self._run_while_readable(f"read_batch{first}_raw", limit=limit, **bounds)
            return [_decode_raw(row) for row in raw], is_whole, error

    def tally_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool) -> BatchRead:
        first, bounds = _range(after, through)
        limit = self._likely_to_fit(limit)
        with self.snapshot():
            tally = self._readable(f"tally_batch{first}", limit=limit, **bounds)
            batch = self._of_tally(tally, after, through, limit, with_set_aside=with_set_aside)
        return batch or self.read_batch(after=after, through=through, limit=limit, with_set_aside=with_set_aside)

    def stage_batch(self, *, after: Key, through: Key, limit: int, with_set_aside: bool, rules: Rules) -> BatchRead:
        first, bounds = _range(after, through)
        values = {"default_extracted_at": rules.default_extracted_at, "confidence_width": rules.confidence_width}
        limit = self._likely_to_fit(limit)
        with self.snapshot():
            self._read_at = self._run("data_version")
            self._run("clear_staging")
            tally = None
            with suppress(RowRefusedError):
                self._run(f"stage_batch{first}", limit=limit, **values, **bounds)
                tally = self._readable("look_at_staging")
            batch = self._of_tally(tally, after, through, limit, with_set_aside=with_set_aside)
            if batch is None:
                self._run("clear_staging")
            elif batch.facts:
                self._run("drop_odd_rows")
        return batch or self.read_batch(after=after, through=through, limit=limit, with_set_aside=with_set_aside)

    def _likely_to_fit(self, limit: int) -> int:
        """How many facts to try: where values are long, not many more than there was room for the last time."""
        if self._fitting is None or 2 * self._fitting >= limit:
            return limit
        self._fitting *= 2
        return self._fitting

    def _readable(self, name: str, **parameters: Any) -> Any:
        """The one row of a statement; None if a text of it is not UTF-8, or something of it cannot be read at all."""
        try:
            return self._run(name, **parameters)[0]
        except (UnicodeDecodeError, RowRefusedError):
            return None

    def _of_tally(self, tally: Any, after: Key, through: Key, most: int, *, with_set_aside: bool) -> BatchRead | None:
        """The batch of at most `most` facts that was tallied, with those of its facts that are not plain.

        None if it has to be read instead: there is no tally, or its last key is too long for it, or not as many facts
        are odd as it leaves over, or they are too large to be held together.
        """
        if tally is None:
            return None
        residual, is_text, last, plain, updated, timeless, *_ = tally
        exhausted = residual < most
        last = through if exhausted else decoded(is_text, last)
        if last is None and not exhausted:
            return None
        first, of_range = _range(after, last)
        odd, is_whole, _ = (
            self._run_while_readable(f"read_odd_facts{first}", **of_range) if plain < residual else ([], True, None)
        )
        if not is_whole or len(odd) != residual - plain:
            return None
        eligible, set_aside = self._count_range(after, last, with_set_aside=with_set_aside)
        counts = PlainCounts(int(plain - updated), int(updated), int(timeless))
        return BatchRead([_decode_raw(row) for row in odd], last, eligible, exhausted, set_aside, counts)

    def _count_range(self, after: Key, through: Key, *, with_set_aside: bool) -> tuple[int, SetAside]:
        """The facts of `(after, through]`, residual or not, and those set aside where they go with it."""
        first, bounds = _range(after, through)
        set_aside = self.count_set_aside() if with_set_aside and after is None else SetAside()
        return self._count(f"count_batch{first}", **bounds), set_aside

    def old_metadata(self, fact_id: str) -> Record | None:
        try:
            rows = self._run("old_metadata", fact_id=fact_id)
        except UnicodeDecodeError:
            return None
        if not rows:
            return None
        source_doc, extracted_at, _, lower, upper = rows[0]
        return Record(fact_id, source_doc, extracted_at, lower, upper)

    def latest_attestation(self, fact_id: str) -> int | None:
        found: int | None = self._run("latest_attestation", fact_id=fact_id)[0][0]
        return found

    def attested_metadata(self, fact_id: str) -> tuple[Any, ...] | None:
        rows = self._run("attested_metadata", fact_id=fact_id)
        return _decode_raw(rows[0]) if rows else None

    # -- foreseeing ----------------------------------------------------------------------------------

    @property
    def own_rules(self) -> tuple[str, ...]:
        return self._verification.own_rules

    def foresee_refusals(self, records: Sequence[Record], *, signed: bool) -> list[Reject]:
        if not self.own_rules or not records:
            return []
        if self._rehearsal is None:
            self._rehearsal = RowRehearsal(
                self.binding, self._verification.catalogue, live_guard(self.binding),
                attester=self._settings.derivation.attester, is_signed=signed,
            )  # fmt: skip
        return self._rehearsal.refusals(records)

    def end_rehearsal(self) -> None:
        if self._rehearsal is not None:
            self._rehearsal.close()

    # -- the ledger ----------------------------------------------------------------------------------

    def read_run(self, run_id: str) -> RunRow | None:
        """Raises StateError if the row is none that the job has written."""
        try:
            rows = self._run("read_run", run_id=run_id)
            names = RunRow.__dataclass_fields__
            return typed(_RUN_ROWS, dict(zip(names, rows[0], strict=True))) if rows else None
        except ValueError as error:  # not UTF-8, or not what belongs there
            raise StateError(
                f"run {run_id}: its row in {self.binding.ledger.run} is none that this job has written: {error}. "
                f"Somebody altered it: use a new --run-id, and find out who writes to the database. Nothing was "
                f"written."
            ) from None

    def open_run(self, *, run_id: str, plan_id: str, plan: str, now: str, attester: str, key_id: str | None) -> None:
        with self._transaction("begin_write"):
            self._run(
                "open_run", run_id=run_id, plan_id=plan_id, plan=plan, kind=self._kind, now=now, attester=attester,
                key_id=key_id, host=socket.gethostname(), pid=os.getpid(),
            )  # fmt: skip

    def last_budgeted_run(self, run_id: str) -> tuple[str, int] | None:
        rows = self._run("last_budgeted_run", run_id=run_id)
        return (str(rows[0][0]), int(rows[0][1])) if rows else None

    def oldest_waiting(self) -> str | int | float | None:
        if self.binding.facts.created_at is None:
            return None
        with suppress(RowRefusedError, UnicodeDecodeError):
            oldest: str | int | float | None = self._run("oldest_waiting")[0][0]
            return oldest
        return None

    def finish_run(self, *, run_id: str, now: str, stop_reason: str, remaining: int) -> None:
        with self._transaction("begin_write"):
            self._run("finish_run", run_id=run_id, now=now, stop_reason=stop_reason, remaining=remaining)

    def read_chunk(self, run_id: str, chunk: int) -> LedgerRow | None:
        rows = self._run("read_chunk", run_id=run_id, chunk=chunk)
        return _ledger_row(rows[0]) if rows else None

    def read_chunks(self, run_id: str) -> list[LedgerRow]:
        return [_ledger_row(row) for row in self._run("read_chunks", run_id=run_id)]

    def read_batches(self, run_id: str, *, chunk: int | None = None) -> list[LedgerBatch]:
        of_chunk = {} if chunk is None else {"chunk": chunk}
        name = "read_ledger_batches" if chunk is None else "read_ledger_batches_of_chunk"
        return [_ledger_batch(row) for row in self._run(name, run_id=run_id, **of_chunk)]

    def count_log_rows(self, *, attester: str, first: int, last: int) -> int:
        return self._count("count_log_rows_of", attester=attester, first=first, last=last)

    def claim_chunk(self, *, run_id: str, plan_id: str, chunk: int, after: Key, through: Key, now: str) -> LedgerRow:
        with self._transaction("begin_write"):
            self._run(
                "claim_chunk", run_id=run_id, plan_id=plan_id, chunk=chunk, now=now, host=socket.gethostname(),
                pid=os.getpid(), **bound("after", after), **bound("through", through),
            )  # fmt: skip
            row = self.read_chunk(run_id, chunk)
        assert row is not None  # it was entered or found a moment ago; no trigger may prevent that
        if row.plan_id != plan_id:
            raise StateError(
                f"chunk {chunk} of run {run_id} belongs to plan {row.plan_id[:12]}… in the ledger, the current plan "
                f"is {plan_id[:12]}…. Use a new --run-id. Nothing was written."
            )
        return row

    def note_failure(self, *, run_id: str, chunk: int, error: str, now: str) -> None:
        with suppress(apsw.Error, ProvenanceError), self._without_waiting(), self._transaction("begin_write"):
            self._run("note_failure", run_id=run_id, chunk=chunk, error=error, now=now)

    @contextmanager
    def _without_waiting(self) -> Iterator[None]:
        """A lock that another writer holds is an error at once."""
        self._connection.set_busy_timeout(0)
        try:
            yield
        finally:
            self._connection.set_busy_timeout(int(self._settings.pacing.lock_timeout_seconds * 1000))

    # -- writing -------------------------------------------------------------------------------------

    def write_batch(self, batch: BatchWrite) -> range | None:
        """1. Stage the rows in memory, before the lock. 2. Lock. 3. See that the log says what it said when they were
        read. 4. Rows, log, rejects, ledger. 5. Commit.

        Each step must change exactly as many rows as were staged for it; anything else means that the read is
        stale, and all of it is rolled back.
        """
        self._stage(batch)
        crash_points.reach("before the write lock")
        lock = LockTimes()
        try:
            with self._transaction("begin_write"):
                lock.taken()
                self.check_schema()
                self._refuse_overtaken(batch)
                ids = self._write_rows(batch)
                with of_no_fact():
                    self._write_ledger(batch, ids, lock)
                crash_points.reach("before commit")
        except StaleReadError:
            return None
        crash_points.reach("after commit")
        return ids

    def _stage(self, batch: BatchWrite) -> None:
        """By fact_id, the order of the index that costs most to keep. Locks nothing: staging is temporary."""
        rows = [(*record, blob, signature_hex(blob), is_update) for record, blob, _, is_update in batch.in_order]
        new = len(rows) - len(batch.superseded)
        superseding = [(*row, *_supersession(batch.superseded[row[0]])) for row in rows[new:]]
        with self._transaction("begin_read"), self._translated("stage_row"):
            if batch.plain == PlainCounts():
                self._run("clear_staging")
            self._connection.executemany(self._sql["stage_row"], rows[:new] if superseding else rows)
            self._connection.executemany(self._sql["stage_superseding_row"], superseding)

    def _refuse_overtaken(self, batch: BatchWrite) -> None:
        """Raise StaleReadError if a fact was attested, or a row that is superseded was altered, since the read.

        Nothing was where nobody else has committed: then data_version is what it was.
        Source: https://sqlite.org/pragma.html#pragma_data_version
        """
        if self._run("data_version") == self._read_at:
            return
        if self._run("was_attested_since"):
            raise StaleReadError("a fact was attested since it was read")
        for fact_id, superseded in batch.superseded.items():
            if self.attested_metadata(fact_id) != superseded.row:
                raise StaleReadError("a row that is superseded was altered since it was read")

    def _write_rows(self, batch: BatchWrite) -> range:
        """Returns the ids of the log rows: one transaction's follow each other."""
        values = {"attester": batch.attester, "now": batch.now}
        inserts = len(batch.inserts) + batch.plain.inserted
        updates = len(batch.updates) + batch.plain.updated
        self._expect(inserts, "insert_metadata", **values)
        self._expect(updates, "update_metadata", **values)
        self._expect(inserts + updates, "append_log", **values)
        end = self._connection.last_insert_rowid() + 1
        return range(end - inserts - updates, end)

    def _write_ledger(self, batch: BatchWrite, ids: range, lock: LockTimes) -> None:
        of_batch = {"run_id": batch.run_id, "chunk": batch.chunk, "now": batch.now}
        for reject in batch.rejects:
            self._run("reject_fact", **of_batch, **reject._asdict())
        if batch.set_aside:
            self._expect(
                batch.set_aside.total, "reject_set_aside", **of_batch,
                no_key=KEY_NOT_TEXT_OR_INTEGER, no_key_detail=NULL_KEY_DETAIL, too_long=TOO_LONG,
            )  # fmt: skip
        counts = dict(zip(Counts.__dataclass_fields__, batch.counts.values(), strict=True))
        self._expect(
            1, "advance_chunk", **of_batch, **counts, plan_id=batch.plan_id, state=batch.state,
            seconds=batch.seconds, **bound("cursor", batch.cursor), **bound("expected", batch.expected_cursor),
        )  # fmt: skip
        self._run(
            "append_ledger_batch", **of_batch, **counts, **bound("after", batch.expected_cursor),
            **bound("through", batch.cursor), first_attestation_id=ids[0] if ids else None,
            last_attestation_id=ids[-1] if ids else None, key_id=batch.key_id if batch.counts.signed else None,
            content=batch.content, host=socket.gethostname(), pid=os.getpid(),
            began_at=batch.times.began_at, committed_at=batch.clock(),
            reading_seconds=batch.times.reading, deriving_seconds=batch.times.deriving,
            signing_seconds=batch.times.signing, waiting_seconds=lock.waited, locked_seconds=lock.held(),
        )  # fmt: skip

    def _expect(self, rows: int, name: str, **parameters: Any) -> None:
        """Execute a write that must change exactly `rows` rows."""
        if rows == 0 and name != "advance_chunk":
            return
        self._run(name, **parameters)
        if self._connection.changes() != rows:
            raise StaleReadError(f"{name} changed {self._connection.changes()} rows, expected {rows}")

    # -- closing -------------------------------------------------------------------------------------

    def count_rejected_residual(self, run_id: str) -> int:
        kept_apart = 0
        if not self.binding.facts.key_is_rowid:
            values = {"no_key_detail": NULL_KEY_DETAIL, "too_long": TOO_LONG}
            rejected = self._run("count_rejected_set_aside", run_id=run_id, **values)[0][0]
            kept_apart = min(rejected, self.count_set_aside().total) if rejected else 0
        try:
            return kept_apart + int(self._run("count_rejected_residual", run_id=run_id)[0][0])
        except RowRefusedError:  # one of them cannot be read: look at every residual fact
            facts = self.residual_facts()
            fact_ids = (f.reject.fact_id if isinstance(f, UnreadableFact) else str(f[0]) for f in facts)
            return kept_apart + sum(self.was_rejected_by(run_id, fact_id) for fact_id in fact_ids)

    def was_rejected_by(self, run_id: str | None, fact_id: str) -> bool:
        return bool(self._run("was_rejected_by", run_id=run_id, fact_id=fact_id))

    def settled_by(self, run_id: str) -> tuple[int, int]:
        written, rejected = self._run("settled_by", run_id=run_id)[0]
        return int(written), int(rejected)

    def stop_run(self, *, run_id: str, stop_reason: str) -> None:
        with self._transaction("begin_write"):
            self._run("stop_run", run_id=run_id, stop_reason=stop_reason)

    def count_new_rejects(self, run_id: str) -> int:
        return self._count("count_new_rejects", run_id=run_id)

    def reject_reasons(self, run_id: str) -> dict[str, int]:
        return {str(reason): int(count) for reason, count in self._run("reject_reasons", run_id=run_id)}

    def reject_sample(self, run_id: str) -> list[dict[str, Any]]:
        names = ("fact_id", "reason", "detail", "chunk")
        return [dict(zip(names, row, strict=True)) for row in self._run("reject_sample", run_id=run_id)]


def _supersession(superseded: Superseded) -> tuple[int, str]:
    return superseded.attestation_id, superseded.notes


@contextmanager
def of_no_fact() -> Iterator[None]:
    """A row of the ledger that is refused is not the fault of a fact: looking for one would be in vain."""
    try:
        yield
    except RowRefusedError as error:
        raise DatabaseError(str(error)) from None


class LockTimes:
    """How long the wait for the write lock was, and how long it has been held since. Seconds."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self.waited = 0.0

    def taken(self) -> None:
        now = time.monotonic()
        self.waited, self._since = now - self._since, now

    def held(self) -> float:
        return time.monotonic() - self._since


class StaleReadError(Exception):
    """The store moved on between reading a batch and writing it."""


def bound(name: str, key: Key) -> dict[str, Any]:
    """A key as the parameters of its placeholder; text that is not UTF-8 travels as bytes with a flag."""
    if isinstance(key, NotUtf8):
        return {name: bytes(key), f"{name}_is_text": 1}
    return {name: key, f"{name}_is_text": 0}


def _text_in(row: tuple[Any, ...]) -> int:
    """The length of a row's texts and BLOBs; only of those in the first four columns where they are what they should.

    A microsecond here is one of fifty that a signed row may take at all.
    """
    key, first, second, third = row[:4]
    try:
        return len(first or "") + len(second or "") + len(third or "") + (len(key) if type(key) is str else 0)
    except TypeError:
        return sum([len(value) for value in row if isinstance(value, (str, bytes))])


def _range(after: Key, through: Key) -> tuple[str, dict[str, Any]]:
    """The ending of a statement's name for a range, and its parameters."""
    through_values = bound("through", through)
    return ("_first", through_values) if after is None else ("", {**bound("after", after), **through_values})


def _residual(counts: list[int]) -> int:
    facts, *unchanged = counts
    return facts - sum(unchanged)


def _even_ranges(lowest: int | None, highest: int | None) -> Iterator[tuple[int, int]]:
    """The integers from `lowest` to `highest` as ranges of one length, the ends included; none of none."""
    if lowest is None or highest is None:
        return
    length = (highest - lowest) // _RANGES_TO_COUNT + 1
    for first in range(lowest, highest + 1, length):
        yield first, min(first + length - 1, highest)


def _decode_raw(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """(kind, value) pairs and a last plain column, back to the columns of a fact."""
    return (*decoded_pairs(row[:-1]), row[-1])


def _ledger_batch(row: tuple[Any, ...]) -> LedgerBatch:
    chunk, after, through = row[0], decoded(*row[1:3]), decoded(*row[3:5])
    return LedgerBatch(chunk, after, through, _ledger_counts(chunk, row[5:12]), *row[12:])


def _ledger_counts(chunk: object, values: tuple[Any, ...]) -> Counts:
    """Raises StateError for what no transaction of this job could have left there."""
    with suppress(AssertionError):
        if all(type(value) is int and value >= 0 for value in values):
            return Counts(*values)
    raise StateError(
        f"chunk {chunk!a}: the ledger has the counts {values!a} for it, which do not add up. Nobody but this job may "
        f"write to its ledger: use a new --run-id, and find out who did."
    )


def _ledger_row(row: tuple[Any, ...]) -> LedgerRow:
    chunk, plan_id = row[:2]
    after, through, cursor = (decoded(*row[i : i + 2]) for i in (2, 4, 6))
    counts = _ledger_counts(chunk, row[8:17])
    state, attempts, host, pid, started_at, finished_at, seconds = row[17:]
    return LedgerRow(
        chunk, plan_id, after, through, cursor, counts, state, attempts, host, pid, started_at, finished_at, seconds
    )
