"""Every statement by which placeholders, and what revoked keys signed, are signed on SQLite, on top of those of a run.

`:revoked` holds the ids of the revoked keys, in hex with blanks between them; it is empty where there are none.
"""

from __future__ import annotations

from tasks.contract.binding import AttestationBinding, Binding
from tasks.stores.sqlite.sql.attestations import AttestationSql
from tasks.stores.sqlite.sql.facts import FactSql
from tasks.stores.sqlite.sql.signature_column import is_placeholder, key_id, may_be_signed
from tasks.stores.sqlite.sql.spelling import Statement, quoted, raw_value


def resigning_statements(binding: Binding) -> tuple[Statement, ...]:
    """What a session that signs placeholders executes besides the statements of a run."""
    sql = _Builder(binding)
    return (*sql.reading_pending(), *sql.comparing(), *sql.signing())


class _Builder(AttestationSql):
    def __init__(self, binding: Binding) -> None:
        super().__init__(AttestationBinding(binding.metadata, binding.log, binding.ledger.tile))
        self.run = FactSql(binding)
        blob = self.signature
        signed = f":revoked <> '' AND {may_be_signed(blob)}"
        self.is_pending = f"({is_placeholder(blob)} OR ({signed} AND instr(:revoked, hex({key_id(blob)})) > 0))"

    def reading_pending(self) -> tuple[Statement, ...]:
        m, log = self.b.metadata, self.b.log
        updated_at = f"m.{quoted(m.updated_at)}" if m.updated_at else "NULL"
        signed_at = self.of_log(log.signed_at) if log.signed_at else "NULL"
        columns = [*self.attested, updated_at, self.of_log(log.attester), signed_at]
        plain = ", ".join([*columns, self.ever_signed])
        raw = ", ".join([*map(raw_value, columns), self.ever_signed])

        def batch(selected: str, *, first: bool) -> str:
            return (
                f"SELECT {selected} FROM {self.joined} WHERE {self.in_range(first=first)} AND {self.is_pending} "
                f"ORDER BY {self.fact_id} LIMIT :limit"
            )

        return (
            Statement(
                "pending_keys",
                f"SELECT {raw_value(self.fact_id)} FROM {self.metadata} AS m "
                f"WHERE {self.fact_id} IS NOT NULL AND {self.is_pending} ORDER BY {self.fact_id}", "once",
            ),
            Statement("count_pending", f"SELECT count(*) FROM {self.metadata} AS m WHERE {self.is_pending}", "once"),
            Statement("read_pending_first", batch(plain, first=True), "batch"),
            Statement("read_pending", batch(plain, first=False), "batch"),
            Statement("read_pending_first_raw", batch(raw, first=True), "batch"),
            Statement("read_pending_raw", batch(raw, first=False), "batch"),
        )  # fmt: skip

    def comparing(self) -> tuple[Statement, ...]:
        """What a row is compared with where its log row is not sealed: the fact as it is."""
        return (
            Statement(
                "fact_of_key",
                f"SELECT {self.run.fact_values_raw}, 1 FROM {self.run.facts} AS f "
                f"WHERE {self.run.key} = :key LIMIT 1", "batch",
            ),
        )  # fmt: skip

    def signing(self) -> tuple[Statement, ...]:
        m, log = self.b.metadata, self.b.log
        sets = {m.ed25519_sig: ":ed25519_sig", **({m.updated_at: ":now"} if m.updated_at else {})}
        same = {
            m.source_doc: ":source_doc", m.extracted_at: ":extracted_at", m.verified_by: ":verified_by",
            m.confidence_lower: ":confidence_lower", m.confidence_upper: ":confidence_upper",
        }  # fmt: skip
        logged = {log.fact_id: ":fact_id", log.attester: ":verified_by", log.signature_hex: ":signature_hex"}
        logged |= {log.signed_at: ":now"} if log.signed_at else {}
        logged |= {log.notes: ":notes"} if log.notes else {}
        return (
            Statement(
                "sign_row",
                f"UPDATE {self.metadata} AS m SET {', '.join(f'{quoted(c)} = {v}' for c, v in sets.items())} "
                f"WHERE {self.fact_id} = :fact_id AND {self.signature} = :replaced AND "
                f"{' AND '.join(f'm.{quoted(c)} IS {v}' for c, v in same.items())} AND {self.latest_id} = :superseded",
                "batch", writes=True,
            ),
            Statement(
                "append_signature",
                f"INSERT INTO {self.log} ({', '.join(map(quoted, logged))}) VALUES ({', '.join(logged.values())})",
                "batch", writes=True,
            ),
        )  # fmt: skip
