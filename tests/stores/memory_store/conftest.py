"""Stores in memory that are opened by URL, job files on them, and the keys that sign there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.memory_facts import OLD, SOURCES, URL
from support.memory_store.state import Database, MetadataRow, StoredFact
from support.memory_store.store import SCHEME, kept, memory_store

from tasks.attestation.signature_column import PLACEHOLDER
from tasks.job.settings import Settings, load_settings
from tasks.stores.open import KINDS


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Database]:
    """`memory(facts)` makes a store of these facts, which is opened by URL."""

    def make(facts: Iterable[StoredFact], before: dict[str, str | None] | None = None) -> Database:
        database = Database(URL)
        database.state.facts += facts
        database.state.sources |= SOURCES
        for fact_id, source in (before or {}).items():
            row = MetadataRow(fact_id, source, OLD, "etl_prov_backfill_v1", None, None, PLACEHOLDER, OLD)
            database.state.metadata[fact_id] = row
        monkeypatch.setitem(KINDS, SCHEME, memory_store)
        monkeypatch.setitem(kept, URL, database)
        return database

    return make


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Settings]:
    """`job(**sections)` is a job file on the store in memory. PyNaCl signs: its signatures are the same each time."""

    def make(database: str = URL, state_dir: str = "memory", **sections: Any) -> Settings:
        content = {
            "database": database, "state_dir": str(tmp_path / state_dir), "signing": {"compiled": False},
            "pacing": {"chunk_rows": 10, "batch_rows": 4, "lock_timeout_seconds": 1}, **sections,
        }  # fmt: skip
        path = tmp_path / f"{state_dir}.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return load_settings(path, {})

    return make


@pytest.fixture
def seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())


@pytest.fixture(params=[True, False], ids=["signed", "unsigned"])
def signed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, seals: None) -> bool:
    if request.param:
        monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(100, 132)).hex())
    return bool(request.param)
