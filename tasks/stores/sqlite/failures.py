"""What SQLite raises, as the errors of this program: what it means, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from tasks.core.errors import (
    AND_RUN_AGAIN,
    RUN_AGAIN,
    DatabaseError,
    DiskFullError,
    LockedError,
    ProvenanceError,
    RowRefusedError,
    SchemaChangedError,
)
from tasks.stores.sqlite.file import DatabaseFile, has_journal

ROW_ERRORS = (apsw.ConstraintError, apsw.SQLError, apsw.MismatchError, apsw.TooBigError)
"""What SQLite raises for one row, when the statement itself is in order: a CHECK, a unique index, a foreign key, a
RAISE; a function that fails over a value (its general error); a value of a STRICT table's wrong type, or too large.
"""


@contextmanager
def translated(path: Path, when: str, *, lock_timeout: float, written: str = "Nothing was written.") -> Iterator[None]:
    """Turn what SQLite raises into one message: what, where, seen, next step, what was written.

    `lock_timeout` is how many seconds SQLite waits for another writer before it gives up.
    """
    try:
        yield
    except apsw.BusyError:
        raise LockedError(
            f"locked by another writer for {lock_timeout:g} s (pacing.lock_timeout_seconds) while {when}",
            where=f"database {path}",
            written=written,
            again=RUN_AGAIN,
            advice_last=True,
        ) from None
    except apsw.Error as error:
        raise _explained(error, path, when, written) from None


def _explained(error: apsw.Error, path: Path, when: str, written: str) -> ProvenanceError:
    where = f"database {path}"
    if isinstance(error, apsw.NotADBError):
        what, hint = "not a SQLite database (or an encrypted one)", "Check the key database"
        return DatabaseError(what, where=where, written=written, hint=hint, advice_last=True)
    if isinstance(error, apsw.FullError):
        what, hint = f"the disk is full while {when}", "Free some space"
        return DiskFullError(what, where=where, written=written, hint=hint, again=AND_RUN_AGAIN, advice_last=True)
    if isinstance(error, (apsw.ReadOnlyError, apsw.CantOpenError)):
        return _not_usable(error, path, when, written)
    if isinstance(error, apsw.CorruptError):
        what = f"SQLite reports damage while {when} ({error})"
        hint = "Restore a backup, or look at it with the sqlite3 shell before anything else writes to it"
        return DatabaseError(what, where=where, written=written, hint=hint, advice_last=True)
    if isinstance(error, apsw.SchemaChangeError):
        return SchemaChangedError(f"the schema changed while {when}", where=where, written=written)
    what = f"{type(error).__name__.removesuffix('Error')}: {error} while {when}"
    if isinstance(error, ROW_ERRORS):
        return RowRefusedError(what, words=str(error), where=where, written=written)
    return DatabaseError(what, where=where, written=written)


def _not_usable(error: apsw.Error, path: Path, when: str, written: str) -> DatabaseError:
    """What stands in the way where SQLite says "read-only" or "unable to open", with the next step."""
    where = f"database {path}"
    try:
        file = DatabaseFile.at(path)
    except DatabaseError:
        what, hint, again = f"the file was moved or deleted while {when}", "Put it back", AND_RUN_AGAIN
    else:
        (what, hint), again = _why_not_usable(error, file, path, when), ""
    return DatabaseError(what, where=where, hint=hint, again=again, written=written)


def _why_not_usable(error: apsw.Error, file: DatabaseFile, path: Path, when: str) -> tuple[str, str]:
    """What stands in the way, and the next step."""
    code = getattr(error, "extendedresult", None)
    if code == apsw.SQLITE_READONLY_DBMOVED:
        return f"the file was moved while {when}, and another lies there now", "Put the first one back"
    if isinstance(error, apsw.ReadOnlyError) and has_journal(path):
        return (
            f"{file.beside('-journal')} holds a transaction that a crash left unfinished, and a dry run may not "
            f"roll it back",
            "Let the application open the database once, or start the live run",
        )
    if file.is_on_read_only_disk:
        return (
            f"it is in WAL mode on a disk that is mounted read-only, without the files -wal and -shm that reading it "
            f"takes ({when})",
            "Read it where the application has it open. Only if it is a copy that nothing writes to, here or "
            "elsewhere: provenance audit, verify, explain and prove take --immutable",
        )
    if isinstance(error, apsw.ReadOnlyError) and code != apsw.SQLITE_READONLY_DIRECTORY:
        what, hint = why_read_only(file)
        return what, f"{hint}. It was found while {when}"
    return (
        f"SQLite cannot open it, or a file beside it ({when}): it makes a journal there, and in WAL mode -wal and "
        f"-shm, for reading too",
        f"Check that {file.real.parent} may be written to, or read while the application runs",
    )


def why_read_only(file: DatabaseFile) -> tuple[str, str]:
    """Why a file cannot be written to, and the next step."""
    if file.is_on_read_only_disk:
        return "its disk is mounted read-only", "Run where it is mounted to be written to"
    if not os.access(file.real, os.W_OK, effective_ids=True):
        return "the file is read-only for this user", f"Check its owner ({file.owner}) and mode ({file.mode:04o})"
    return f"its folder {file.real.parent} is read-only for this user, and SQLite needs files in it", "Check its mode"
