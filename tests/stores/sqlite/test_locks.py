"""The locks that a connection holds are still held after whatever this program does beside it in the same process.

POSIX drops all locks of a process on a file when the process closes any descriptor of it. The kernel tells which are
held, so it is the kernel that is asked.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder
from tasks.job.settings import Settings
from tasks.job.signers import log_signer_of, signer_of
from tasks.rows.explain import explain
from tasks.rows.sign_pending import plan_signing
from tasks.rows.verify import plan_verification, verify_in_process
from tasks.runs.gate import gate_schema, is_gated, recover
from tasks.sealed_log.digest_files import PayloadDigests
from tasks.sealed_log.leaf_groups import Group, hash_group
from tasks.sealed_log.prove import prove
from tasks.sealed_log.seal import seal_log
from tasks.stores.sqlite.apply import apply_schema, is_applied
from tasks.stores.sqlite.attestations import open_attestations
from tasks.stores.sqlite.opening import roll_back_hot_journal
from tasks.stores.sqlite.resigning import open_resigning_session
from tasks.stores.sqlite.sealed_log import log_statements, open_log_session
from tasks.stores.sqlite.session import open_session

SOURCES = Path(__file__).parents[3] / "tasks"
NOW = "2026-11-22T01:02:03.004Z"

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel does not tell its locks here")


def locks_on(path: Path) -> list[str]:
    """What this process has locked of a file and its -shm: kind and bytes of each lock.

    The kernel merges what one process holds of one file, so a lock that is read twice is one lock: the list moves under
    whoever reads it while other processes lock and unlock.
    """
    names = {str(file.stat().st_ino): file.name for file in (path, Path(f"{path}-shm")) if file.exists()}
    found = set()
    for line in Path("/proc/locks").read_text().splitlines():
        _, posix, _, kind, pid, file, *span = line.split()
        if posix == "POSIX" and int(pid) == os.getpid() and (name := names.get(file.rpartition(":")[2])):
            found.add(" ".join((name, kind, *span)))
    return sorted(found)


def still_held(path: Path, before: list[str]) -> bool:
    """Whether all these locks are held. One look at the list misses some while other processes lock and unlock."""
    return any(locks_on(path) == before for _ in range(200))


def held_locks(path: Path) -> list[str]:
    """The fullest of many looks, for the same reason. No look shows a lock that is not held."""
    return max((locks_on(path) for _ in range(20)), key=len)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Another connection of this process, in the middle of a read."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM am_entity_facts").fetchall()
        yield


@pytest.fixture
def attested(
    store: Any, settings: Any, run: Any, signing_key: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """`attested("wal")`: a store of forty facts, half of them attested and sealed, and its settings."""
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(32, 64)).hex())

    def make(journal_mode: str) -> Settings:
        made = store(journal_mode=journal_mode)
        made.add_facts({"id": n, "source_url": f"https://a/{n}", "created_at": "2026-05-01"} for n in range(1, 21))
        loaded: Settings = settings(made, small=True)
        run(loaded)
        made.add_facts({"id": n, "source_url": f"https://a/{n}", "created_at": "2026-05-01"} for n in range(21, 41))
        return loaded

    return make


def registry(settings: Settings) -> KeyRegistry:
    rows, log = signer_of(settings), log_signer_of(settings)
    assert rows and log
    keys = (entry_for(VerifierKey(rows.key_name, rows.public_key), "rows"),
            entry_for(VerifierKey(log.key_name, log.public_key), "checkpoints"))  # fmt: skip
    return KeyRegistry(keys, "the test")


def checkpoint(settings: Settings) -> bytes:
    return max(Path(settings.state_dir).rglob("*.checkpoint")).read_bytes()


def _open(context: Any) -> None:
    with context:
        pass


def _count(settings: Settings, paths: Any) -> None:
    with open_session(settings, write=False) as session, session.counting_snapshot():
        session.count_residual()


def _explain(settings: Settings, paths: Any) -> None:
    with open_attestations(settings) as reader:
        assert explain(reader, registry(settings), "1") is not None


def _verify(settings: Settings, paths: Any) -> None:
    plan = plan_verification(settings, registry(settings), run_id="verify", created_at=NOW, workers=1)
    folder = Path(settings.state_dir) / "findings"
    folder.mkdir()
    assert [verdict.rows for verdict in verify_in_process(settings, registry(settings), plan, workers=1, folder=folder)]


def _audit(settings: Settings, paths: Any) -> None:
    order = AuditOrder(checkpoint=checkpoint(settings), since=None, root_only=False, sample=None, workers=1,
                       allow_unsigned=False)  # fmt: skip
    assert audit(settings, registry(settings), order).clean


def _prove(settings: Settings, paths: Any) -> None:
    assert prove(settings, "1")


READS: dict[str, Callable[[Settings, Any], None]] = {
    "a session": lambda s, _: _open(open_session(s, write=False)),
    "a count with a helper": _count,
    "a reader of attestations": lambda s, _: _open(open_attestations(s)),
    "a reader of the log": lambda s, _: _open(open_log_session(s, purpose="read")),
    "the statements of sealing": lambda s, _: (log_statements(s), None)[1],
    "a session that signs, to read": lambda s, _: _open(open_resigning_session(s, write=False)),
    "a look for what is missing": lambda s, _: (is_applied(s), None)[1],
    "a look for a journal": lambda s, p: recover(s, p),
    "the gate": lambda s, p: (gate_schema(s, p), is_gated(s, p), None)[2],
    "a group of leaves": lambda s, _: (hash_group((s, Group(0, 20, 1, 20), PayloadDigests([], b""))), None)[1],
    "an explanation": _explain,
    "a verification": _verify,
    "an audit": _audit,
    "a proof": _prove,
    "a plan of signing": lambda s, p: (plan_signing(s, _sign_paths(s)), None)[1],
}
WRITES: dict[str, Callable[[Settings, Any], None]] = {
    "a session that writes": lambda s, _: _open(open_session(s, write=True)),
    "a session that seals": lambda s, _: _open(open_log_session(s, purpose="seal")),
    "a session that rotates": lambda s, _: _open(open_log_session(s, purpose="rotate")),
    "a session that signs": lambda s, _: _open(open_resigning_session(s, write=True)),
    "the tables that are missing": lambda s, _: (apply_schema(s), None)[1],
    "a journal rolled back": lambda s, _: roll_back_hot_journal(s),
    "a seal": lambda s, _: (seal_log(s, run_id=None), None)[1],
}


def _sign_paths(settings: Settings) -> Any:
    from tasks.job.paths import sign_paths

    return sign_paths(settings.state_dir, "sign-1")


@pytest.mark.parametrize("journal_mode", ["wal", "delete"])
@pytest.mark.parametrize("what", READS)
def test_no_read_drops_the_locks_of_another_connection(what: str, journal_mode: str, attested: Any, paths: Any) -> None:
    settings = attested(journal_mode)
    with reading(settings.place.path):
        before = held_locks(settings.place.path)
        assert before
        READS[what](settings, paths(settings, "run-2"))
        assert still_held(settings.place.path, before)


@pytest.mark.parametrize("what", WRITES)
def test_no_write_drops_the_locks_of_another_connection(what: str, attested: Any, paths: Any) -> None:
    settings = attested("wal")
    with reading(settings.place.path):
        before = held_locks(settings.place.path)
        WRITES[what](settings, paths(settings, "run-2"))
        assert still_held(settings.place.path, before)


def test_a_whole_run_drops_no_lock_of_another_connection(attested: Any, run: Any) -> None:
    settings = attested("wal")
    with reading(settings.place.path):
        before = held_locks(settings.place.path)
        assert run(settings, "run-2", dry_run=True)["rows"]["inserted"] == 20
        assert run(settings, "run-2")["rows"]["inserted"] == 20
        assert still_held(settings.place.path, before)


_watched: list[str] = []
_opened: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(arguments[0], (str, bytes)):
        name = os.fsdecode(arguments[0])
        if os.path.realpath(name) in _watched:
            _opened.append(name)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], list[str]]]:
    """`opened(path)`: from now on, every time that Python itself opens a database or what lies beside it."""
    if not getattr(sys, "_watches_open", False):
        sys.addaudithook(_watch)  # there is no way to take one away again
        sys._watches_open = True  # type: ignore[attr-defined]

    def start(path: Path) -> list[str]:
        _opened.clear()
        _watched.extend(f"{os.path.realpath(path)}{ending}" for ending in ("", "-wal", "-shm", "-journal"))
        return _opened

    yield start
    _watched.clear()


def test_python_opens_no_file_of_the_database_whatever_is_done(
    attested: Any, paths: Any, run: Any, opened: Any
) -> None:
    settings = attested("wal")
    seen = opened(settings.place.path)
    run(settings, "run-2", dry_run=True)
    run(settings, "run-2")
    for act in (*READS.values(), *WRITES.values()):
        act(settings, paths(settings, "run-3"))
    assert seen == []
    settings.place.path.open("rb").close()
    assert seen == [str(settings.place.path)]


def test_one_place_opens_databases_and_one_library() -> None:
    """All connections are made in opening.py, but for those to memory and to a sample that nobody else knows yet."""
    opening, importing = set(), set()
    for source in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("apsw.Connection", "StoreConnection")):
                first = ast.unparse(node.args[0])
                opening |= set() if first == "':memory:'" else {(source.name, first)}
            if isinstance(node, (ast.Import, ast.ImportFrom)) and "sqlite3" in ast.unparse(node).split():
                importing.add(source.name)
    assert opening == {("opening.py", "name"), ("new_file.py", "str(partial)")}
    assert importing == set()
