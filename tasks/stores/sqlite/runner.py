"""Statements that the gate compiled, executed by name on one connection, one transaction at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from types import MappingProxyType
from typing import Any

import apsw

from tasks.core.errors import RowRefusedError, SchemaChangedError
from tasks.job.settings import Settings
from tasks.stores.sqlite.failures import translated
from tasks.stores.sqlite.opening import StoreConnection

_MOST_BATCH_TEXT = 8 * 2**20  # characters, of which there will be copies; 25,000 ordinary facts take half of it


NO_VALUES: Mapping[str, Any] = MappingProxyType({})


class StatementRunner:
    """What every session of a store is made on: nothing but what `sql` holds, by name, reaches the database.

    `values` are parameters that any statement may use. Errors of SQLite come as those of tasks.core.errors.
    """

    def __init__(
        self,
        connection: StoreConnection,
        settings: Settings,
        *,
        sql: Mapping[str, str],
        schema_version: int,
        values: Mapping[str, Any] = NO_VALUES,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._sql = dict(sql)
        self._schema_version = schema_version
        self._values = values

    @property
    def opened(self) -> str:
        return str(self._connection.file.real)

    # -- one statement ----------------------------------------------------------------------------------

    def _run(self, name: str, **parameters: Any) -> list[Any]:
        """Execute a verified statement by name and fetch everything it returns."""
        return self._run_on(self._connection, name, **parameters)

    def _run_on(self, connection: apsw.Connection, name: str, **parameters: Any) -> list[Any]:
        with self._translated(name):
            return connection.execute(self._sql[name], {**self._values, **parameters}).fetchall()

    def _stream(self, name: str, **parameters: Any) -> Iterator[Any]:
        with self._translated(name):
            yield from self._connection.execute(self._sql[name], {**self._values, **parameters})

    def _count(self, name: str, **parameters: Any) -> int:
        return int(self._run(name, **parameters)[0][0])

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
            values = {**self._values, **parameters}
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
            self._settings.place.path, f"{name} ran", written="Nothing of this batch was written.",
            lock_timeout=self._settings.pacing.lock_timeout_seconds,
        )  # fmt: skip

    # -- one transaction --------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        """Commit what the block did, or roll all of it back."""
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

    def snapshot(self) -> AbstractContextManager[None]:
        return self._transaction("begin_read")

    def check_place(self) -> None:
        self._connection.file.refuse_another()

    def check_schema(self) -> None:
        self.check_place()
        if self._run("schema_version")[0][0] != self._schema_version:
            raise SchemaChangedError(f"database {self._settings.place.path}: the schema changed while the chunk ran")


def _text_in(row: tuple[Any, ...]) -> int:
    """How long a row's texts and BLOBs are together.

    Almost every row begins with a key and three texts or NULLs, and nothing long stands behind them: those four are
    looked at and no more, because a microsecond here is one of fifty that a signed row may take at all. Of a row of
    another shape, len() fails on one of the four; it is looked at value by value.
    """
    key, first, second, third = row[:4]
    try:
        return len(first or "") + len(second or "") + len(third or "") + (len(key) if type(key) is str else 0)
    except TypeError:
        return sum([len(value) for value in row if isinstance(value, (str, bytes))])
