"""Fixtures for a folder whose tests are about sealed logs; its conftest imports them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.sealed_store import LOG_VARIABLE, SEED_OF_LOG, SealedStore, audited_twice


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the log is at hand, that of the rows is not."""
    monkeypatch.setenv(LOG_VARIABLE, SEED_OF_LOG.hex())


@pytest.fixture
def store(tmp_path: Path) -> SealedStore:
    """An empty store."""
    return SealedStore(tmp_path / "empty").create()


@pytest.fixture
def sealed(sealed_once: SealedStore, tmp_path: Path) -> SealedStore:
    """A copy of a store that was sealed in three steps, to be tampered with."""
    return sealed_once.copy(tmp_path / "copy")


@pytest.fixture
def agree() -> Callable[..., set[Any]]:
    """Audit a store twice, by the project and by the second opinion; both must find the same. Gives what they found."""
    return audited_twice
