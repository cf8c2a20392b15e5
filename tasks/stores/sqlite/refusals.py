"""Rows that the database itself turns away: which row it was, and which it would be.

A store may have rules that the canonical shape has not: a CHECK, a unique index on an expression, a generated column.
The gate proves that rows of the usual shapes pass them; one fact among a million may still not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.attestation.signature_column import KEY_ID_BYTES, SIGNATURE_BYTES, build
from tasks.contract.binding import Binding
from tasks.contract.catalogue import Catalogue
from tasks.core.fact_keys import Key
from tasks.core.values import Record, Reject
from tasks.derivation.rules import refused_fact
from tasks.stores.sqlite.failures import ROW_ERRORS
from tasks.stores.sqlite.guard import Guard
from tasks.stores.sqlite.sql.run import build_statements
from tasks.stores.sqlite.trial import declared_copy


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


class RowTrial:
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
        signature = self._tried.to_bytes(SIGNATURE_BYTES, "big")
        return (*record, build(signature, bytes(KEY_ID_BYTES)), signature.hex(), 0)
