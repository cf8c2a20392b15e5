"""Whoever can write beside the job's files leads none of them elsewhere, and holds no run up."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.attestation.public_keys import load_registry
from tasks.attestation.signer import Signer, load_signer
from tasks.core import durable, files
from tasks.core.errors import KeyRegistryError, ProvenanceError, SigningKeyError, StateError
from tasks.core.files import UnfitError, UnfitFolderError, new_file, opened_folder, read_bounded
from tasks.job import keygen
from tasks.job.settings import load_settings
from tasks.runs.frozen_plans import read_plan
from tasks.runs.gate import gate_schema
from tasks.sealed_log.digest_files import find_digests, leave_digests

SIGNER = Signer(key_name="test", seed=bytes(range(32)))
A_KEY = bytes(range(100, 132)).hex()


@pytest.fixture(params=[0o000, 0o077, 0o277 if os.geteuid() == 0 else 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def given_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file or folder another user's."""
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


# --- what is written --------------------------------------------------------------------------------


def test_files_are_0600_and_folders_0700_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "above" / "state"
    durable.write_durably(root / "run" / "live" / "m.json", "{}", root=root)
    durable.write_once(root / "run" / "plan.json", "{}", root=root)
    leave_digests(str(root), range(1, 2), [(bytes(80), bytes(32))], SIGNER)
    keygen.generate(root / "keys" / "rows.key", "a")
    made = list(root.rglob("*"))
    assert {mode(path) for path in made if path.is_file()} == {0o600}
    assert {mode(path) for path in [root, *made] if path.is_dir()} == {0o700}
    assert not mode(root.parent) & 0o022


def planted_links(folder: Path, name: str, target: Path) -> None:
    """The links that a temporary file of old would have followed."""
    for number in (os.getpid(), os.getpid() + 1):
        (folder / f".{name}.{number}.tmp").symlink_to(target)


def test_a_planted_link_is_never_written_through(state: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    for name in ("m.json", "plan.json"):
        planted_links(state, name, victim)
        (state / name).symlink_to(victim)
    digests = state / "payload-digests"
    digests.mkdir(mode=0o700)
    name = f"{1:020d}-1.digests"
    planted_links(digests, name, victim)
    (digests / name).symlink_to(victim)
    durable.write_durably(state / "m.json", "{}", root=state)
    assert durable.write_once(state / "plan.json", "{}", root=state) is False
    leave_digests(str(state), range(1, 2), [(bytes(80), bytes(32))], SIGNER)
    assert victim.read_text(encoding="utf-8") == "precious"
    assert not (state / "m.json").is_symlink() and not (digests / name).is_symlink()
    with pytest.raises(StateError, match=r"plan\.json: cannot be read: it is a symbolic link"):
        durable.read_json(state / "plan.json", root=state)


def test_two_temporary_names_are_never_one(state: Path) -> None:
    with new_file(state / "m.json", root=state) as one, new_file(state / "m.json", root=state) as other:
        assert one.temporary != other.temporary
        assert str(os.getpid()) not in one.temporary.split(".")
    assert list(state.iterdir()) == []


def test_a_name_as_long_as_names_can_be_is_written(state: Path) -> None:
    path = state / ("事" * 85)
    durable.write_durably(path, "{}", root=state)
    assert durable.read_json(path, root=state) == {}


def test_what_a_user_named_is_replaced_with_its_mode_and_nothing_but_a_file_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # the user's affair
    report = tmp_path / "report.json"
    report.write_text("old", encoding="utf-8")
    report.chmod(0o644)
    durable.write_durably(report, "new", root=None)
    assert (report.read_text(encoding="utf-8"), mode(report)) == ("new", 0o644)
    link = tmp_path / "link"
    link.symlink_to(report)
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((link, "a symbolic link"), (tmp_path / "fifo", "a named pipe")):
        with pytest.raises(StateError, match=f"cannot be written: it is {kind}, expected a regular file"):
            durable.write_durably(path, "new", root=None)
    assert link.is_symlink()


# --- folders that others have a hand in ---------------------------------------------------------------


def linked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


def writable_by_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o1777)


def writable_by_the_group(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o775)


