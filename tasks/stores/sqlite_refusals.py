"""Rows that the database itself turns away: which rules it has for them, and which row it was.

A store may have rules that the canonical shape has not: a CHECK, a unique index on an expression, a generated column.
The gate proves that rows of the usual shapes pass them; one fact among a million may still not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tasks.engine.binding import Binding
from tasks.engine.catalogue import Catalogue, Table
from tasks.engine.derivation import Record, Reject, refused_fact
from tasks.engine.keys import Key
from tasks.stores.schema_file import canonical_statements
from tasks.stores.sqlite_guard import Guard
from tasks.stores.sqlite_open import ROW_ERRORS
from tasks.stores.sqlite_rehearsal import declared_copy
from tasks.stores.sqlite_run_sql import build_statements

_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$.]+|\S", re.DOTALL
)
_SIGNATURE_BYTES = 64


def first_unreadable(key_at: Callable[[int], Key], cannot_read_through: Callable[[Key], bool]) -> Key:
    """The first key up to which not everything can be read: by doubling steps, then by halving, O(log n) looks.

    `key_at(n)` is the key of the fact number n, counted from 0, None beyond the last one, and reads nothing but keys.
    None if everything can be read.
    """
    good, bad = 0, 1  # so many facts can be read together; so many perhaps not
    while (key := key_at(bad - 1)) is not None and not cannot_read_through(key):
        good, bad = bad, 2 * bad
    while bad - good > 1:
        middle = (good + bad) // 2
        key = key_at(middle - 1)
        if key is None or cannot_read_through(key):
            bad = middle
        else:
            good = middle
    return key_at(bad - 1)


def own_rules(binding: Binding, catalogue: Catalogue) -> tuple[str, ...]:
    """The rules for single rows of the metadata and the log that the canonical shape has not, in words."""
    bound = (("am_fact_metadata", binding.metadata), ("am_fact_attestation_log", binding.log))
    return tuple(
        rule
        for canonical, columns in bound
        if (table := catalogue.table(columns.table)) is not None
        for rule in _own_rules(table, canonical)
    )


def _own_rules(table: Table, canonical: str) -> Iterator[str]:
    text = next(sql for _, name, _, sql in canonical_statements() if name == canonical)
    usual = set(_checks(text))
    for check in _checks(table.sql[0]) if table.sql else ():
        if check not in usual:
            yield f"{table.name}: {check}"
    for column in table.columns:
        if column.generated:
            yield f'{table.name}: the generated column "{column.name}"'
    for index in table.indexes:
        is_key = index.is_primary_key or any(index.is_unique_on(column.name) for column in table.columns)
        if None in index.columns or index.partial or (index.unique and not is_key):
            yield f'{table.name}: the index "{index.name}"'


def _checks(sql: str) -> Iterator[str]:
    """The CHECKs of a CREATE TABLE, each in one spelling."""
    tokens = [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*"))]
    for start, token in enumerate(tokens):
        if token.upper() == "CHECK":
            depth, end = 0, start + 1
            while end < len(tokens):
                depth += {"(": 1, ")": -1}.get(tokens[end], 0)
                end += 1
                if depth == 0:
                    break
            yield " ".join(map(_plain, tokens[start:end]))


def _plain(token: str) -> str:
    """A token in the spelling that is compared: words in lower case, names without quotes."""
    if token[0] in '"`[':
        return token[1:-1].lower()
    return token if token[0] == "'" else token.lower()


class RowRehearsal:
    """Tries rows on an empty copy of the job's tables in memory: what a dry run can know of the database's own rules.

    Rows that were taken stay there, so that a unique index sees those that came before. Not seen are the rows that the
    real tables hold, and those of other chunks.
    """

    def __init__(self, binding: Binding, catalogue: Catalogue, guard: Guard, *, attester: str, is_signed: bool) -> None:
        self._copy = declared_copy(binding, catalogue)
        self._copy.authorizer = guard
        self._sql = {statement.name: statement.sql for statement in build_statements(binding)}
        self._attester = attester
        self._is_signed = is_signed
        self._tried = 0

    def close(self) -> None:
        self._copy.close(True)

    def refusals(self, records: Sequence[Record]) -> list[Reject]:
        """The records that the copy does not take, with its words; O(k log n) tries for k of them."""
        words = self._try(records)
        if words is None:
            return []
        if len(records) == 1:
            return [refused_fact(records[0].fact_id, words)]
        half = len(records) // 2
        return self.refusals(records[:half]) + self.refusals(records[half:])

    def _try(self, records: Sequence[Record]) -> str | None:
        """Write them as a batch would be written, all or none; what SQLite says if it refuses."""
        copy, sql = self._copy, self._sql
        values = {"attester": self._attester, "now": records[0].extracted_at} if records else {}
        copy.execute(sql["begin_write"])
        try:
            copy.execute(sql["clear_staging"])
            copy.executemany(sql["stage_row"], map(self._staged, records))
            if records:
                copy.execute(sql["insert_metadata"], values)
                copy.execute(sql["append_log"], values)
            copy.execute(sql["commit"])
        except ROW_ERRORS as error:
            if copy.in_transaction:
                copy.execute(sql["rollback"])
            return str(error)
        return None

    def _staged(self, record: Record) -> tuple[Any, ...]:
        """A row as it will be staged; every signature is another one, as real ones are."""
        if not self._is_signed:
            return (*record, None, None, 0)
        self._tried += 1
        signature = self._tried.to_bytes(_SIGNATURE_BYTES, "big")
        return (*record, b"\x01" + bytes(7) + signature + bytes(8), signature.hex(), 0)
