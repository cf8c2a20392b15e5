"""The gate as a step of a run: the database and the key are looked at before anything else happens."""

from __future__ import annotations

import logging
from typing import Any

from tasks.attestation.signer import Signer
from tasks.core import durable
from tasks.core.errors import DriftError
from tasks.job.key_uses import unbound_words
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of, signer_of
from tasks.runs.schema_document import SchemaDocument, SealingKey, SigningKey, read_gated_for
from tasks.runs.store_warnings import is_sample, store_warnings, times_seen
from tasks.sealed_log.history import refuse_unsealable
from tasks.sealed_log.key_standing import refuse_ended_keys
from tasks.stores.open import open_store

logger = logging.getLogger("luigi-interface")


def gate_schema(settings: Settings, paths: RunPaths) -> None:
    """Pass the gate and write schema.json. Executes no write; a live run lets what a crash left be rolled back.

    Raises DriftError with all drift, DatabaseError, or SigningKeyError if a key is configured but unusable, superseded
    or revoked. What only sealing needs is asked for only where there is a key for checkpoints; then SealError if the
    log could not be gone on from.
    """
    signer, log_signer = signer_of(settings), log_signer_of(settings)
    recover(settings, paths)
    with open_store(settings).session(write=False) as session:
        gated = session.gate_json()
        warnings = store_warnings(session, settings, signs=signer is not None, seals=log_signer is not None)
        times = times_seen(session, settings)
    document = SchemaDocument(
        gated=gated, warnings=warnings, times=times, sealing=_sealing(settings, log_signer),
        sealing_statements=_sealing_statements(settings, log_signer), signing=_signing(settings, signer),
    )  # fmt: skip
    if log_signer is not None:
        refuse_unsealable(settings, log_signer)
    refuse_ended_keys(settings, rows=signer, checkpoints=log_signer)
    durable.write_durably(paths.schema, durable.to_text(document.as_json()), root=paths.state_dir)
    _tell(document, settings, signer, log_signer)


def _sealing_statements(settings: Settings, log_signer: Signer | None) -> list[dict[str, Any]]:
    try:
        return list(open_store(settings).sealing_statements())
    except DriftError:  # without a key for checkpoints nothing is sealed, and no statement of sealing runs
        if log_signer is not None:
            raise
        return []


def _tell(document: SchemaDocument, settings: Settings, signer: Signer | None, log_signer: Signer | None) -> None:
    for warning in document.warnings:
        logger.warning("store: %s", warning)
    for words in [] if is_sample(settings) else unbound_words(settings, {"rows": signer, "checkpoints": log_signer}):
        logger.warning("%s", words)
    for absence in document.absences:
        logger.warning("schema: %s", absence)
    logger.info("%s", document.times)
    logger.info(
        "schema: %d statements compiled against %s, %s", len(document.statements), settings.place,
        f"rows will be signed, by {signer.blobs_by}" if signer else "NO SIGNING KEY: rows will get a placeholder",
    )  # fmt: skip


def is_gated(settings: Settings, paths: RunPaths) -> bool:
    """True if schema.json was written for the very schema that the database has now, and for these keys."""
    found = read_gated_for(paths)
    if found is None or found.database != str(settings.place):
        return False
    if found.sealing != _sealing(settings, log_signer_of(settings)):
        return False
    if found.signing != _signing(settings, signer_of(settings)):
        return False
    recover(settings, paths)
    with open_store(settings).session(write=False) as session:
        return (session.fingerprint, session.binding.digest) == (found.fingerprint, found.binding_digest)


def _signing(settings: Settings, signer: Signer | None) -> SigningKey:
    return SigningKey(signer.key_id.hex() if signer else None, settings.signing.key_name)


def _sealing(settings: Settings, log_signer: Signer | None) -> SealingKey:
    return SealingKey(log_signer.key_id.hex() if log_signer else None, settings.sealing.origin)


def recover(settings: Settings, paths: RunPaths) -> None:
    """Before a live run, let the store roll back what some crash left unfinished.

    A dry run may not do that: its connection, which only reads, says so instead.
    """
    if not paths.dry_run:
        open_store(settings).recover()
