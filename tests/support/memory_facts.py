"""Facts for a store in memory, the keys that sign what is attested of them, and how its log is audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.memory_store.state import StoredFact
from support.memory_store.store import SCHEME
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signer import Signer
from tasks.audit.audit import AuditOrder, audit
from tasks.core.values import NotUtf8
from tasks.job.paths import sign_paths
from tasks.job.settings import Settings
from tasks.reporting.signing import close_signing
from tasks.rows.sign_pending import plan_signing, run_chunk
from tasks.sealed_log.seal import seal_run

URL = f"{SCHEME}://facts"
ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(100, 132)))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
REGISTRY = KeyRegistry(
    (
        entry_for(VerifierKey(ROWS.key_name, ROWS.public_key), "rows"),
        entry_for(VerifierKey(LOG.key_name, LOG.public_key), "checkpoints"),
    ),
    "the tests",
)
SOURCES = {1: "https://例え.jp/出典", 2: " ", 3: "https://example.test/3"}
OLD = "2026-01-01T00:00:00.000Z"


def sound(count: int) -> list[StoredFact]:
    """Facts that are all attested, with ids from 1."""
    return [
        StoredFact(number, f"https://例え.jp/{number % 3}", None, "2026-05-12 01:02:03", 0.5)
        for number in range(1, count + 1)
    ]


ODD = [
    StoredFact(-7, None, 1, "2026-05-12", "0.75"),
    StoredFact(40, None, 2, None, "high"),
    StoredFact(41, "https://own.test", 3, "yesterday"),
    StoredFact(42, None, None, "2026-05-12T01:02:03+09:00", 1.5),
    StoredFact(43, NotUtf8(b"https://\xff")),
    StoredFact(44, "x" * 70_000),
    StoredFact("45", "https://own.test"),
    StoredFact(45, "https://own.test"),
    StoredFact("事実-7", "https://own.test", None, "2026-05-12", 0.0),
    StoredFact(46, "https://found.later"),
    StoredFact(47, None),
    StoredFact(48, "https://known.already"),
    StoredFact(None, "https://own.test"),
    StoredFact(None),
    StoredFact("k" * 2_000),
    StoredFact(49.5),
    StoredFact(b"\x00\x01"),
]
"""What facts can be in a store that keeps any value in any column."""
ATTESTED_BEFORE = {"46": None, "47": None, "48": "https://known.already"}
"""Metadata rows of an earlier job, without a log: fact id -> source."""
WRITTEN = 35
EXPECTED = {"inserted": 34, "updated": 1, "unchanged": 2, "rejected": 10}


def checkpoint(settings: Settings) -> bytes:
    """The last one that was published."""
    return sorted(Path(settings.state_dir, "checkpoints").rglob("*.checkpoint"))[-1].read_bytes()


def audited(settings: Settings) -> Any:
    return audit(settings, REGISTRY, AuditOrder(checkpoint=checkpoint(settings), allow_unsigned=True))


def sign_pending(settings: Settings) -> dict[str, int]:
    """Sign what is pending, seal it, and give the rows of sign.json."""
    paths = sign_paths(settings.state_dir, "run-1")
    for chunk in plan_signing(settings, paths).chunks:
        run_chunk(settings, paths, chunk.chunk, progress=lambda _: None)
    seal_run(settings, paths)
    close_signing(settings, paths)
    report = json.loads(paths.report.read_text(encoding="utf-8"))
    return dict(report["rows"])
