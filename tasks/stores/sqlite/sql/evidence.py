"""What the log and the metadata say of one fact."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.contract.binding import AttestationBinding, Binding
from tasks.stores.sqlite.sql.attestations import AttestationSql
from tasks.stores.sqlite.sql.spelling import Statement, quoted, raw_value


def evidence_statements(binding: Binding) -> Iterator[Statement]:
    m, log = binding.metadata, binding.log
    sql = AttestationSql(AttestationBinding(m, log, binding.ledger.tile))
    yield Statement(
        "latest_attestation",
        f"SELECT max({sql.of_log(log.attestation_id)}) FROM {sql.log} AS l "
        f"WHERE {sql.of_log(log.fact_id)} = :fact_id", "batch",
    )  # fmt: skip
    yield Statement(
        "attested_metadata",
        f"SELECT {', '.join(map(raw_value, sql.attested))}, {sql.ever_signed} FROM {sql.joined} "
        f"WHERE {sql.fact_id} = :fact_id", "batch",
    )  # fmt: skip
    names = (m.source_doc, m.extracted_at, m.verified_by, m.confidence_lower, m.confidence_upper)
    old = ", ".join(f"m.{quoted(name)}" for name in names)
    yield Statement("old_metadata", f"SELECT {old} FROM {sql.metadata} AS m WHERE {sql.fact_id} = :fact_id", "batch")
