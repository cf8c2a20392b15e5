"""The gate as a step of a run: the database and the key are looked at before anything else happens."""

from __future__ import annotations

import logging

from tasks.attestation.signer import Signer
from tasks.core import durable
from tasks.core.errors import DriftError
from tasks.job.key_uses import unbound_words
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of, signer_of
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
    signer = signer_of(settings)
    recover(settings, paths)
    with open_store(settings).session(write=False) as session:
        content = session.gate_json()
        seals = log_signer_of(settings) is not None
        content["warnings"] = store_warnings(session, settings, signs=signer is not None, seals=seals)
        content["times"] = times_seen(session, settings)
    content["sealing"] = _sealing(settings)
    try:
        content["statements"] += open_store(settings).sealing_statements()
    except DriftError:  # without a key for checkpoints nothing is sealed, and no statement of sealing runs
        if content["sealing"]["key_id"] is not None:
            raise
    content["signing"] = _signing(settings, signer)
    log_signer = log_signer_of(settings)
    if log_signer is not None:
        refuse_unsealable(settings, log_signer)
    refuse_ended_keys(settings, rows=signer, checkpoints=log_signer)
    durable.write_durably(paths.schema, durable.to_text(content), root=paths.state_dir)
    for warning in content["warnings"]:
        logger.warning("store: %s", warning)
    for words in [] if is_sample(settings) else unbound_words(settings, {"rows": signer, "checkpoints": log_signer}):
        logger.warning("%s", words)
    for absence in content["absences"]:
        logger.warning("schema: %s", absence)
    logger.info("%s", content["times"])
    logger.info(
        "schema: %d statements compiled against %s, %s", len(content["statements"]), settings.place,
        f"rows will be signed, by {signer.blobs_by}" if signer else "NO SIGNING KEY: rows will get a placeholder",
    )  # fmt: skip


def is_gated(settings: Settings, paths: RunPaths) -> bool:
    """True if schema.json was written for the very schema that the database has now, and for these keys."""
    content = durable.read_json(paths.schema, root=paths.state_dir)
    if content is None or content.get("database") != str(settings.place):
        return False
    if content.get("sealing") != _sealing(settings):
        return False
    if content.get("signing") != _signing(settings, signer_of(settings)):
        return False
    recover(settings, paths)
    with open_store(settings).session(write=False) as session:
        seen = (session.fingerprint, session.binding.digest)
    return seen == (content.get("fingerprint"), content.get("binding_digest"))


def _signing(settings: Settings, signer: Signer | None) -> dict[str, str | None]:
    """What schema.json says of signing."""
    return {"key_id": signer.key_id.hex() if signer else None, "key_name": settings.signing.key_name}


def _sealing(settings: Settings) -> dict[str, str | None]:
    """What schema.json says of sealing. With a key, the statements that seal pass the gate too."""
    signer = log_signer_of(settings)
    return {"key_id": signer.key_id.hex() if signer else None, "origin": settings.sealing.origin}


def recover(settings: Settings, paths: RunPaths) -> None:
    """Before a live run, let the store roll back what some crash left unfinished.

    A dry run may not do that: its connection, which only reads, says so instead.
    """
    if not paths.dry_run:
        open_store(settings).recover()
