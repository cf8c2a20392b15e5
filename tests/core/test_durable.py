"""Files that tell what is done: whole or not at all, and read with suspicion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasks.core import crash_points, durable
from tasks.core.errors import StateError

CONTENT = {"chunk": 17, "text": "補助金", "none": None}


def files(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("write", [durable.write_durably, durable.write_once])
def test_what_is_written_comes_back_and_nothing_else_is_left(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "a" / "b" / "chunk-000017.json"
    write(path, durable.to_text(CONTENT), root=tmp_path)
    assert durable.read_json(path, root=tmp_path) == CONTENT
    assert files(tmp_path) == ["a/b/chunk-000017.json"]


def test_the_text_is_for_people_as_well(tmp_path: Path) -> None:
    assert durable.to_text(CONTENT) == '{\n  "chunk": 17,\n  "text": "補助金",\n  "none": null\n}\n'


def test_writing_durably_replaces_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text("torn", encoding="utf-8")
    durable.write_durably(path, '{"new": 1}', root=tmp_path)
    assert durable.read_json(path, root=tmp_path) == {"new": 1}


def test_the_first_writer_wins_and_the_second_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert durable.write_once(path, '{"first": 1}', root=tmp_path) is True
    assert durable.write_once(path, '{"second": 2}', root=tmp_path) is False
    assert durable.read_json(path, root=tmp_path) == {"first": 1}
    assert files(tmp_path) == ["plan.json"]


def test_a_writer_that_is_overtaken_while_it_writes_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"

    def other_writer(name: str) -> None:
        if name == "while a file is written":
            path.write_text('{"other": 1}', encoding="utf-8")

    monkeypatch.setattr(crash_points, "reach", other_writer)
    assert durable.write_once(path, '{"mine": 2}', root=tmp_path) is False
    assert durable.read_json(path, root=tmp_path) == {"other": 1}


def test_the_bytes_are_on_the_disk_before_the_name_is_and_the_name_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("fsync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "fsync file")  # noqa: PTH112
        fsync(descriptor)

    def noted_replace(*names: str, **folders: int) -> None:
        steps.append("rename")
        replace(*names, **folders)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    durable.write_durably(tmp_path / "m.json", "{}", root=tmp_path)
    assert steps == ["fsync file", "rename", "fsync folder"]


def test_a_full_disk_is_one_message_and_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.json"
    path.write_text('{"old": 1}', encoding="utf-8")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (durable.write_durably, durable.write_once):
        with pytest.raises(StateError, match=r"m\.json: cannot be written: No space left on device"):
            write(path, '{"new": 1}', root=tmp_path)
    assert durable.read_json(path, root=tmp_path) == {"old": 1}
    assert files(tmp_path) == ["m.json"]


@pytest.mark.parametrize("point", ["while a file is written", "before the rename of a file"])
def test_an_interrupted_writer_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def interrupt(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    monkeypatch.setattr(crash_points, "reach", interrupt)
    with pytest.raises(KeyboardInterrupt):
        durable.write_durably(tmp_path / "m.json", "{}", root=tmp_path)
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    with pytest.raises(StateError, match=r"cannot be written: (Not a directory|File exists)"):
        durable.write_durably(tmp_path / "state" / "run" / "m.json", "{}", root=tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b" ", b"{", b'{"chunk": 1', b"[]", b"7", b"null", b"not json", b"\xff\xfe", b'{"a": "\xff"}', b"[" * 200_000],
)
def test_a_torn_or_foreign_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    assert durable.read_json(path, root=tmp_path) is None


def test_a_missing_file_counts_as_none(tmp_path: Path) -> None:
    assert durable.read_json(tmp_path / "none" / "m.json", root=tmp_path) is None


def test_a_file_that_is_there_but_may_not_be_read_is_an_error_not_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        durable.read_json(tmp_path, root=tmp_path.parent)  # a folder in its place


def test_a_file_that_a_block_fills_appears_whole_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "filled"
    with durable.filled_durably(path, root=None) as write:
        write("first\n")
        assert not path.exists()
        write("second\n")
    assert path.read_text() == "first\nsecond\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "filled"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), durable.filled_durably(path, root=None) as write:
        write("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
