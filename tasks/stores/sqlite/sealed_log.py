"""The SQLite session of the sealed log: what seals, audits, proves and rotates goes through here.

Every statement is compiled by the gate before it runs, under a guard that lets the session write what it is for
and nothing else: tiles and checkpoints, or one row of the attestation log, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import apsw

from tasks.attestation.log.leaves import AttestedRow, LatestRow, LogRow, PayloadRow, Value
from tasks.attestation.log.rotation_record import RotationRow
from tasks.attestation.signature_column import PLACEHOLDER_HEX
from tasks.contract.binding import SidecarBinding
from tasks.core import crash_points
from tasks.core.errors import SchemaChangedError
from tasks.core.values import NotUtf8
from tasks.job.settings import Settings
from tasks.stores.protocols.sealed_log import (
    NewCheckpoint,
    Purpose,
    StoredCheckpoint,
    Tile,
    TileHead,
    unpacked_ids,
)
from tasks.stores.sqlite.gate import CompiledStatement, SidecarVerification, verify_sidecar
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.opening import StoreConnection, connected, translated
from tasks.stores.sqlite.sql.sealed_log import build_log_statements


@contextmanager
def open_log_session(settings: Settings, *, purpose: Purpose) -> Iterator[SqliteLogSession]:
    """A verified connection for one purpose, closed when the block ends. "rehearse" reads, and is verified to seal.

    Raises DriftError if the tables are not what the contract says, DatabaseError if the file cannot be used.
    """
    path = settings.database_path
    with connected(settings, write=purpose in ("seal", "rotate")) as connection:
        with translated(path, "its schema was verified", lock_timeout=settings.pacing.lock_timeout_seconds):
            verification = verify_sidecar(
                connection,
                settings,
                build=build_log_statements,
                guard=_compiling,
                seals=purpose in ("seal", "rehearse"),
            )
            connection.authorizer = _guard(verification.binding, purpose)
        yield SqliteLogSession(connection, settings, verification)


def log_statements(settings: Settings) -> tuple[CompiledStatement, ...]:
    """Pass the gate of the sealed log, as a sealer has to, and say what was compiled. Writes nothing."""
    with open_log_session(settings, purpose="rehearse") as session:
        return session.verification.compiled


def _guard(binding: SidecarBinding, purpose: Purpose) -> Guard:
    tables = {
        "read": (),
        "rehearse": (),
        "seal": (binding.ledger.tile, binding.ledger.checkpoint),
        "rotate": (binding.log.table,),
    }
    return Guard(insert=tables[purpose])


def _compiling(binding: SidecarBinding) -> Guard:
    """What any purpose may write: every statement is compiled, whichever will run."""
    return Guard(insert=(binding.ledger.tile, binding.ledger.checkpoint, binding.log.table))


class SqliteLogSession:
    """One verified connection to the sealed log and what it seals."""

    def __init__(self, connection: StoreConnection, settings: Settings, verification: SidecarVerification) -> None:
        self._connection = connection
        self._settings = settings
        self.verification = verification
        self._sql = verification.sql

    @property
    def binding(self) -> SidecarBinding:
        return self.verification.binding

    @property
    def opened(self) -> str:
        return str(self._connection.file.real)

    # -- one statement, one transaction --------------------------------------------------------------

    def _translated(self) -> AbstractContextManager[None]:
        settings = self._settings
        return translated(
            settings.database_path, "the log was sealed or read", lock_timeout=settings.pacing.lock_timeout_seconds
        )

    def _run(self, name: str, **parameters: Any) -> list[Any]:
        with self._translated():
            return self._connection.execute(self._sql[name], parameters).fetchall()

    def _stream(self, name: str, **parameters: Any) -> Iterator[Any]:
        with self._translated():
            yield from self._connection.execute(self._sql[name], parameters)

    def snapshot(self) -> AbstractContextManager[None]:
        """Everything read inside the block is the same moment's."""
        return self._transaction("begin_read")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._run(begin)
        try:
            if begin == "begin_write":
                self.check_place()
            yield
            self._run("commit")
        except BaseException:
            with suppress(apsw.Error):
                if self._connection.in_transaction:
                    self._connection.execute(self._sql["rollback"])
            raise

    def check_place(self) -> None:
        """Raise DatabaseError if the path of the database means another file by now."""
        self._connection.file.refuse_another()

    def check_schema(self) -> None:
        """Raise SchemaChangedError if the schema is no longer the verified one."""
        if self._run("schema_version")[0][0] != self.verification.schema_version:
            raise SchemaChangedError(
                "the schema changed while the log was sealed",
                where=f"database {self._settings.database_path}",
                written="What is committed stays",
                again="; run the same command again",
                advice_last=True,
            )

    # -- rows of the log -----------------------------------------------------------------------------

    def last_attestation_id(self) -> int | None:
        found = self._run("last_attestation_id")[0][0]
        return None if found is None else int(found)

    def count_all_rows(self) -> int:
        """How many rows the table itself has, whatever an index says."""
        return int(self._run("count_all_rows")[0][0])

    def count_rows(self, first: int, last: int) -> int:
        """How many rows have an id from `first` to `last`."""
        return int(self._run("count_rows", first=first, last=last)[0][0])

    def end_of_rows(self, first: int, last: int, rows: int) -> int | None:
        """The id of the `rows`-th row from `first` on; None if there are fewer up to `last`."""
        found = self._run("end_of_rows", first=first, last=last, skip=rows - 1)
        return int(found[0][0]) if found else None

    def read_attested(self, first: int, last: int) -> list[AttestedRow]:
        """The rows with ids from `first` to `last`, in order, each with its fact's metadata. Plain tuples."""
        bounds = {"first": first, "last": last, "placeholder": PLACEHOLDER_HEX}
        try:
            return self._run("read_attested", **bounds)
        except UnicodeDecodeError:
            rows = self._run("read_attested_raw", **bounds)
            return [AttestedRow._make([row[0], *_values(row[1:-1]), row[-1]]) for row in rows]

    def read_rows(self, first: int, last: int) -> list[LogRow]:
        """The rows with ids from `first` to `last`, in order. Plain tuples."""
        try:
            return self._run("read_rows", first=first, last=last)
        except UnicodeDecodeError:
            rows = self._run("read_rows_raw", first=first, last=last)
            return [LogRow(row[0], *_values(row[1:])) for row in rows]

    def read_log_row(self, attestation_id: int) -> LogRow | None:
        """One row, whatever is stored in it."""
        rows = self.read_rows(attestation_id, attestation_id)
        return LogRow(*rows[0]) if rows else None

    # -- sealing -------------------------------------------------------------------------------------

    def last_checkpoint(self) -> StoredCheckpoint | None:
        rows = self._run("last_checkpoint")
        return _checkpoint(rows[0]) if rows else None

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All of them, the smallest first."""
        return [_checkpoint(row) for row in self._run("read_checkpoints")]

    def leaves_of_run(self, run_id: str) -> int:
        """How many leaves were sealed for a run, by whichever of its processes."""
        return int(self._run("leaves_of_run", run_id=run_id)[0][0])

    def append(self, new: NewCheckpoint) -> bool:
        """Commit tiles and their checkpoint durably, all of it or nothing.

        False, with nothing written, if another sealer was faster: the log has another size than `grows_from` now.
        """
        crash_points.reach("before the seal's write lock")
        with self._transaction("begin_write"):
            self.check_schema()
            last = self._run("last_checkpoint")
            if (last[0][0] if last else 0) != new.grows_from:
                return False
            with self._translated():
                self._connection.executemany(self._sql["append_tile"], map(_tile_values, new.tiles))
            made = new.checkpoint
            self._run(
                "append_checkpoint", tree_size=made.tree_size, root=made.root, frontier=made.frontier,
                last_attestation_id=made.last_attestation_id, note=made.note.decode(), run_id=new.run_id, now=new.now,
            )  # fmt: skip
            crash_points.reach("before the seal commits")
        crash_points.reach("after the seal commits")
        return True

    # -- tiles ---------------------------------------------------------------------------------------

    def layout(self) -> list[TileHead]:
        """Every tile without its large columns, in leaf order."""
        return [tile_head(row) for row in self._run("read_layout")]

    def read_tile(self, head: TileHead) -> Tile:
        """A tile whose head has no objection."""
        row = self._run("read_tile", first_leaf=head.first_leaf)[0]
        return Tile(head.first_leaf, unpacked_ids(head, row[5]), row[4], row[6], row[7])

    # -- the metadata against the log ----------------------------------------------------------------

    def read_latest(self, first: int, last: int) -> list[LatestRow]:
        """The rows from `first` to `last` that are the latest of their fact, with its metadata row. Plain tuples."""
        try:
            return self._run("read_latest", first=first, last=last)
        except UnicodeDecodeError:
            return [
                LatestRow(row[0], *_values(row[1:])) for row in self._run("read_latest_raw", first=first, last=last)
            ]

    def read_metadata(self, fact_id: str) -> tuple[object, PayloadRow] | None:
        """The signature column of a fact and the columns of its payload."""
        rows = self._run("read_metadata_raw", fact_id=fact_id)
        return (_values(rows[0][:2])[0], PayloadRow(*_values(rows[0][2:]))) if rows else None

    def read_successions(self, first: int, last: int) -> list[Any]:
        """The rows from `first` to `last` that are not the latest of their fact, each with the next one about it.

        Tuples of (its id, the next one's id, fact id, notes), of any storage class.
        """
        rows = self._run("read_successions", first=first, last=last)
        return [(*row[:2], *_values(row[2:])) for row in rows]

    def first_batch_attestation(self) -> int | None:
        """The least attestation id in the ledger of batches, None if no batch has logged anything."""
        found: int | None = self._run("first_batch_attestation")[0][0]
        return found

    def rows_that_supersede(self, *, before: int | None) -> Iterator[tuple[int, object]]:
        """(id, notes) of rows whose notes look as if they named an attestation that they supersede, in order."""
        for attestation_id, *notes in self._stream("rows_that_supersede", before=before):
            yield attestation_id, _values(notes)[0]

    def unlogged(self) -> Iterator[object]:
        """The facts that have a metadata row and no row in the log."""
        for storage, value in self._stream("read_unlogged"):
            yield _value(storage, value)

    def latest_of_fact(self, fact_id: str) -> int | None:
        found = self._run("latest_of_fact", fact_id=fact_id)[0][0]
        return None if found is None else int(found)

    def has_older(self, fact_id: str, signature_hex: str, *, before: int) -> bool:
        """Whether an earlier row of the log holds this signature for this fact."""
        rows = self._run("older_with_signature", fact_id=fact_id, signature_hex=signature_hex, before=before)
        return rows[0][0] is not None

    def rotations(self) -> list[RotationRow]:
        """Rows that say they rotate a key, in the order of their ids."""
        return [RotationRow(row[0], *_values(row[1:])) for row in self._run("read_rotations")]

    def append_rotation(self, *, fact_id: str, attester: str, signature_hex: str, notes: str, now: str) -> int:
        """Append one row to the log, durably. Returns its attestation id."""
        with self._transaction("begin_write"):
            self.check_schema()
            self._run(
                "append_rotation", fact_id=fact_id, attester=attester, signature_hex=signature_hex, notes=notes, now=now
            )
            return self._connection.last_insert_rowid()


def _value(storage: str, value: Any) -> Value:
    """One column of a raw read: (storage class, value with text as its bytes)."""
    if storage != "text":
        return value  # type: ignore[no-any-return]
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        return NotUtf8(value)


def _values(row: Any) -> list[Value]:
    return [_value(storage, value) for storage, value in zip(row[::2], row[1::2], strict=True)]


def _checkpoint(row: Any) -> StoredCheckpoint:
    size, root, frontier, last_attestation_id, note = row
    return StoredCheckpoint(size, root or b"", frontier or b"", last_attestation_id or 0, note or b"")


def tile_head(row: Any) -> TileHead:
    """A row of the layout."""
    first_leaf, leaves, first_id, last_id, roots, ids_length, marks_length, digests_length = row
    return TileHead(
        first_leaf, leaves or 0, first_id or 0, last_id or 0, roots or b"", ids_length, marks_length or 0,
        digests_length or 0,
    )  # fmt: skip


def _tile_values(tile: Tile) -> tuple[Any, ...]:
    ids = tile.attestation_ids
    return (
        tile.first_leaf, tile.leaves, ids[0], ids[-1], tile.roots, tile.packed_ids, tile.marks, tile.digests,
    )  # fmt: skip
