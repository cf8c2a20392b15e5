"""A new sample database: half-made under another name, then whole at its own. Never over a file.

While it is built it is `<path>.partial`, locked; a left-over of a killed build is emptied and used
again. It is linked to `<path>` once everything in it is on the disk.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from tasks.core.errors import NOTHING_WRITTEN, SampleError
from tasks.stores.protocols.new_store import FactLine, StoredRows
from tasks.stores.sqlite.schema_file import canonical_statements
from tasks.stores.sqlite.sql import sample as sql


@contextmanager
def new_database(path: Path) -> Iterator[apsw.Connection]:
    """Yield a connection, in a transaction, to a new database with the canonical schema.

    1. Refuse if anything is at `path` already.
    2. Claim `<path>.partial` and empty it.
    3. Create the schema, without the indexes of the facts: they cost a third once the rows are there.
    4. Let the caller fill it.
    5. Create those indexes, switch to WAL, close, fsync.
    6. Give it its name, which fails if somebody else took that name in the meantime.

    Whenever this ends early, nothing is at `path`. Raises SampleError if the file exists, is being built
    by another process, or cannot be written.
    """
    refuse_existing(path)
    partial = Path(f"{path}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _claimed(partial) as descriptor:
            refuse_existing(path)
            with closing(apsw.Connection(str(partial))) as connection:
                fact_indexes = _create_schema(connection)
                yield connection
                _complete_database(connection, fact_indexes)
            _publish(partial, path, descriptor)
    except (apsw.Error, OSError) as error:
        raise SampleError(
            "the sample database could not be built",
            where=str(path),
            seen=str(error),
            written="Nothing is left at that path",
        ) from error


@contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """The same, to be filled with rows of the canonical tables."""
    with new_database(path) as connection:
        yield NewFile(connection)


class NewFile:
    """See stores.protocols.new_store.NewStore for what each method promises."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(self, rows: StoredRows) -> None:
        by = (rows.attester, rows.attested_at)
        self._connection.executemany(sql.INSERT_SOURCE, rows.sources)
        self._connection.executemany(sql.INSERT_FACT, rows.facts)
        self._connection.executemany(sql.INSERT_METADATA, [(*row, *by) for row in rows.metadata])
        self._connection.executemany(sql.INSERT_LOG, [(row.fact_id, *by) for row in rows.metadata])
        for column, fact in rows.facts_not_utf8:  # only SQL can make text of such bytes
            self._connection.execute(sql.READ_AS_TEXT[column], (fact,))
        for source in rows.sources_not_utf8:
            self._connection.execute(sql.READ_SOURCE_AS_TEXT, (source,))

    def add_lines(self, lines: Sequence[FactLine]) -> None:
        self._connection.executemany(sql.INSERT_SOURCE_OF_LINE, [line for line in lines if line.names_source])
        self._connection.executemany(sql.INSERT_FACT_OF_LINE, lines)

    def count_sources(self) -> int:
        return int(self._connection.execute(sql.COUNT_SOURCES).get)


def refuse_existing(path: Path) -> None:
    """Raise SampleError if `path` exists, or a journal that SQLite would take for its own."""
    for found in (path, *_journals_of(path)):
        if os.path.lexists(found):
            raise SampleError(
                f"{found} already exists; it is never overwritten",
                hint="Set AUTONOMATH_DB_PATH to a new path, or move the file away",
                written=NOTHING_WRITTEN,
            )


@contextmanager
def _claimed(partial: Path) -> Iterator[int]:
    """Hold `partial`, empty and locked, and yield its descriptor. At the end the name is gone."""
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor, partial)
        os.ftruncate(descriptor, 0)  # SQLite throws away what journal stands beside an empty file
        try:
            yield descriptor
        finally:
            for left in (partial, *_journals_of(partial)):
                left.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, partial: Path) -> None:
    """Lock `partial`, or raise SampleError if it is anything but a left-over."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SampleError(
            f"{partial} is being built by another process", hint="Wait for it", written=NOTHING_WRITTEN
        ) from None
    names = os.fstat(descriptor).st_nlink
    if names != 1:  # killed between link and unlink: emptying it would empty a finished database
        raise SampleError(
            f"{partial} has {names} names",
            seen="expected 1: it may also be a finished database",
            hint="Remove this name and run again",
            written=NOTHING_WRITTEN,
        )


def _create_schema(connection: apsw.Connection) -> list[str]:
    """Begin, and create everything but the indexes of the facts; their statements are returned."""
    for statement in sql.BEGIN:
        connection.execute(statement).fetchall()
    later = []
    for kind, _, table, statement in canonical_statements():
        if kind == "index" and table == "am_entity_facts":
            later.append(statement)
        else:
            connection.execute(statement)
    return later


def _complete_database(connection: apsw.Connection, fact_indexes: list[str]) -> None:
    for statement in fact_indexes:
        connection.execute(statement)
    for statement in sql.COMPLETE:
        connection.execute(statement).fetchall()


def _publish(partial: Path, path: Path, descriptor: int) -> None:
    """Make the closed database durable, then known under its own name."""
    os.fsync(descriptor)
    try:
        os.link(partial, path)  # a rename would silently replace what is there
    except FileExistsError:
        refuse_existing(path)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _journals_of(database: Path) -> list[Path]:
    return [Path(f"{database}{suffix}") for suffix in ("-journal", "-wal", "-shm")]
