"""The contract as a store in memory honours it: to the letter, whatever names the job file has."""

from __future__ import annotations

from tasks.contract.binding import (
    AttestationBinding,
    Binding,
    FactsBinding,
    LedgerBinding,
    LogBinding,
    MetadataBinding,
    SourceBinding,
)
from tasks.job.settings import Settings


def binding_of(settings: Settings) -> Binding:
    tables = settings.tables
    facts, metadata, log = tables.facts, tables.metadata, tables.attestation_log
    return Binding(
        facts=FactsBinding(
            facts.name, facts.key, key_is_number=False, key_is_untyped=True, key_may_be_null=True,
            source_id=facts.source_id, source_url=facts.source_url, confidence=facts.confidence,
            created_at=facts.created_at,
        ),
        source=SourceBinding(tables.source.name, tables.source.key, False, tables.source.source_url),
        metadata=MetadataBinding(
            table=metadata.name, row_number=None, **metadata.model_dump(exclude={"name"}),
        ),
        log=LogBinding(table=log.name, **log.model_dump(exclude={"name"})),
        ledger=LedgerBinding(**tables.ledger.model_dump()),
        follows_changes=settings.derivation.on_change == "reattest",
    )  # fmt: skip


def attestation_binding_of(settings: Settings) -> AttestationBinding:
    whole = binding_of(settings)
    return AttestationBinding(whole.metadata, whole.log, whole.ledger.tile)
