"""What writes the staged batch: its metadata and its rows of the log."""

from __future__ import annotations

from tasks.attestation.signature_column import PLACEHOLDER_HEX
from tasks.contract.binding import Binding
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.signature_column import PLACEHOLDER_BLOB
from tasks.stores.sqlite.sql.spelling import STAGING, Statement, quoted

# A staged row without a signature gets a placeholder when it is written: it need not be copied about so often.
_SIGNATURE = f"coalesce(b.ed25519_sig, {PLACEHOLDER_BLOB})"
_SIGNATURE_HEX = f"coalesce(b.signature_hex, '{PLACEHOLDER_HEX}')"


def writing_statements(binding: Binding) -> tuple[Statement, ...]:
    sql = _Builder(binding)
    return (
        Statement("insert_metadata", sql.insert_metadata(), "batch", writes=True),
        Statement("update_metadata", sql.update_metadata(), "batch", writes=True),
        Statement("append_log", sql.append_log(), "batch", writes=True),
    )


class _Builder(FactSql):
    def insert_metadata(self) -> str:
        m = self.b.metadata
        values = {
            m.fact_id: "b.fact_id", m.source_doc: "b.source_doc", m.extracted_at: "b.extracted_at",
            m.verified_by: ":attester", m.confidence_lower: "b.confidence_lower",
            m.confidence_upper: "b.confidence_upper", m.ed25519_sig: _SIGNATURE,
        }  # fmt: skip
        values |= {name: ":now" for name in (m.created_at, m.updated_at) if name}
        return (
            f"INSERT INTO {self.metadata} ({', '.join(map(quoted, values))}) SELECT {', '.join(values.values())} "
            f"FROM temp.{STAGING} AS b WHERE b.is_update = 0 ORDER BY b.rowid "
            f"ON CONFLICT ({quoted(m.fact_id)}) DO NOTHING"
        )

    def update_metadata(self) -> str:
        m = self.b.metadata
        values = {
            m.source_doc: "b.source_doc", m.extracted_at: "b.extracted_at", m.verified_by: ":attester",
            m.confidence_lower: "b.confidence_lower", m.confidence_upper: "b.confidence_upper",
            m.ed25519_sig: _SIGNATURE,
        }  # fmt: skip
        if m.updated_at:
            values[m.updated_at] = ":now"
        sets = ", ".join(f"{quoted(column)} = {value}" for column, value in values.items())
        still = f"m.{quoted(m.source_doc)} IS NULL"
        if self.b.follows_changes:  # of a row that is superseded, `attested_metadata` sees that it is as it was read
            still = f"(b.supersedes IS NOT NULL OR {still})"
        return (
            f"UPDATE {self.metadata} AS m SET {sets} FROM temp.{STAGING} AS b WHERE b.is_update = 1 "
            f"AND m.{quoted(m.fact_id)} = b.fact_id AND {still}"
        )

    def append_log(self) -> str:
        log = self.b.log
        values = {log.fact_id: "b.fact_id", log.attester: ":attester", log.signature_hex: _SIGNATURE_HEX}
        if log.signed_at:
            values[log.signed_at] = ":now"
        if log.notes:
            values[log.notes] = "b.notes"
        return (
            f"INSERT INTO {quoted(log.table)} ({', '.join(map(quoted, values))}) "
            f"SELECT {', '.join(values.values())} FROM temp.{STAGING} AS b ORDER BY b.rowid"
        )
