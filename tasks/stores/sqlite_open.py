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
    query_only            a dry run cannot write even by mistake
    QPSG                  the plan that the gate looked at is the plan that runs. Otherwise SQLite compiles many a
                          statement anew whenever another value is bound to it, asks the guard about it again, and,
                          where there are statistics, may decide on another plan:
                          https://sqlite.org/c3ref/c_dbconfig_defensive.html#sqlitedbconfigenableqpsg
    wal_autocheckpoint    seldom enough to be cheap, often enough to bound the log (WAL only)
    the guard             see sqlite_guard.py; installed last, so that nothing above needs an exception

The journal mode is the operator's and is left as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from tasks.engine.errors import DatabaseError, DiskFullError, LockedError, ProvenanceError, SchemaChangedError
from tasks.engine.settings import Pacing
from tasks.stores.sqlite_sql import setup_statements

# SQLite 3.7.0 to 3.51.2: two connections that write and checkpoint at once can corrupt the database.
# Source: https://sqlite.org/wal.html#walresetbug
_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))

_POLL_SECONDS = 0.001


def refuse_unsafe_engine(version: str) -> None:
    """Raise DatabaseError if this SQLite library has the WAL-reset bug."""
    numbers = tuple(int(part) for part in version.split(".")[:3])
    first, last = _WAL_RESET_BUG
    if first <= numbers <= last:
        raise DatabaseError(
            f"SQLite {version} has the WAL-reset bug (3.7.0 to 3.51.2): two connections that write at once can "
            f"corrupt the database. Expected 3.51.3 or later: pip install --upgrade apsw. Nothing was written."
        )


def open_connection(path: Path, *, pacing: Pacing, write: bool) -> apsw.Connection:
    """Open an existing database file, to read only or to write.

    Raises DatabaseError if it is missing, a folder, read-only though `write` is asked, or not SQLite, and
    LockedError if another connection holds it exclusively.
    """
    refuse_unsafe_engine(apsw.sqlite_lib_version())
    try:
        exists, is_file = path.exists(), path.is_file()
    except OSError as error:
        raise DatabaseError(f"database {path}: {error.strerror}. Nothing was written.") from None
    if not exists:
        raise DatabaseError(
            f"database {path}: there is no such file, and it is never created. Set AUTONOMATH_DB_PATH or the key "
            f"database, or make a sample: luigi --module tasks MakeSample --local-scheduler. Nothing was written."
        )
    if not is_file:
        raise DatabaseError(
            f"database {path}: expected a SQLite file, found a folder or device. "
            f"Set AUTONOMATH_DB_PATH or the key database. Nothing was written."
        )
    name, flags = str(path.absolute()), apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    if not write and _can_never_change(path):
        name, flags = f"{path.absolute().as_uri()}?immutable=1", flags | apsw.SQLITE_OPEN_URI
    with translated(path, "it was opened", lock_timeout=pacing.lock_timeout_seconds):
        connection = apsw.Connection(name, flags=flags | apsw.SQLITE_OPEN_NOMUTEX)
    try:
        with translated(path, "it was opened", lock_timeout=pacing.lock_timeout_seconds):
            _configure(connection, pacing, write=write)
        if write and connection.readonly("main"):
            raise DatabaseError(
                f"database {path}: the file or its folder is read-only for this user, a live run needs to write. "
                f"Check its owner and mode. Nothing was written."
            )
    except ProvenanceError:
        connection.close(True)
        raise
    return connection


def _can_never_change(path: Path) -> bool:
    """Whether a database in WAL mode lies alone in a file system that is read-only: an auditor's copy.

    SQLite cannot read one there unless it is told so, for it wants to make the files -wal and -shm.
    Source: https://sqlite.org/wal.html#read_only_databases
    """
    try:
        with path.open("rb") as file:
            is_wal = file.read(20)[18:20] == b"\2\2"
        return is_wal and bool(os.statvfs(path).f_flag & os.ST_RDONLY) and not Path(f"{path}-wal").exists()
    except OSError:
        return False


