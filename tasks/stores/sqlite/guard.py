"""What a connection of the job may do, enforced by SQLite itself.

SQLite asks the authorizer about every object that a statement touches while it compiles it, so a statement
that would step outside never runs. Source: https://sqlite.org/c3ref/set_authorizer.html
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from tasks.stores.sqlite.sql.spelling import STAGING

_PRAGMAS_TO_READ = frozenset({"schema_version", "data_version", "encoding", "journal_mode"})
_PRAGMAS_ABOUT_TABLES = frozenset({"table_list", "table_xinfo", "index_list", "index_xinfo"})
_ALWAYS = frozenset(
    {
        apsw.SQLITE_SELECT,
        apsw.SQLITE_READ,
        apsw.SQLITE_FUNCTION,
        apsw.SQLITE_RECURSIVE,
        apsw.SQLITE_TRANSACTION,
    }
)
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "writefile", "edit", "fts3_tokenizer"})


class Guard:
    """An authorizer that denies everything but reading and the writes it was made for.

    `insert` and `update` name tables of the main database, in any case of letters. Nothing may be deleted, no
    schema changed, no file attached, and no trigger may fire, whatever it does (SQLite names the trigger or view that
    an access comes from; the job uses no view). `denied` keeps what was
    refused last, in words, because SQLite itself only says "not authorized".
    """

    def __init__(self, *, insert: Iterable[str] = (), update: Iterable[str] = ()) -> None:
        self._insert = frozenset(name.lower() for name in insert)
        self._update = frozenset(name.lower() for name in update)
        self.denied: str | None = None

    def __call__(
        self, operation: int, first: str | None, second: str | None, database: str | None, trigger: str | None
    ) -> int:
        if self._allows(operation, first, second, database, trigger):
            return apsw.SQLITE_OK
        name = apsw.mapping_authorizer_function[operation]
        inner = f" inside the trigger {trigger!r}" if trigger else ""
        self.denied = f"{name} {first or ''} {second or ''}".strip() + inner
        return apsw.SQLITE_DENY

    def _allows(
        self, operation: int, first: str | None, second: str | None, database: str | None, trigger: str | None
    ) -> bool:
        if trigger:
            return False
        if operation == apsw.SQLITE_FUNCTION:
            return (second or "").lower() not in _FORBIDDEN_FUNCTIONS
        if operation in _ALWAYS:
            return True
        if operation == apsw.SQLITE_PRAGMA:
            name = (first or "").lower()
            return name in _PRAGMAS_ABOUT_TABLES or (name in _PRAGMAS_TO_READ and second is None)
        if operation not in (apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE):
            return False
        table = (first or "").lower()
        if database == "temp":
            return table == STAGING
        allowed = {apsw.SQLITE_INSERT: self._insert, apsw.SQLITE_UPDATE: self._update}
        return database == "main" and table in allowed.get(operation, frozenset())
