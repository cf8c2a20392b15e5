"""Opening a SQLite file for the job, and what can go wrong with one.

Settings of a connection, each with its reason, in the order in which they are applied:

    no CREATE flag        a missing file is an error, never an empty database
    NOMUTEX               no two threads ever use one connection at once: to lock it for each column that is read is
                          an eighth of the time that reading takes. https://sqlite.org/threadsafe.html
    busy handler          wait for other writers instead of failing at once, and notice soon when they are done:
                          SQLite's own timeout sleeps up to 100 ms between two looks
    temp_store = MEMORY   the staging table of a batch never reaches a disk
    synchronous = EXTRA   a commit is on the disk before its marker is written. In WAL mode this is FULL; with a
                          rollback journal, FULL may bring a deleted journal, and so the time before the commit,
                          back after a power cut: https://sqlite.org/pragma.html#pragma_synchronous
    foreign_keys          a row that breaks one is refused, as the application's own would be; off by default
    query_only            a dry run cannot write even by mistake
    QPSG                  the plan that the gate looked at is the plan that runs. Otherwise SQLite compiles many a
                          statement anew whenever another value is bound to it, asks the guard about it again, and,
                          where there are statistics, may decide on another plan:
                          https://sqlite.org/c3ref/c_dbconfig_defensive.html#sqlitedbconfigenableqpsg
    wal_autocheckpoint    seldom enough to be cheap, often enough to bound the log (WAL only)
    the guard             see guard.py; installed last, so that nothing above needs an exception

The journal mode is the operator's and is left as it is.

Every connection of a process to a database is made here, by one library, which knows of all of them: it keeps the locks
of one when another closes, and a database's -wal and -shm as long as any is open. Nothing else opens the file, not even
to read a byte: see file.py, and docs/architecture.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from tasks.core import signals
from tasks.core.errors import (
    NOTHING_WRITTEN,
    DatabaseError,
    ProvenanceError,
)
from tasks.job.settings import Settings
from tasks.stores.sqlite.failures import translated, why_read_only
from tasks.stores.sqlite.file import DatabaseFile, Reader, has_journal, refuse_foreign_sidecars
from tasks.stores.sqlite.sql.connection import setup_statements

# SQLite 3.7.0 to 3.51.2: two connections that write and checkpoint at once can corrupt the database.
# Source: https://sqlite.org/wal.html#walresetbug
_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))

# Where the header says how the file is written and read, and what it says in WAL mode.
# Source: https://sqlite.org/fileformat2.html#file_format_version_numbers
_HEADER_VERSIONS = (18, 2)
_WAL_MODE = b"\2\2"

_POLL_SECONDS = 0.001


def refuse_unsafe_engine(version: str) -> None:
    """Raise DatabaseError if this SQLite library has the WAL-reset bug."""
    numbers = tuple(int(part) for part in version.split(".")[:3])
    first, last = _WAL_RESET_BUG
    if first <= numbers <= last:
        raise DatabaseError(
            f"SQLite {version} has the WAL-reset bug (3.7.0 to 3.51.2): two connections that write "
            "at once can corrupt the database. Expected 3.51.3 or later: pip install --upgrade apsw",
            written=NOTHING_WRITTEN,
        )


class StoreConnection(apsw.Connection):
    """A connection that knows which file it was opened on."""

    file: DatabaseFile


@contextmanager
def connected(settings: Settings, *, write: bool) -> Iterator[StoreConnection]:
    """A connection to the job's database, closed when the block ends. Raises as `open_connection` does."""
    connection = open_connection(settings, write=write)
    try:
        yield connection
        if settings.immutable:
            connection.file.refuse_changed()
    finally:
        close_quietly(connection)


def open_connection(settings: Settings, *, write: bool) -> StoreConnection:
    """Open the file of a job's database, to read only or to write. The only way to one in this program.

    What is `immutable` is read alone and without a lock: only for a copy that nothing writes to.

    Raises DatabaseError if it is missing, a folder, read-only though `write` is asked, not SQLite, or another user's
    whose owner would be locked out by reading it, and LockedError if another connection holds it exclusively.
    """
    refuse_unsafe_engine(apsw.sqlite_lib_version())
    path, lock_timeout = settings.place.path, settings.pacing.lock_timeout_seconds
    file = DatabaseFile.at(path)
    name, flags = str(file.real), apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    if settings.immutable:
        assert not write  # what must not change is not written to
        file.refuse_unfinished()
        name, flags = f"{file.real.as_uri()}?immutable=1", flags | apsw.SQLITE_OPEN_URI
    with translated(path, "it was opened", lock_timeout=lock_timeout):
        connection = StoreConnection(name, flags=flags | apsw.SQLITE_OPEN_NOMUTEX)
    connection.file = file
    try:
        with translated(path, "it was opened", lock_timeout=lock_timeout):
            _first_contact(connection, settings, write=write)
        if write and connection.readonly("main"):
            what, hint = why_read_only(file)
            raise DatabaseError(
                what, where=f"database {path}", hint=f"{hint}. A live run needs to write", written=NOTHING_WRITTEN
            )
    except ProvenanceError:
        connection.close(True)
        raise
    return connection


def _first_contact(connection: StoreConnection, settings: Settings, *, write: bool) -> None:
    """The settings, the first read, and whether the file may be read, and is still the one that was looked at.

    The header is read without a lock and before the first statement, which is what makes -wal and -shm.
    """
    shares_memory = not settings.immutable and connection.read("main", 0, *_HEADER_VERSIONS)[1] == _WAL_MODE
    if shares_memory:
        refuse_foreign_sidecars(connection.file, Reader.this_process())
    _configure(connection, settings, write=write)
    if shares_memory:  # the application may have closed it, and these files with it, since they were looked at
        refuse_foreign_sidecars(connection.file, Reader.this_process())
    connection.file.refuse_another()


def _configure(connection: apsw.Connection, settings: Settings, *, write: bool) -> None:
    connection.set_busy_handler(Patience(settings.pacing.lock_timeout_seconds))
    for statement in setup_statements(cache_mib=settings.sqlite.cache_mib, write=write):
        connection.execute(statement.sql).fetchall()
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if write:
        connection.wal_autocheckpoint(settings.sqlite.wal_autocheckpoint_pages)


class Patience:
    """A busy handler: True, after a millisecond, as long as the lock that is waited for may still come.

    Raises SignalledError, out of the statement that waits, once this process was told to end.

    Source: https://sqlite.org/c3ref/busy_handler.html
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until = seconds, 0.0

    def __call__(self, tries: int) -> bool:
        """`tries` counts the looks at this lock so far, from 0."""
        signals.refuse_to_go_on()
        now = time.monotonic()
        if tries == 0:
            self._until = now + self._seconds
        if now >= self._until:
            return False
        time.sleep(_POLL_SECONDS)
        return True


def roll_back_hot_journal(settings: Settings) -> None:
    """If a crash left a rollback journal, let SQLite restore the state before that transaction.

    Any connection that may write does this on its first read; one that may not can only fail.
    Source: https://sqlite.org/lockingv3.html#hot_journals
    """
    if has_journal(settings.place.path):
        open_connection(settings, write=True).close()


def close_quietly(connection: apsw.Connection) -> None:
    """Close; what is open and uncommitted is rolled back. Never raises: the error that led here matters more."""
    with suppress(apsw.Error):
        connection.close(True)