DAMAGES = {
    linked: r"is a symbolic link, and none is followed .* name the folder itself, .*elsewhere",
    given_away: r"belongs to .*, and this runs as .*: run it as .*, or name a folder of your own",
    writable_by_all: r"can be written by others \(mode 1777\)\. See .* then `chmod -R go-w ",
    writable_by_the_group: r"can be written by others \(mode 0775\)\. See .* then `chmod -R go-w ",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["state", "state/run", "state/run/live"])
def test_a_folder_of_the_state_that_is_anothers_is_refused_for_reading_and_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[..., None], which: str
) -> None:
    root, path = tmp_path / "state", tmp_path / "state" / "run" / "live" / "m.json"
    durable.write_durably(path, "{}", root=root)
    damage(tmp_path / which, monkeypatch)
    with pytest.raises(StateError, match=DAMAGES[damage]) as read:
        durable.read_json(path, root=root)
    assert str(read.value).endswith("Nothing was written.")
    for write in (durable.write_durably, durable.write_once):
        with pytest.raises(StateError, match=DAMAGES[damage]):
            write(path, '{"new": 1}', root=root)
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_says_so_before_it_writes_anything(
    store: Any, settings: Any, paths: Any, dump: Any, monkeypatch: pytest.MonkeyPatch, damage: Callable[..., None]
) -> None:
    made = store()
    config = settings(made)
    Path(config.state_dir).mkdir(mode=0o700)
    before = dump(made.path)
    damage(Path(config.state_dir), monkeypatch)
    with pytest.raises(StateError, match=DAMAGES[damage]):
        gate_schema(config, paths(config))
    monkeypatch.undo()
    assert dump(made.path) == before


def test_the_folders_above_the_state_are_their_owners_affair(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").chmod(0o1777)
    root = tmp_path / "link" / "state"
    durable.write_durably(root / "m.json", "{}", root=root)
    assert (tmp_path / "real" / "state" / "m.json").exists()


def test_a_state_folder_of_an_older_version_that_others_only_read_is_used(state: Path) -> None:
    state.chmod(0o755)
    durable.write_durably(state / "run" / "m.json", "{}", root=state)
    assert durable.read_json(state / "run" / "m.json", root=state) == {}


# --- keys -----------------------------------------------------------------------------------------------


def loaded(path: Path) -> Signer | None:
    return load_signer(key_name="a", key_env=None, key_file=path, environ={})


@pytest.mark.parametrize("damage", [linked, given_away, writable_by_the_group])
def test_no_key_is_read_from_or_put_into_a_folder_that_others_have_a_hand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[..., None]
) -> None:
    path = tmp_path / "keys" / "rows.key"
    keygen.generate(path, "a")
    damage(path.parent, monkeypatch)
    for act in (lambda: loaded(path), lambda: keygen.generate(path.with_name("other.key"), "a")):
        with pytest.raises(SigningKeyError, match=DAMAGES[damage]):
            act()


