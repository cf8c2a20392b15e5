"""Files that tell what is done: written durably, read with suspicion (who may have a hand in them: see `files`).

A marker appears whole or not at all. Source for the order of the steps: a rename is only durable once the
folder itself is synced (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tasks.core import crash_points, files
from tasks.core.errors import AND_RUN_AGAIN, NOTHING_WRITTEN, StateError
from tasks.core.json_text import json_text

LONGEST: Final = 64 << 20
"""Bytes of the largest file that is read whole: a plan of 500 chunks with text keys of 64 KiB."""


def write_durably(path: Path, text: str, *, root: Path | None) -> None:
    """Put `text` at `path` so that a crash leaves the old file, the new one, or none, never a part.

    1. Write a temporary file beside it. 2. fsync it. 3. Rename. 4. fsync the folder.
    `root` is the folder from which on everything is ours, None for a path that a user named (see `files`). Raises
    StateError if the disk is full, the folder cannot be written, or somebody else has a hand in it.
    """
    stream_durably(path, _halves(text), root=root)


def stream_durably(path: Path, parts: Iterable[str], *, root: Path | None) -> None:
    """Like `write_durably`, for a text of any length: the parts are asked for one by one."""
    with _temporary(path, parts, root) as temporary:
        crash_points.reach("before the rename of a file")
        temporary.replace()


@contextmanager
def filled_durably(path: Path, *, root: Path | None) -> Iterator[Callable[[str], object]]:
    """The same for a block that gets a function to write with: the file appears, whole, when the block ends well."""
    with _temporary(path, (), root) as temporary:
        yield lambda text: temporary.file.write(text.encode())
        temporary.sync()
        crash_points.reach("before the rename of a file")
        temporary.replace()


def write_once(path: Path, text: str, *, root: Path | None) -> bool:
    """Like `write_durably`, but the first writer wins: False, and nothing changed, if `path` exists."""
    with _temporary(path, _halves(text), root) as temporary:
        return temporary.link()


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


@contextmanager
def _temporary(path: Path, parts: Iterable[str], root: Path | None) -> Iterator[files.NewFile]:
    """A synced file beside `path` that is gone when the block ends, renamed or not."""
    try:
        with files.new_file(path, root=root) as new:
            rest = iter(parts)
            new.file.write(next(rest, "").encode())
            crash_points.reach("while a file is written")
            new.file.writelines(part.encode() for part in rest)
            new.sync()
            yield new
            files.sync_folder(new.folder)
    except files.UnfitFolderError as error:
        raise StateError(
            "cannot be written", where=str(path), seen=error.strerror, written="This file was not written"
        ) from None
    except OSError as error:
        raise StateError(
            "cannot be written",
            where=str(path),
            seen=error.strerror,
            written="What the database holds is committed and stays",
            hint="Free some space or mend the folder's mode",
            again=AND_RUN_AGAIN,
            advice_last=True,
        ) from None


def to_text(content: dict[str, Any]) -> str:
    """JSON as every file of a run holds it: readable, keys in the order given, letters as they are."""
    return json_text(content, indent=2) + "\n"


def read_json(path: Path, *, root: Path | None) -> dict[str, Any] | None:
    """The object in a file, or None if the file is missing, torn, empty or not a JSON object.

    Raises StateError if the file is there but may not be read, is no regular file or one of more than LONGEST bytes,
    or if somebody else has a hand in its folder.
    """
    try:
        content = files.read_bounded(path, root=root, limit=LONGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError("cannot be read", where=str(path), seen=error.strerror, written=NOTHING_WRITTEN) from None
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
