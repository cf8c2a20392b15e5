"""The staged batch: rows of a temporary table on their way from deriving to writing."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.spelling import STAGING, Statement, quoted, raw_value

STAGED = "fact_id, source_doc, extracted_at, confidence_lower, confidence_upper"


def staging_statements(binding: Binding) -> Iterator[Statement]:
    yield Statement("clear_staging", f"DELETE FROM temp.{STAGING}", "batch", writes=True)
    yield Statement(
        "stage_row",
        f"INSERT INTO temp.{STAGING} ({STAGED}, ed25519_sig, signature_hex, is_update) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "batch", writes=True, positional=8,
    )  # fmt: skip
    yield Statement(
        "stage_superseding_row",
        f"INSERT INTO temp.{STAGING} ({STAGED}, ed25519_sig, signature_hex, is_update, supersedes, notes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "batch", writes=True, positional=10,
    )  # fmt: skip
    yield _look_at_staging(FactSql(binding))
    yield Statement("drop_odd_rows", f"DELETE FROM temp.{STAGING} WHERE is_update IS NULL", "batch", writes=True)
    yield _was_attested_since(binding)


def _look_at_staging(sql: FactSql) -> Statement:
    """What `tally_batch` says, of the rows that were staged."""
    last = f"(SELECT key FROM temp.{STAGING} ORDER BY rowid DESC LIMIT 1)"
    of_plain = "FILTER (WHERE is_update IS NOT NULL)"
    keys = f", group_concat(fact_id, char(10)) {of_plain}" if sql.odd_keys else ""
    return Statement(
        "look_at_staging",
        f"SELECT count(*), {raw_value(last)}, count(is_update), total(is_update), "
        "count(is_update) FILTER (WHERE is_timeless), "
        f"group_concat(source_doc, char(10)) {of_plain}{keys} FROM temp.{STAGING}", "batch",
    )  # fmt: skip


def _was_attested_since(binding: Binding) -> Statement:
    """A row if the log knows more of a staged fact than was known when it was staged."""
    log = binding.log
    return Statement(
        "was_attested_since",
        f"SELECT 1 FROM temp.{STAGING} AS b CROSS JOIN {quoted(log.table)} AS l "
        f"ON l.{quoted(log.fact_id)} = b.fact_id "
        f"WHERE b.supersedes IS NULL OR l.{quoted(log.attestation_id)} > b.supersedes LIMIT 1", "batch",
    )  # fmt: skip