def test_a_key_may_lie_where_nobody_replaces_a_file_of_another(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    keygen.generate(tmp_path / "shared" / "rows.key", "a")
    assert loaded(tmp_path / "shared" / "rows.key") is not None


def test_the_owner_of_a_key_file_is_this_user_or_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.key"
    keygen.generate(path, "a")
    monkeypatch.setattr("tasks.attestation.signer.is_ours", lambda status: not stat.S_ISREG(status.st_mode))
    with pytest.raises(SigningKeyError, match=r"rows\.key belongs to another user, expected this one or root"):
        loaded(path)


def test_a_key_never_takes_the_place_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "rows.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SigningKeyError, match="exists, and a key is never overwritten"):
        keygen.generate(tmp_path / "rows.key", "a")
    assert not (tmp_path / "elsewhere").exists()


# --- what stops runs for ever ------------------------------------------------------------------------------


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        one.bind(path.name)
        os.chdir(here)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


OBSTACLES = {
    fifo: "it is a named pipe, expected a regular file",
    a_folder: "it is a folder, expected a regular file",
    a_socket: "it is a socket or a device, expected a regular file",
    sparse: r"it has 8,589,934,592 bytes, expected at most \d",
    device: "it is (a device|a symbolic link)",
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_nothing_but_a_regular_file_of_some_bytes_is_read(state: Path, obstacle: Callable[[Path], None]) -> None:
    path = state / "m.json"
    obstacle(path)
    with pytest.raises(StateError, match=f"m.json: cannot be read: {OBSTACLES[obstacle]}"):
        durable.read_json(path, root=state)
    with pytest.raises(UnfitError, match=OBSTACLES[obstacle]):
        read_bounded(path, root=None, limit=100)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_job_file_and_registry_are_read_with_the_same_care(tmp_path: Path, obstacle: Callable[[Path], None]) -> None:
    path = tmp_path / "file.yaml"
    obstacle(path)
    for load, words in ((load_settings, "the job file"), (load_registry, "the registry")):
        with pytest.raises(
            ProvenanceError, match=rf"{words} cannot be read: {OBSTACLES[obstacle]}.*Nothing was \w+\.$"
        ):
            load(path)


@pytest.mark.parametrize("obstacle", [fifo, a_folder, a_socket, device])
def test_a_key_file_is_read_with_the_same_care(tmp_path: Path, obstacle: Callable[[Path], None]) -> None:
    obstacle(tmp_path / "rows.key")
    with pytest.raises(SigningKeyError, match=OBSTACLES[obstacle]):
        loaded(tmp_path / "rows.key")


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_plan_that_cannot_be_one_ends_the_run_with_a_message(
    store: Any, settings: Any, paths: Any, obstacle: Callable[[Path], None]
) -> None:
    config = settings(store())
    gate_schema(config, paths(config))
    obstacle(paths(config).plan)
    with pytest.raises(StateError, match=r"plan\.json: cannot be read: "):
        read_plan(paths(config), config)


def test_a_file_of_digests_is_read_only_as_far_as_its_name_goes(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = state / "payload-digests"
    folder.mkdir(mode=0o700)
    fifo(folder / f"{1:020d}-4.digests")
    sparse(folder / f"{5:020d}-4.digests")
    sparse(folder / f"{9:020d}-999999999.digests")
    from tasks.sealed_log.digest_files import PayloadDigests

    read = list[int]()
    bounded = files.read_bounded

    def noted(path: Path, *, root: Path | None, limit: int) -> bytes:
        read.append(limit)
        return bounded(path, root=root, limit=limit)

    monkeypatch.setattr(files, "read_bounded", noted)
    found = PayloadDigests(find_digests(str(state)), SIGNER.public_key)
    for row in (1, 5, 9):
        assert found.of_row((row, "1", "a", "now", "00" * 64, None)) is None
    assert read == [4 * 48 + 64] * 2


def test_a_file_that_grows_while_it_is_read_is_read_to_its_bound(state: Path) -> None:
    """/proc says that its files have no bytes."""
    with pytest.raises(UnfitError, match=r"it has \d+ bytes, expected at most 10"):
        read_bounded(Path("/proc/self/maps"), root=None, limit=10)


def test_a_folder_is_opened_by_descriptors_and_none_is_left_open(state: Path) -> None:
    (state / "a" / "b").mkdir(parents=True)
    before = set(Path("/proc/self/fd").iterdir())
    with opened_folder(state / "a" / "b", root=state) as handle:
        assert Path(f"/proc/self/fd/{handle}").readlink() == (state / "a" / "b").resolve()
    (state / "a").chmod(0o777)
    with pytest.raises(UnfitFolderError), opened_folder(state / "a" / "b", root=state):
        pass
    with pytest.raises(FileNotFoundError), opened_folder(state / "none" / "b", root=state):
        pass
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_the_command_for_a_folder_that_others_write_runs_as_it_is_printed(tmp_path: Path) -> None:
    root = tmp_path / "a state; of mine"
    durable.write_durably(root / "run" / "m.json", "{}", root=root)
    for folder in (root, root / "run"):
        folder.chmod(0o777)
    with pytest.raises(StateError) as refused:
        durable.read_json(root / "run" / "m.json", root=root)
    command = str(refused.value).split("`")[1]
    subprocess.run(command, shell=True, check=True)
    assert durable.read_json(root / "run" / "m.json", root=root) == {}


def test_a_registry_that_does_not_exist_keeps_its_own_message(tmp_path: Path) -> None:
    with pytest.raises(KeyRegistryError, match="there is no such registry of keys"):
        load_registry(tmp_path / "none.yaml")
