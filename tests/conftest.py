"""What the tests share: stores made from the canonical schema, settings, runs in process and on the command line.

No test declares a table by hand. A store that drifted is the canonical schema with one thing changed:

    store(lambda schema: schema.rename_column("am_entity_facts", "id", "fact_id"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from support.command_line import KEY_VARIABLE, OF_THE_JOB, CommandLine
from support.schema import Schema
from support.sealed_store import LOG_VARIABLE, SEED_OF_LOG, SealedStore, sealed_in_three_steps
from support.store import Store, dump_of, make_store
from support.whole_run import CREATED_AT, whole_run

from tasks.core.errors import DriftError
from tasks.job.paths import RunPaths
from tasks.job.settings import Settings, load_settings
from tasks.stores.sqlite.session import open_session

SMALL_PACING = {"chunk_rows": 10, "batch_rows": 4, "lock_timeout_seconds": 2, "cache_mib": 1}

hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")  # no test may fail because the machine is slow


@pytest.fixture(autouse=True)
def _no_environment_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller's shell has set must not reach a test."""
    for name in OF_THE_JOB:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Store]:
    """`store(*mutations, name="store.db", journal_mode="wal", encoding="UTF-8")` makes a database file.

    A mutation takes the Schema and changes it. Without one the store is canonical, and empty.
    """

    def make(
        *mutations: Callable[[Schema], Any],
        name: str = "store.db",
        journal_mode: str = "wal",
        encoding: str = "UTF-8",
    ) -> Store:
        return make_store(tmp_path / name, *mutations, journal_mode=journal_mode, encoding=encoding)

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """`settings(store, small=False, **sections)` writes a job file for the store and loads it.

    Sections go in as they stand in the job file: `pacing={"batch_rows": 7}`, `tables={"facts": {"key": "uuid"}}`.
    `small` takes chunks of 10 and batches of 4 facts. State goes to `<tmp_path>/state`.
    """

    def make(store: Store, *, small: bool = False, state_dir: str = "state", **sections: Any) -> Settings:
        content = {"database": str(store.path), "state_dir": str(tmp_path / state_dir), **sections}
        if small:
            content["pacing"] = {**SMALL_PACING, **content.get("pacing", {})}
        path = tmp_path / f"{store.path.stem}.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return load_settings(path, {})

    return make


@pytest.fixture
def created_at() -> str:
    """When the plans of `run` are made, and so the extracted_at of facts without a created_at."""
    return CREATED_AT


@pytest.fixture
def paths() -> Callable[..., RunPaths]:
    """`paths(settings, run_id="run-1", dry_run=False)`: where that run keeps its files."""

    def make(settings: Settings, run_id: str = "run-1", *, dry_run: bool = False) -> RunPaths:
        return RunPaths(Path(settings.state_dir), run_id, dry_run)

    return make


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """`run(settings, run_id="run-1", dry_run=False, max_rows=None)` is a whole run in this process, without Luigi.

    It does what the four tasks do, skips the chunks that are done, and gives the content of report.json.
    """

    return whole_run


@pytest.fixture
def signing_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key of 64 hex digits, configured for this test through the environment."""
    key = bytes(range(100, 132)).hex()
    monkeypatch.setenv(KEY_VARIABLE, key)
    return key


@pytest.fixture
def dump() -> Callable[[Path], dict[str, list[tuple[Any, ...]]]]:
    """`dump(path)` is every row of every ordinary table with its storage classes, to compare before and after."""

    return dump_of


@pytest.fixture
def luigi(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line; `luigi(task, *arguments, store=…)` gives code, stdout, stderr and report()."""
    line = CommandLine(tmp_path / "state")
    yield line
    for process in line.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def drift(dump: Any) -> Callable[[Settings], str]:
    """`drift(settings)` passes the gate as a dry run and as a live run do; both must refuse, and write nothing.

    Gives the message, which is the same in both modes.
    """

    def refused(settings: Settings) -> str:
        before = dump(settings.place.path)
        messages = []
        for write in (False, True):
            with pytest.raises(DriftError) as caught, open_session(settings, write=write):
                pass
            messages.append(str(caught.value))
        assert dump(settings.place.path) == before
        assert messages[0] == messages[1]
        assert messages[0].endswith("Nothing was written.")
        return messages[0]

    return refused


@pytest.fixture(scope="session")
def sealed_once(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """A store that was sealed in three steps, made once: copy it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOG_VARIABLE, SEED_OF_LOG.hex())
        return sealed_in_three_steps(tmp_path_factory.mktemp("sealed") / "store")
