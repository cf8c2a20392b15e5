"""Small stores with a sealed log, made through the job itself, and the second opinion on them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.payload import encode
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signature_column import PLACEHOLDER
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder, AuditReport
from tasks.core.values import Record
from tasks.job.settings import Settings, load_settings
from tasks.sealed_log.seal import Sealed, seal_log
from tasks.stores.sqlite.schema_file import read_schema_file

ROOT = Path(__file__).parents[2]
LOG_VARIABLE = "PROVENANCE_CHECKPOINT_PRIVATE_KEY"
SEED_OF_LOG = bytes(range(32, 64))
ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(32)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=SEED_OF_LOG)
ROWS_KEY = VerifierKey(ROWS.key_name, ROWS.public_key)
LOG_KEY = VerifierKey(LOG.key_name, LOG.public_key)
REGISTRY = KeyRegistry((entry_for(ROWS_KEY, "rows"), entry_for(LOG_KEY, "checkpoints")), "the tests")
NOW = "2026-05-12T01:23:45.000Z"
ATTESTER = "etl_prov_backfill_v2"


def _load_second_opinion() -> ModuleType:
    path = ROOT / "tests" / "attestation" / "second_opinion.py"
    spec = importlib.util.spec_from_file_location("second_opinion", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["second_opinion"] = module
    spec.loader.exec_module(module)
    return module


second_opinion = _load_second_opinion()


@dataclass
class SealedStore:
    """One database and its state folder."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "store.db"

    @property
    def settings(self) -> Settings:
        environ = {"AUTONOMATH_DB_PATH": str(self.path), "PROVENANCE_STATE_DIR": str(self.folder / "state")}
        return load_settings(ROOT / "config" / "backfill.yaml", environ)

    def create(self) -> SealedStore:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.execute(read_schema_file())
        return self

    def copy(self, folder: Path) -> SealedStore:
        shutil.copytree(self.folder, folder)
        return SealedStore(folder)

    def execute(self, sql: str, parameters: Any = ()) -> list[Any]:
        """Anything at all, as whoever holds the file can."""
        with closing(apsw.Connection(str(self.path))) as connection:
            connection.execute("PRAGMA ignore_check_constraints = 1")
            connection.execute("PRAGMA synchronous = 0")
            return connection.execute(sql, parameters).fetchall()

    def attest(
        self, fact: str, *, signed: bool = True, source: str | None = "https://example.org/法令", at: int | None = None
    ) -> None:
        """What a batch does for one fact: the metadata row, and a row of the log (with the id `at`)."""
        record = Record(fact, source, "2026-05-11T12:36:49.000Z", 0.45, 0.55)
        blob = ROWS.blob(encode(record, ATTESTER)) if signed else PLACEHOLDER
        self.execute(
            "INSERT INTO am_fact_metadata (fact_id, source_doc, extracted_at, verified_by, confidence_lower, "
            "confidence_upper, ed25519_sig) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "source_doc = excluded.source_doc, ed25519_sig = excluded.ed25519_sig",
            (fact, source, record.extracted_at, ATTESTER, 0.45, 0.55, blob),
        )
        self.execute(
            "INSERT INTO am_fact_attestation_log (attestation_id, fact_id, attester, signed_at, signature_hex) "
            "VALUES (?, ?, ?, ?, ?)",
            (at, fact, ATTESTER, NOW, (blob[8:72] if signed else blob).hex()),
        )

    def seal(self) -> Sealed:
        return seal_log(self.settings, run_id="test", now=lambda: NOW)

    @property
    def checkpoints(self) -> list[bytes]:
        """The published files, the smallest first."""
        folder = self.folder / "state" / "checkpoints"
        return [path.read_bytes() for path in sorted(folder.rglob("*.checkpoint"))]

    def audit(self, registry: KeyRegistry = REGISTRY, **order: Any) -> AuditReport:
        order.setdefault("checkpoint", self.checkpoints[-1] if self.checkpoints else b"")
        return audit(self.settings, registry, AuditOrder(**{"allow_unsigned": True, **order}))

    def second_opinion(
        self,
        checkpoint: bytes,
        since: bytes | None = None,
        *,
        root_only: bool = False,
        registry: KeyRegistry = REGISTRY,
    ) -> set[Any]:
        keys = []
        for key in registry.keys:
            first, end = key.trusted_leaves
            keys.append(second_opinion.Key(key.vkey, key.use, first, float("inf") if end is None else end))
        found: set[Any] = second_opinion.audit(
            self.path, checkpoint, keys, since=since, root_only=root_only, allow_unsigned=True
        )
        return found


def named(report: AuditReport) -> set[tuple[str, int | None, str | None]]:
    """The findings as the second opinion tells them."""
    return {(found.verdict.value, found.leaf, found.fact_id) for found in report.findings}


def sealed_in_three_steps(folder: Path) -> SealedStore:
    """23 attestations of 20 facts, with gaps between the ids; a placeholder signed later. Needs the key of the log."""
    made = SealedStore(folder).create()
    made.attest("unsigned-0", signed=False)
    for number in range(7):
        made.attest(str(number))
    made.seal()
    for number in range(7, 12):
        made.attest(str(number), at=100 + 3 * number)
    made.attest("3", source="https://example.org/found-later")
    made.attest("unsigned-1", signed=False)
    made.seal()
    for number in range(12, 18):
        made.attest(str(number), source=None)
    made.attest("unsigned-0")
    made.attest("3", source="https://example.org/found-again")
    made.seal()
    return made


def audited_twice(
    store: SealedStore,
    since: bytes | None = None,
    *,
    checkpoint: bytes | None = None,
    registry: KeyRegistry = REGISTRY,
) -> set[Any]:
    """What the project's audit and the second opinion find: both must find the same."""
    checkpoint = store.checkpoints[-1] if checkpoint is None else checkpoint
    for root_only in (True, False):
        report = store.audit(registry, checkpoint=checkpoint, since=since, root_only=root_only)
        found = store.second_opinion(checkpoint, since, root_only=root_only, registry=registry)
        assert named(report) == found
    return named(report)


def verdicts(found: Iterable[tuple[str, Any, Any]]) -> set[str]:
    return {verdict for verdict, _, _ in found}