def _configure(connection: apsw.Connection, pacing: Pacing, *, write: bool) -> None:
    connection.set_busy_handler(Patience(pacing.lock_timeout_seconds))
    for statement in setup_statements(cache_mib=pacing.cache_mib, write=write):
        connection.execute(statement.sql).fetchall()
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    if write:
        connection.wal_autocheckpoint(pacing.wal_autocheckpoint_pages)


class Patience:
    """A busy handler: True, after a millisecond, as long as the lock that is waited for may still come.

    Source: https://sqlite.org/c3ref/busy_handler.html
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._until = seconds, 0.0

    def __call__(self, tries: int) -> bool:
        """`tries` counts the looks at this lock so far, from 0."""
        now = time.monotonic()
        if tries == 0:
            self._until = now + self._seconds
        if now >= self._until:
            return False
        time.sleep(_POLL_SECONDS)
        return True


def roll_back_hot_journal(path: Path, pacing: Pacing) -> None:
    """If a crash left a rollback journal, let SQLite restore the state before that transaction.

    Any connection that may write does this on its first read; one that may not can only fail.
    Source: https://sqlite.org/lockingv3.html#hot_journals
    """
    if _has_journal(path):
        open_connection(path, pacing=pacing, write=True).close()


def _has_journal(path: Path) -> bool:
    try:
        return path.with_name(path.name + "-journal").exists()
    except (OSError, ValueError):  # such a path cannot be opened either, and that is said there
        return False


@contextmanager
def translated(path: Path, when: str, *, lock_timeout: float, written: str = "Nothing was written.") -> Iterator[None]:
    """Turn what SQLite raises into one message: what, where, seen, next step, what was written.

    `lock_timeout` is how many seconds SQLite waits for another writer before it gives up.
    """
    try:
        yield
    except apsw.BusyError:
        raise LockedError(
            f"database {path}: locked by another writer for {lock_timeout:g} s (pacing.lock_timeout_seconds) while "
            f"{when}. {written} Run the same command again."
        ) from None
    except apsw.Error as error:
        raise _explained(error, path, when, written) from None


def _explained(error: apsw.Error, path: Path, when: str, written: str) -> ProvenanceError:
    place = f"database {path}"
    if isinstance(error, apsw.NotADBError):
        return DatabaseError(f"{place}: not a SQLite database (or an encrypted one). {written} Check the key database.")
    if isinstance(error, apsw.FullError):
        return DiskFullError(
            f"{place}: the disk is full while {when}. {written} Free some space, then run the same command again."
        )
    if isinstance(error, apsw.ReadOnlyError) and _has_journal(path):
        return DatabaseError(
            f"{place}: {path.name}-journal holds a transaction that a crash left unfinished, and a dry run may "
            f"not roll it back. {written} Let the application open the database once, or start the live run."
        )
    if isinstance(error, apsw.CantOpenError):
        return DatabaseError(
            f"{place}: SQLite cannot open it, or a file beside it ({when}). {written} In WAL mode it needs the files "
            f"-wal and -shm there: check that they are there or that the folder may be written."
        )
    if isinstance(error, apsw.ReadOnlyError):
        return DatabaseError(f"{place}: read-only while {when}. {written} Check the owner and mode of file and folder.")
    if isinstance(error, apsw.CorruptError):
        return DatabaseError(
            f"{place}: SQLite reports damage while {when} ({error}). {written} Restore a backup, or look at it with "
            f"the sqlite3 shell before anything else writes to it."
        )
    if isinstance(error, apsw.SchemaChangeError):
        return SchemaChangedError(f"{place}: the schema changed while {when}. {written}")
    return DatabaseError(f"{place}: {type(error).__name__.removesuffix('Error')}: {error} while {when}. {written}")


def close_quietly(connection: apsw.Connection) -> None:
    """Close; what is open and uncommitted is rolled back. Never raises: the error that led here matters more."""
    with suppress(apsw.Error):
        connection.close(True)
