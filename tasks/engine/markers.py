"""Files that tell what is done: written durably, read with suspicion.

A marker appears whole or not at all. Source for the order of the steps: a rename is only durable once the
folder itself is synced (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tasks.engine import points
from tasks.engine.errors import StateError


def write_durably(path: Path, text: str) -> None:
    """Put `text` at `path` so that a crash leaves the old file, the new one, or none, never a part.

    1. Write a temporary file beside it. 2. fsync it. 3. Rename. 4. fsync the folder.
    Raises StateError if the disk is full or the folder cannot be written.
    """
    stream_durably(path, _halves(text))


def stream_durably(path: Path, parts: Iterable[str]) -> None:
    """Like `write_durably`, for a text of any length: the parts are asked for one by one."""
    with _temporary(path, parts) as temporary:
        points.reach("before the rename of a file")
        temporary.replace(path)


def write_once(path: Path, text: str) -> bool:
    """Like `write_durably`, but the first writer wins: False, and nothing changed, if `path` exists."""
    with _temporary(path, _halves(text)) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


@contextmanager
def _temporary(path: Path, parts: Iterable[str]) -> Iterator[Path]:
    """A synced file beside `path` that is gone when the block ends, renamed or not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            rest = iter(parts)
            file.write(next(rest, ""))
            points.reach("while a file is written")
            file.writelines(rest)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        _sync_folder(path.parent)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written: {error.strerror}. What the database holds is committed and stays; free "
            f"some space or mend the folder's mode, then run the same command again."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_text(content: dict[str, Any]) -> str:
    """JSON as every file of a run holds it: readable, keys in the order given, non-ASCII as it is."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, or None if the file is missing, torn, empty or not a JSON object.

    Raises StateError if the file is there but may not be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}. Nothing was written.") from None
    return value if isinstance(value, dict) else None
