"""Every statement that a run can execute on SQLite."""

from __future__ import annotations

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.batch_reading import batch_statements
from tasks.stores.sqlite.sql.batch_writing import writing_statements
from tasks.stores.sqlite.sql.connection import TRANSACTION
from tasks.stores.sqlite.sql.evidence import evidence_statements
from tasks.stores.sqlite.sql.fact_counts import count_statements
from tasks.stores.sqlite.sql.fact_walk import walk_statements
from tasks.stores.sqlite.sql.ledger import ledger_statements
from tasks.stores.sqlite.sql.rejects import reject_statements
from tasks.stores.sqlite.sql.spelling import Statement
from tasks.stores.sqlite.sql.staging import staging_statements

_ENGINE = (
    Statement("data_version", "PRAGMA data_version", "batch"),
    Statement("journal_mode", "PRAGMA journal_mode", "once"),
)


def build_statements(binding: Binding) -> tuple[Statement, ...]:
    """All statements of a run, by what they are for: modules of the store that execute them have the same names."""
    return (
        *TRANSACTION,
        *_ENGINE,
        *walk_statements(binding),
        *count_statements(binding),
        *batch_statements(binding),
        *evidence_statements(binding),
        *ledger_statements(binding),
        *staging_statements(binding),
        *writing_statements(binding),
        *reject_statements(binding),
    )
