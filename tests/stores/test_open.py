"""tasks/stores/open.py: what a job file calls its database, and which store that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import JobFileError
from tasks.job.settings import Settings, load_settings
from tasks.stores.open import KINDS, open_store
from tasks.stores.sqlite.store import SqliteStore


@pytest.fixture
def named(tmp_path: Path) -> Any:
    """`named("a.db")`: the settings of a job file with this database."""

    def load(database: str) -> Settings:
        job = tmp_path / "job.yaml"
        job.write_text(f"database: {database}\nstate_dir: s\n", encoding="utf-8")
        return load_settings(job, {})

    return load


@pytest.mark.parametrize("url", ["{path}", "sqlite:///{path}"])
def test_a_path_and_a_sqlite_url_are_the_same_file(store: Any, named: Any, url: str) -> None:
    made = store()
    opened = open_store(named(url.format(path=made.path)))
    assert isinstance(opened, SqliteStore)
    assert opened.exists()
    with opened.attestations() as reader:
        assert reader.count_rows() == 0


def test_a_store_that_is_not_there_is_not_made(named: Any, tmp_path: Path) -> None:
    assert not open_store(named(f"{tmp_path}/none.db")).exists()
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("database", ["postgresql://u:pw@h/db", "sqlite://a.db", "http://x", "mysql://h"])
def test_a_kind_that_is_not_known_is_refused_without_showing_the_url(named: Any, database: str) -> None:
    settings = named(database)
    with pytest.raises(JobFileError) as caught:
        open_store(settings)
    assert f'line 1: database has the scheme "{database.partition(":")[0]}"' in str(caught.value)
    assert "expected a path or sqlite:///path" in str(caught.value)
    assert database not in str(caught.value)  # a URL may hold a password


def test_a_kind_can_be_added(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    monkeypatch.setitem(KINDS, "memory", lambda settings: asked.append(settings) or "a store")  # type: ignore[arg-type,return-value]
    assert open_store(named("memory://one")) == "a store"  # type: ignore[comparison-overlap]
    assert [one.database for one in asked] == ["memory://one"]


def test_a_library_is_imported_by_those_alone_who_open_such_a_store() -> None:
    rooms = ("backfill.plan_backfill", "rows.verify", "sealed_log.seal", "audit.audit", "sample.database", "explain")
    code = f"import sys, tasks.{', tasks.'.join(rooms)}; print('apsw' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
