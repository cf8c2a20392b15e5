"""Sealing: exact after any crash, once by however many sealers, only forward, and never against what was published."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.attestation.log import notes
from tasks.attestation.log.checkpoints import Checkpoint
from tasks.attestation.log.merkle import EMPTY_ROOT
from tasks.attestation.signer import Signer
from tasks.core import crash_points, patience
from tasks.core.errors import DatabaseError, DriftError, SealError, SigningKeyError
from tasks.job.paths import RunPaths
from tasks.sealed_log import leaf_groups, seal
from tasks.sealed_log.digest_files import PayloadDigests
from tasks.sealed_log.leaf_groups import Group, hash_group
from tasks.sealed_log.seal import read_seal, seal_log, seal_run
from tasks.stores.protocols.sealed_log import FIRST_ID
from tasks.stores.sqlite.sealed_log import open_log_session

POINTS = (
    "before the seal's write lock", "before the seal commits", "after the seal commits",
    "after the seal commits, before its checkpoint file", "while a file is written",
)  # fmt: skip

LOG = Signer(key_name="provenance-backfill/sample-log", seed=bytes(range(32, 64)))
NO_DIGESTS = PayloadDigests([], b"")


def fill(store: Any, facts: int, start: int = 0) -> None:
    for number in range(start, start + facts):
        store.attest(str(number))


def in_child(function: Any) -> int:
    """Run in a process of its own. Gives its exit code."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("point", POINTS)
def test_a_sealer_killed_anywhere_is_exact_the_next_time(store: Any, tmp_path: Path, point: str) -> None:
    fill(store, 9)
    twin = store.copy(tmp_path / "twin")

    def killed() -> None:
        crash_points.reach = lambda name: os._exit(9) if name == point else None  # type: ignore[assignment,return-value]
        store.seal()

    assert in_child(killed) == 9
    fill(store, 2, start=9)
    fill(twin, 2, start=9)
    sealed, expected = store.seal(), twin.seal()
    assert (sealed.tree_size, sealed.root, sealed.unsealed_rows) == (11, expected.root, 0)
    assert len(store.checkpoints) == len(store.execute("SELECT 1 FROM am_attestation_checkpoint"))
    for checkpoint in store.checkpoints:
        assert store.audit(checkpoint=checkpoint).clean


def test_sealing_in_steps_gives_the_root_of_sealing_at_once(store: Any, tmp_path: Path) -> None:
    twin = store.copy(tmp_path / "twin")
    for _ in range(5):
        before = len(store.execute("SELECT 1 FROM am_fact_metadata"))
        fill(store, 7, start=before)
        fill(twin, 7, start=before)
        store.seal()
    assert store.seal().root == twin.seal().root
    assert [row[0] for row in store.execute("SELECT first_leaf FROM am_attestation_tile")] == [0, 7, 14, 21, 28]
    assert store.audit(since=store.checkpoints[2]).clean and twin.audit().clean


