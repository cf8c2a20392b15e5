"""The sections of a job file, as it may spell them: keys, types, bounds and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.derivation.rules import Rules
from tasks.derivation.times import CreatedAtAs

Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class Section(BaseModel):
    """A mapping in the job file: every key is known, of its type, and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FactsTable(Section):
    """Where the facts are. Optional roles may be None: this store has no such column."""

    name: Name = "am_entity_facts"
    key: Name = "id"
    source_id: Name | None = "source_id"
    source_url: Name | None = "source_url"
    confidence: Name | None = "confidence"
    created_at: Name | None = "created_at"


class SourceTable(Section):
    """Where sources are; read only if the facts have a `source_id`."""

    name: Name = "am_source"
    key: Name = "id"
    source_url: Name = "source_url"


class MetadataTable(Section):
    """Where provenance is written: one row per fact."""

    name: Name = "am_fact_metadata"
    fact_id: Name = "fact_id"
    source_doc: Name = "source_doc"
    extracted_at: Name = "extracted_at"
    verified_by: Name = "verified_by"
    confidence_lower: Name = "confidence_lower"
    confidence_upper: Name = "confidence_upper"
    ed25519_sig: Name = "ed25519_sig"
    created_at: Name | None = "created_at"
    updated_at: Name | None = "updated_at"


class AttestationLogTable(Section):
    """The append-only log: one row per write to the metadata."""

    name: Name = "am_fact_attestation_log"
    attestation_id: Name = "attestation_id"
    fact_id: Name = "fact_id"
    attester: Name = "attester"
    signed_at: Name | None = "signed_at"
    signature_hex: Name = "signature_hex"
    notes: Name | None = "notes"


class LedgerTables(Section):
    """The job's own tables. Their columns are fixed by tasks/stores/sqlite/schema.sql."""

    run: Name = "am_backfill_run"
    chunk: Name = "am_backfill_chunk"
    batch: Name = "am_backfill_batch"
    reject: Name = "am_backfill_reject"
    tile: Name = "am_attestation_tile"
    checkpoint: Name = "am_attestation_checkpoint"


class Tables(Section):
    """The contract: which table and column plays which role."""

    facts: FactsTable = FactsTable()
    source: SourceTable = SourceTable()
    metadata: MetadataTable = MetadataTable()
    attestation_log: AttestationLogTable = AttestationLogTable()
    ledger: LedgerTables = LedgerTables()


class DerivationSettings(Section):
    """What goes into every record. `confidence_width` is half the width of the band, in [0, 1].

    `on_change` says what becomes of stale facts: nothing, or they are updated to what they say now.
    A fact whose source, or whose key, created_at or confidence, has more bytes than these is rejected, unread.
    """

    attester: Annotated[str, Field(min_length=1, max_length=200)] = "etl_prov_backfill_v2"
    confidence_width: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=False)] = 0.05
    created_at_as: CreatedAtAs = "text"
    on_change: Literal["report", "reattest"] = "report"
    longest_source_bytes: Annotated[int, Field(ge=1_000, le=1_000_000)] = 65_536
    longest_value_bytes: Annotated[int, Field(ge=1_000, le=1_000_000)] = 1_024

    def rules(self, default_extracted_at: str) -> Rules:
        """What a fact without a `created_at` of its own was extracted at goes with the run, all else is said here."""
        return Rules(
            confidence_width=self.confidence_width,
            default_extracted_at=default_extracted_at,
            created_at_as=self.created_at_as,
            longest_source=self.longest_source_bytes,
            longest_value=self.longest_value_bytes,
        )


class ReportingSettings(Section):
    """What a report looks at besides the run's own rows."""

    count_stale: bool = True


class Pacing(Section):
    """How large the steps are, how long to wait, when to give up. Rows, seconds, a share."""

    chunk_rows: Annotated[int, Field(ge=1, le=1_000_000_000)] = 100_000
    batch_rows: Annotated[int, Field(ge=1, le=200_000)] = 25_000
    batch_pause_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, strict=False)] = 0.0
    lock_timeout_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False, strict=False)] = 30.0
    max_rejects: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=False)] = 0.5


class RehearsalSettings(Section):
    """How a dry run is compared with its live run: by `counts` and key alone, or by the `content` that is attested too.

    For `content` both read every fact: a dry run then takes up to twice the CPU time, and a live run without a key half
    as much again; one that signs reads them anyway.
    """

    compare: Literal["counts", "content"] = "counts"


KeyName = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f+]{1,200}$")]
"""What a signed note can carry: https://c2sp.org/signed-note."""


class SigningSettings(Section):
    """Where the key is; never the key itself. (A name of 64 characters would be the key put by mistake.)"""

    key_env: EnvironmentName | None = "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"
    key_file: Annotated[str, Field(min_length=1)] | None = None
    key_name: KeyName = "provenance-backfill/sample"
    required: bool = False
    compiled: bool = True


class SealingSettings(Section):
    """Where the key that signs checkpoints is, and what the log is called. Never the key of the rows.

    `origin` names the log in every checkpoint: one line, unique in the world, the same for ever.
    """

    key_env: EnvironmentName | None = "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
    key_file: Annotated[str, Field(min_length=1)] | None = None
    key_name: KeyName = "provenance-backfill/sample-log"
    origin: KeyName = "provenance-backfill/sample-log"
