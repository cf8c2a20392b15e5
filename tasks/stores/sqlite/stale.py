"""The one function that SQL asks of Python: is this fact stale? Asked where SQL cannot tell surely."""

from __future__ import annotations

import apsw

from tasks.core.fact_keys import decoded_pairs
from tasks.core.values import Fact
from tasks.derivation.stale import compare
from tasks.job.settings import Settings
from tasks.stores.sqlite.sql.facts import IS_STALE


def answer_is_stale(connection: apsw.Connection, settings: Settings) -> None:
    """Let the connection's statements ask. Arguments: a fact but for its last value, source_doc, extracted_at; each as
    two, its kind and itself.
    """
    rules = settings.derivation.rules("")

    def is_stale(*row: apsw.SQLiteValue) -> int:
        *values, source_doc, extracted_at = decoded_pairs(row)
        return compare(Fact._make((*values, 1)), source_doc, extracted_at, rules) is not None

    connection.create_scalar_function(IS_STALE, is_stale, deterministic=True)