def test_tiles_and_groups_end_where_they_must(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small tiles, groups and steps, so that every boundary is crossed."""
    monkeypatch.setattr(leaf_groups, "TILE_LEAVES", 4)
    monkeypatch.setattr(leaf_groups, "GROUP_LEAVES", 8)
    monkeypatch.setattr(seal, "STEP_LEAVES", 16)
    fill(store, 3)
    store.seal()
    fill(store, 40, start=3)
    store.seal()
    tiles = store.execute("SELECT first_leaf, leaves FROM am_attestation_tile")
    assert tiles == [(0, 3), (3, 1), *((at, 4) for at in range(4, 40, 4)), (40, 3)]
    assert [row[0] for row in store.execute("SELECT tree_size FROM am_attestation_checkpoint")] == [3, 16, 32, 43]
    for checkpoint in store.checkpoints:
        assert store.audit(checkpoint=checkpoint, since=store.checkpoints[0]).clean


def test_only_new_rows_are_read(sealed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    monkeypatch.setattr(
        seal, "hash_group", lambda task: read.append((task[1].first_id, task[1].rows)) or hash_group(task)
    )
    last = sealed.execute("SELECT max(attestation_id) FROM am_fact_attestation_log")[0][0]
    sealed.attest("new")
    assert sealed.seal().new_leaves == 1
    assert read == [(last + 1, 1)]


def test_sealing_again_writes_nothing(sealed: Any) -> None:
    before = sealed.path.read_bytes()
    assert sealed.seal().new_leaves == 0
    assert sealed.path.read_bytes() == before


def test_a_tile_is_never_changed(sealed: Any) -> None:
    before = sealed.execute("SELECT * FROM am_attestation_tile")
    fill(sealed, 3, start=500)
    sealed.seal()
    assert sealed.execute("SELECT * FROM am_attestation_tile")[: len(before)] == before


def test_two_sealers_at_once_number_every_row_once(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 5)
    raced = []

    def race(name: str) -> None:
        if name == "before the seal's write lock" and not raced:
            raced.append(name)
            fill(store, 2, start=5)
            assert in_child(store.seal) == 0

    monkeypatch.setattr(crash_points, "reach", race)
    assert store.seal().tree_size == 7
    assert raced and [row[0] for row in store.execute("SELECT tree_size FROM am_attestation_checkpoint")] == [7]
    assert store.audit().clean


def test_a_run_waits_out_a_lock_before_it_seals(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 3)
    pacing = store.settings.pacing.model_copy(update={"lock_timeout_seconds": 0.0})
    paths = RunPaths(Path(store.settings.state_dir), "run-1", dry_run=False)
    with closing(apsw.Connection(str(store.path))) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(patience.time, "sleep", lambda _: other.execute("ROLLBACK"))
        seal_run(store.settings.model_copy(update={"pacing": pacing}), paths)
    assert read_seal(store.settings, paths).tree_size == 3 and store.audit().clean


def test_processes_hash_what_one_process_hashes(store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fill(store, 30)
    twin = store.copy(tmp_path / "twin")
    monkeypatch.setattr(leaf_groups, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(leaf_groups, "GROUP_LEAVES", 8)
    monkeypatch.setattr(leaf_groups.os, "cpu_count", lambda: 2)
    assert store.seal().root == twin.seal().root


def test_an_empty_log_is_sealed_by_no_checkpoint(store: Any) -> None:
    sealed = store.seal()
    assert (sealed.state, sealed.tree_size, sealed.root, sealed.checkpoint_file) == ("sealed", 0, None, None)
    assert EMPTY_ROOT not in store.execute("SELECT root FROM am_attestation_checkpoint")


# --- keys -------------------------------------------------------------------------------------------


def test_without_a_key_nothing_is_written_and_the_rows_are_counted(
    sealed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY")
    sealed.attest("new")
    before = sealed.path.read_bytes()
    result = sealed.seal()
    assert (result.state, result.tree_size, result.unsealed_rows, result.checkpoint_file) == ("no_key", 23, 1, None)
    assert sealed.path.read_bytes() == before
    assert "UNSEALED" in result.words() and "1 rows" in result.words()


def test_the_key_of_the_rows_never_signs_a_checkpoint(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", bytes(range(32, 64)).hex())
    with pytest.raises(SigningKeyError, match="a key of their own"):
        store.seal()


def test_a_malformed_key_stops_the_sealing_before_it_writes(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 1)
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", "ab" * 31)
    with pytest.raises(SigningKeyError, match="62 hex digits"):
        store.seal()
    assert store.execute("SELECT count(*) FROM am_attestation_tile") == [(0,)]


# --- what was published -----------------------------------------------------------------------------


def test_a_lost_file_comes_back_from_the_database(sealed: Any) -> None:
    before = sealed.checkpoints
    for path in (sealed.folder / "state" / "checkpoints").rglob("*.checkpoint"):
        path.unlink()
    sealed.seal()
    assert sealed.checkpoints == before


def test_a_file_that_says_something_else_is_shouted_about_and_kept(sealed: Any) -> None:
    path = sorted((sealed.folder / "state" / "checkpoints").rglob("*.checkpoint"))[0]
    path.write_text("something else\n")
    with pytest.raises(SealError, match=r"ATTENTION.*two different checkpoints"):
        sealed.seal()
    assert path.read_text() == "something else\n"


def test_a_database_restored_from_a_backup_is_not_sealed_into_a_second_history(sealed: Any) -> None:
    sealed.execute("DELETE FROM am_attestation_tile WHERE first_leaf >= 15")
    sealed.execute("DELETE FROM am_attestation_checkpoint WHERE tree_size > 15")
    with pytest.raises(SealError, match=r"ATTENTION: a checkpoint of 23 leaves was published.*second history"):
        sealed.seal()


@pytest.mark.parametrize("column", ["frontier", "root", "note", "tree_size"])
def test_an_altered_checkpoint_is_not_gone_on_from(sealed: Any, column: str) -> None:
    new = {"frontier": bytes(40), "root": bytes(32), "note": "no note\n", "tree_size": 24}[column]
    sealed.execute(f"UPDATE am_attestation_checkpoint SET {column} = ? WHERE tree_size = 23", (new,))
    with pytest.raises(SealError, match=r"audit the log|ATTENTION"):
        sealed.seal()


def test_a_log_keeps_its_name(sealed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sealed.settings
    renamed = settings.model_copy(update={"sealing": settings.sealing.model_copy(update={"origin": "another/log"})})
    with pytest.raises(SealError, match="A log keeps its name"):
        seal_log(renamed, run_id=None)


def test_a_new_key_goes_on_from_a_published_checkpoint_of_the_old_one(
    sealed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(64, 96)).hex())
    sealed.attest("new")
    assert sealed.seal().tree_size == 24
    for path in (sealed.folder / "state" / "checkpoints").rglob("*24.checkpoint"):
        path.unlink()
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", bytes(range(96, 128)).hex())
    with pytest.raises(SealError, match="no known key"):
        sealed.seal()


# --- what the session may do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "sql"),
    [
        ("seal", "INSERT INTO am_fact_attestation_log (fact_id, attester, signature_hex) VALUES ('1', 'x', 'y')"),
        ("seal", "UPDATE am_attestation_tile SET leaves = 1"),
        ("seal", "DELETE FROM am_attestation_checkpoint"),
        ("seal", "UPDATE am_fact_metadata SET source_doc = NULL"),
        ("rotate", "INSERT INTO am_attestation_checkpoint (tree_size) VALUES (1)"),
        ("rotate", "UPDATE am_fact_attestation_log SET notes = ''"),
        ("read", "INSERT INTO am_attestation_tile (first_leaf) VALUES (0)"),
    ],
)
def test_a_session_can_write_what_it_is_for_and_nothing_else(sealed: Any, purpose: Any, sql: str) -> None:
    with open_log_session(sealed.settings, purpose=purpose) as session, pytest.raises(apsw.AuthError):
        session._connection.execute(sql)


def test_ids_that_are_no_integers_of_sqlite_are_refused_by_name(store: Any) -> None:
    store.execute("DROP VIEW v_am_fact_explainability; DROP VIEW v_am_fact_attestation_latest")
    store.execute("DROP TABLE am_fact_attestation_log")
    store.execute(
        "CREATE TABLE am_fact_attestation_log (attestation_id TEXT PRIMARY KEY, fact_id TEXT, attester TEXT, "
        "signed_at TEXT, signature_hex TEXT, notes TEXT); CREATE INDEX i ON am_fact_attestation_log (fact_id)"
    )
    with pytest.raises(DriftError, match='"attestation_id" is not its INTEGER PRIMARY KEY'):
        store.seal()


@pytest.mark.parametrize("first_id", [FIRST_ID, 1])
def test_rows_that_vanish_while_they_are_hashed_are_an_error(store: Any, first_id: int) -> None:
    fill(store, 5)
    store.execute("DELETE FROM am_fact_attestation_log WHERE attestation_id IN (2, 5)")
    with pytest.raises(SealError, match="append-only"):
        hash_group((store.settings, Group(0, 5, first_id, 5), NO_DIGESTS))


def test_ids_are_sealed_alike_whether_they_are_known_to_have_no_gaps(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaf_groups, "TILE_LEAVES", 4)
    fill(store, 11)
    dense, unknown = Group(0, 11, 1, 11), Group(0, 11, FIRST_ID, 11)
    assert dense.has_every_id and not unknown.has_every_id
    of_dense, of_unknown = (hash_group((store.settings, group, NO_DIGESTS)) for group in (dense, unknown))
    assert of_dense == of_unknown


def test_a_missing_database_is_an_error(store: Any) -> None:
    store.path.unlink()
    with pytest.raises(DatabaseError, match="no such file"):
        store.seal()


@pytest.mark.parametrize(
    ("table", "old", "new", "said"),
    [
        ("am_attestation_tile", "leaf_marks            BLOB", "leaf_marks BLOB CHECK (0)", "would be refused"),
        (
            "am_attestation_checkpoint",
            "note                 TEXT",
            "note INTEGER CHECK (typeof(note) = 'integer')",
            "refused",
        ),
    ],
)
def test_tables_that_would_refuse_a_seal_are_named_before_it_is_made(
    tmp_path: Path, store: Any, table: str, old: str, new: str, said: str
) -> None:
    declared = store.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,))[0][0]
    assert old in declared
    store.execute(f"DROP TABLE {table}")
    store.execute(declared.replace(old, new, 1))
    fill(store, 1)
    with pytest.raises(DriftError, match=said):
        store.seal()


# --- what lies in the folder of published checkpoints ---------------------------------------------------------


def published(store: Any) -> Path:
    return next((Path(store.settings.state_dir) / "checkpoints").iterdir())


def an_empty_file(path: Path, note: bytes) -> None:
    path.touch()


def another_size(path: Path, note: bytes) -> None:
    path.write_bytes(note)


def another_log(path: Path, note: bytes) -> None:
    size = int(path.name.partition(".")[0])
    path.write_bytes(notes.sign(Checkpoint("another/log", size, bytes(32)).text, LOG).encode())


def a_broken_signature(path: Path, note: bytes) -> None:
    size = int(path.name.partition(".")[0])
    signed = notes.sign(Checkpoint("provenance-backfill/sample-log", 1, bytes(32)).text, LOG)
    forged = Checkpoint("provenance-backfill/sample-log", size, bytes(32)).text
    path.write_bytes(notes.Note(forged, signed.signatures).encode())


def a_fifo(path: Path, note: bytes) -> None:
    os.mkfifo(path)


def a_large_file(path: Path, note: bytes) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


@pytest.mark.parametrize(
    "plant", [an_empty_file, another_size, another_log, a_broken_signature, a_fifo, a_large_file]
)  # fmt: skip
def test_a_planted_checkpoint_counts_for_nothing_and_is_told_of(store: Any, plant: Any, caplog: Any) -> None:
    fill(store, 3)
    store.seal()
    folder = published(store)
    note = (folder / f"{3:020d}.checkpoint").read_bytes()
    planted = folder / f"{10**18:020d}.checkpoint"
    plant(planted, note)
    if plant is an_empty_file:
        (folder / "99999999999999999999.checkpoint").touch()
    fill(store, 2, start=3)
    with caplog.at_level("WARNING", logger="luigi-interface"):
        assert store.seal().tree_size == 5
    assert f"{planted}: counts for nothing: " in caplog.text
    assert "restored or truncated" not in caplog.text


def test_a_larger_checkpoint_by_another_key_stops_the_sealer_which_does_not_say_more_than_it_knows(store: Any) -> None:
    fill(store, 3)
    store.seal()
    other = Signer(key_name="another", seed=bytes(32))
    note = notes.sign(Checkpoint("provenance-backfill/sample-log", 9, bytes(32)).text, other).encode()
    (published(store) / f"{9:020d}.checkpoint").write_bytes(note)
    with pytest.raises(SealError, match=r"9 leaves lies here, .* has not signed it\. .* remove it here\. Nothing was"):
        store.seal()


def test_a_folder_of_checkpoints_that_cannot_be_listed_is_no_empty_one(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 3)
    store.seal()

    def refuse(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(SealError, match=r"cannot be read: Permission denied\. Nothing was written\."):
        store.seal()


def test_a_checkpoint_is_never_published_through_a_link(store: Any, tmp_path: Path) -> None:
    fill(store, 3)
    store.seal()
    (published(store) / f"{5:020d}.checkpoint").symlink_to(tmp_path / "elsewhere")
    fill(store, 2, start=3)
    with pytest.raises(SealError, match="it is a symbolic link"):
        store.seal()
    assert not (tmp_path / "elsewhere").exists()
