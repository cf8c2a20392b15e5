"""Digests on their way from who signs to who seals: the same log comes of it as without them, only sooner."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.fast.batch_hashing import split_hashes
from tasks.attestation.log.leaves import LogRow
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.attestation.signature_column import VERSION
from tasks.attestation.signer import Signer
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder
from tasks.backfill.attempt import run_chunk
from tasks.backfill.plan_backfill import plan_backfill
from tasks.core import crash_points
from tasks.core.clock import now_text
from tasks.job.settings import Settings
from tasks.sealed_log.digest_files import PayloadDigests, find_digests, leave_digests, remove_digests
from tasks.sealed_log.seal import seal_log
from tasks.stores.sqlite.sealed_log import SqliteLogSession

LOG_SEED = bytes(range(32, 64))
LOG = Signer(key_name="provenance-backfill/sample-log", seed=LOG_SEED)
ROWS = Signer(key_name="provenance-backfill/sample", seed=bytes(range(100, 132)))


def row(number: int) -> LogRow:
    """A row of the log as it stands in the database, with a signature of its own."""
    return LogRow(number, "etl", str(number), None, signature(number), "2026-11-22T00:00:00.000Z")


def signature(number: int) -> str:
    return (sha256(f"signature {number}".encode()).digest() * 2).hex()


def blob(number: int) -> bytes:
    """What the metadata holds of the same signature."""
    return VERSION + bytes.fromhex(signature(number)) + bytes(8)


def digest(number: int) -> bytes:
    return sha256(f"payload {number}".encode()).digest()


def leave(folder: Path, ids: range) -> Path:
    """Leave the file of one batch. Gives its path."""
    leave_digests(str(folder), ids, [(blob(number), digest(number)) for number in ids], LOG)
    return folder / "payload-digests" / f"{ids[0]:020d}-{len(ids)}.digests"


def known(folder: Path, log_key: bytes = LOG.public_key) -> PayloadDigests:
    return PayloadDigests(find_digests(str(folder)), log_key)


def look_up(folder: Path, ids: range, **change: Any) -> list[bytes] | None:
    """What is known of rows that are in the log; `change` alters columns of the last one."""
    rows = [row(number) for number in ids]
    rows[-1] = rows[-1]._replace(**change)
    found = known(folder).of_rows(rows)
    return None if found is None else split_hashes(found)


# -- files ---------------------------------------------------------------------------------------------


def test_what_was_left_for_rows_is_found_across_batches(tmp_path: Path) -> None:
    for ids in (range(1, 6), range(6, 8), range(8, 20)):
        leave(tmp_path, ids)

    for ids in (range(1, 6), range(2, 5), range(3, 15), range(1, 20), range(19, 20)):
        assert look_up(tmp_path, ids) == [digest(number) for number in ids]


def test_nothing_is_found_where_a_row_has_no_digest(tmp_path: Path) -> None:
    leave(tmp_path, range(5, 10))
    leave(tmp_path, range(12, 15))

    for ids in (range(1, 3), range(4, 8), range(8, 11), range(8, 13), range(13, 16)):
        assert look_up(tmp_path, ids) is None
    assert known(tmp_path).of_rows([row(5), row(7)]) is None
    assert known(tmp_path).of_rows([]) is None
    assert [known(tmp_path).of_row(row(number)) for number in (5, 9, 10, 12)] == [
        digest(5),
        digest(9),
        None,
        digest(12),
    ]


@pytest.mark.parametrize("other", [signature(77), "0" * 128, "", signature(9)[:8], None, 7, b"ab" * 64, "é" * 128])
def test_rows_with_another_signature_than_was_made_have_no_digest(tmp_path: Path, other: Any) -> None:
    leave(tmp_path, range(5, 10))

    assert look_up(tmp_path, range(6, 10)) is not None
    assert look_up(tmp_path, range(6, 10), signature_hex=other) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
)
def test_a_file_that_is_not_whole_counts_for_nothing(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = leave(tmp_path, range(5, 10))
    path.write_bytes(damage(path.read_bytes()))

    assert look_up(tmp_path, range(5, 10)) is None


def test_a_file_says_by_its_name_which_rows_it_is_about(tmp_path: Path) -> None:
    path = leave(tmp_path, range(5, 10))
    path.rename(path.with_name(f"{7:020d}-5.digests"))
    (path.parent / "notes.digests").write_text("no file of ours")

    assert look_up(tmp_path, range(7, 10)) is None
    assert not known(tmp_path).may_hold(5, 6)


def test_a_file_counts_only_if_the_key_for_checkpoints_has_signed_it(tmp_path: Path) -> None:
    """Who may write to the state folder, and nothing else, could put into the log for ever what nobody signed."""
    path = leave(tmp_path, range(5, 10))
    rows = [row(number) for number in range(5, 10)]

    assert known(tmp_path, ROWS.public_key).of_rows(rows) is None
    leave_digests(str(tmp_path), range(5, 10), [(blob(n), digest(77)) for n in range(5, 10)], ROWS)
    assert known(tmp_path).of_rows(rows) is None
    leave(tmp_path, range(5, 10))
    content = path.read_bytes()
    path.with_name(f"{4:020d}-5.digests").write_bytes(content)  # whole, signed, and of other rows by its name
    path.unlink()
    assert known(tmp_path).of_rows(rows) is None


def test_rows_with_negative_ids_have_no_file(tmp_path: Path) -> None:
    leave_digests(str(tmp_path), range(-3, 2), [(blob(n), digest(n)) for n in range(-3, 2)], LOG)

    assert not (tmp_path / "payload-digests").exists()


def test_rows_whose_ids_have_gaps_have_no_file(tmp_path: Path) -> None:
    leave_digests(str(tmp_path), [5, 6, 8], [(blob(n), digest(n)) for n in (5, 6, 8)], LOG)
    assert find_digests(str(tmp_path)) == []
    leave_digests(str(tmp_path), [5, 6, 7], [(blob(n), digest(n)) for n in (5, 6, 7)], LOG)
    assert [(file.first_id, file.last_id) for file in find_digests(str(tmp_path))] == [(5, 7)]


def test_only_files_whose_rows_are_all_sealed_are_removed(tmp_path: Path) -> None:
    first, second = leave(tmp_path, range(1, 6)), leave(tmp_path, range(6, 11))

    (first.parent / f".{first.name}.4711.tmp").write_bytes(b"what a crash left")
    remove_digests(str(tmp_path), through=9)
    assert (first.exists(), second.exists()) == (False, True)
    remove_digests(str(tmp_path), through=10)
    assert list(first.parent.iterdir()) == []


def test_a_disk_that_refuses_is_told_of_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "payload-digests").write_text("a file where the folder should be")

    leave(tmp_path, range(1, 3))

    assert "cannot be written" in caplog.text and "payload-digests" in caplog.text
    assert look_up(tmp_path, range(1, 3)) is None


def test_a_folder_that_may_not_be_read_counts_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(tmp_path, range(5, 10))

    def refuse(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    assert find_digests(str(tmp_path)) == []
    remove_digests(str(tmp_path), through=100)


# -- from a run to the seal ----------------------------------------------------------------------------


@pytest.fixture
def sealing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY", LOG_SEED.hex())


@pytest.fixture
def signed(store: Any, settings: Any, signing_key: str, sealing_key: None) -> Any:
    """(store, settings) of 25 facts, of which some have metadata without a source. Nothing ran yet."""
    made = store()
    made.add_source(1, "https://a.test/法令")
    made.add_facts({"id": key, "source_id": 1, "confidence": key / 40} for key in range(1, 26))
    for key in range(3, 25, 4):
        made.add_metadata(str(key))
    return made, settings(made, small=True)


@pytest.fixture
def backfilled(signed: Any, paths: Any) -> Any:
    """The same after its chunks, before its log is sealed."""
    _, config = signed
    where = paths(config)
    plan = plan_backfill(config, where, max_rows=None, created_at=now_text())
    for planned in plan.chunks:
        run_chunk(config, where, planned.chunk, progress=lambda _: None)
    return signed


def digest_files(settings: Settings) -> list[str]:
    return sorted(path.name for path in (Path(settings.state_dir) / "payload-digests").glob("*"))


def twin_of(store: Any, settings: Any, tmp_path: Path, *, small: bool = True) -> Settings:
    """The settings of a copy of the store, with a state folder of its own: nobody left digests there."""
    copy = tmp_path / "twin.db"
    for ending in ("", "-wal", "-shm"):
        if Path(f"{store.path}{ending}").exists():
            shutil.copy(f"{store.path}{ending}", f"{copy}{ending}")
    made: Settings = settings(type(store)(copy), small=small, state_dir="twin-state")
    return made


def forbid_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("the metadata was read")

    monkeypatch.setattr(SqliteLogSession, "read_attested", fail)


def test_a_log_is_sealed_alike_with_digests_and_without(
    backfilled: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config = backfilled
    without = twin_of(made, settings, tmp_path)
    assert len(digest_files(config)) == 8 and digest_files(without) == []  # chunks of 10 facts, batches of 4

    from_metadata = seal_log(without, run_id="seal", now=lambda: "2026-11-22T00:00:00.000Z")
    forbid_metadata(monkeypatch)
    from_digests = seal_log(config, run_id="seal", now=lambda: "2026-11-22T00:00:00.000Z")

    assert (from_digests.tree_size, from_digests.root) == (25, from_metadata.root)
    digests = "SELECT payload_digests FROM am_attestation_tile"
    assert made.execute(digests) == type(made)(tmp_path / "twin.db").execute(digests)
    assert bytes(32) not in [made.execute(digests)[0][0][at : at + 32] for at in range(0, 25 * 32, 32)]
    assert digest_files(config) == []


def test_a_signed_batch_is_logged_in_the_order_of_its_fact_ids(signed: Any, settings: Any, run: Any) -> None:
    """That of the index that costs most to keep, whether a fact is inserted or updated."""
    made, _ = signed
    run(settings(made))

    logged = [fact_id for fact_id, _, _ in made.log()]
    assert len(logged) == 25 and logged == sorted(logged)


def test_files_that_came_too_late_are_removed_by_the_next_seal(backfilled: Any) -> None:
    _, config = backfilled
    seal_log(config, run_id="seal")
    leave(Path(config.state_dir), range(1, 5))

    assert seal_log(config, run_id="again").new_leaves == 0
    assert digest_files(config) == []


def test_without_a_use_for_them_no_digests_are_left(
    signed: Any, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PROVENANCE_CHECKPOINT_PRIVATE_KEY")
    run(signed[1])

    assert not (tmp_path / "state" / "payload-digests").exists()


def test_placeholders_leave_no_digests(signed: Any, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AUTONOMATH_FACT_SIGN_PRIVATE_KEY")
    report = run(signed[1])

    assert (report["signatures"]["placeholder"], report["sealed"]["tree_size"]) == (25, 25)
    assert not (tmp_path / "state" / "payload-digests").exists()


def test_a_file_that_a_crash_kept_from_being_written_is_made_up_for(
    signed: Any, run: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config = signed
    seen = []

    def stop(name: str) -> None:
        if name == "after commit":
            seen.append(name)
            if len(seen) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(crash_points, "reach", stop)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert len(digest_files(config)) == 1
    report = run(config)

    assert (report["sealed"]["tree_size"], report["sealed"]["unsealed_rows"], digest_files(config)) == (25, 0, [])
    assert made.count("am_fact_attestation_log") == 25
    assert audited(config) == []


def test_rows_that_others_logged_in_between_are_sealed_from_the_metadata(
    backfilled: Any, settings: Any, tmp_path: Path
) -> None:
    made, config = backfilled
    columns = ("attestation_id", "fact_id", "attester", "signature_hex")
    others = [(-5, "before", "somebody", "ab" * 64), (26, "behind", "somebody", "cd" * 64)]
    made.insert("am_fact_attestation_log", [dict(zip(columns, row, strict=True)) for row in others])
    without = twin_of(made, settings, tmp_path)

    with_digests, from_metadata = (seal_log(one, run_id="seal", now=lambda: "x") for one in (config, without))

    assert (with_digests.tree_size, with_digests.root) == (27, from_metadata.root)


@pytest.mark.parametrize("others", [False, True])
def test_a_row_altered_before_it_is_sealed_has_the_digest_of_what_was_signed(backfilled: Any, others: bool) -> None:
    """Whatever else is in the log: whoever can alter a row can append one, too."""
    made, config = backfilled
    if others:
        made.insert("am_fact_attestation_log", [{"fact_id": "theirs", "attester": "x", "signature_hex": "ab" * 64}])
    made.execute("UPDATE am_fact_metadata SET source_doc = 'https://evil.test/' WHERE fact_id = '7'")

    seal_log(config, run_id="seal")

    assert ("metadata_edited", "7") in audited(config)


def audited(settings: Settings) -> list[tuple[str, str | None]]:
    """What an audit with both keys finds: verdict and fact."""
    registry = KeyRegistry(
        (
            entry_for(VerifierKey(ROWS.key_name, ROWS.public_key), "rows"),
            entry_for(VerifierKey(LOG.key_name, LOG.public_key), "checkpoints"),
        ),
        "the tests",
    )
    newest = sorted((Path(settings.state_dir) / "checkpoints").rglob("*.checkpoint"))[-1]
    report = audit(settings, registry, AuditOrder(checkpoint=newest.read_bytes()))
    return [(found.verdict.value, found.fact_id) for found in report.findings]
