"""The digests of signed payloads, handed from those who signed them to whoever seals the log.

Where a payload is signed it is at hand, and its digest costs a microsecond. A sealer would have to read the metadata
again, spell the payload and hash it, which is half of its work. So each batch leaves a file:

    <state_dir>/payload-digests/<first attestation id, 20 digits>-<rows>.digests

    16 bytes a row   the first 16 hex digits of its signature_hex, ASCII
    32 bytes a row   SHA-256 of the payload that was signed
    32 bytes         SHA-256 of all bytes before

in the order of the log. No file is needed: what is missing, torn, or not of the rows that the log holds is passed over,
and the sealer reads the metadata instead. A file is removed once its rows are sealed.
"""

from __future__ import annotations

import logging
import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from tasks.attestation.leaves import LogRow
from tasks.attestation.merkle import HASH_BYTES
from tasks.engine.paths import digests_folder
from tasks.stores.log_base import split_hashes

logger = logging.getLogger("luigi-interface")

_HEAD_DIGITS: Final = 16
"""How much of each signature is kept: enough that no two rows are taken for each other."""

_NAME = re.compile(r"(\d{20})-(\d{1,9})\.digests")
_FILES_KEPT = 2


class _File(NamedTuple):
    """A file, by its name: the rows from `first_id` to `last_id`."""

    first_id: int
    last_id: int
    path: Path


def leave_digests(state_dir: str, ids: range, signed: Sequence[tuple[str, bytes]]) -> None:
    """Leave (signature_hex, payload digest) of the log rows `ids`, in the same order. They must be committed.

    A disk that refuses is only told of: the rows can be sealed without the file.
    """
    heads = "".join([signature[:_HEAD_DIGITS] for signature, _ in signed])
    content = heads.encode() + b"".join([digest for _, digest in signed])
    path = digests_folder(state_dir) / f"{ids[0]:020d}-{len(ids)}.digests"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content + sha256(content).digest())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        logger.warning("%s: cannot be written: %s. It takes longer to seal these rows, no more.", path, error.strerror)


def remove_digests(state_dir: str, *, through: int) -> None:
    """Remove the files whose last row has this id or a smaller one: their rows are sealed."""
    for file in _files(state_dir):
        if file.last_id <= through:
            with suppress(OSError):
                file.path.unlink()


class PayloadDigests:
    """The digests that were left for the rows with ids from `first` to `last`."""

    def __init__(self, state_dir: str, first: int, last: int) -> None:
        self._files = [file for file in _files(state_dir) if file.first_id <= last and file.last_id >= first]
        self._first_ids = [file.first_id for file in self._files]
        self._read = lru_cache(maxsize=_FILES_KEPT)(_read)

    def may_hold(self, attestation_id: int) -> bool:
        """Whether a file says by its name that it holds this row."""
        return self._file_of(attestation_id) is not None

    def of_rows(self, rows: Sequence[LogRow]) -> list[bytes] | None:
        """One digest for each of these rows of the log, in order; None unless all of them are known."""
        if not rows:
            return None
        heads, digests = list[bytes](), list[bytes]()
        at, end = rows[0][0], rows[-1][0] + 1
        while at < end:
            file = self._file_of(at)
            held = self._read(file) if file else None
            if file is None or held is None:
                return None
            first, past = at - file.first_id, min(end, file.last_id + 1) - file.first_id
            heads.append(held[0][_HEAD_DIGITS * first : _HEAD_DIGITS * past])
            digests.append(held[1][HASH_BYTES * first : HASH_BYTES * past])
            at = file.first_id + past
        return split_hashes(b"".join(digests)) if b"".join(heads) == _heads(rows) else None

    def _file_of(self, attestation_id: int) -> _File | None:
        at = bisect_right(self._first_ids, attestation_id) - 1
        return self._files[at] if at >= 0 and self._files[at].last_id >= attestation_id else None


def _heads(rows: Sequence[LogRow]) -> bytes | None:
    """What the rows have for the heads of a file; None where a signature is no text."""
    try:
        return "".join([row[4][:_HEAD_DIGITS] for row in rows]).encode()  # type: ignore[index,misc]
    except TypeError:
        return None


def _files(state_dir: str) -> list[_File]:
    """All files that are there, in the order of their rows."""
    found = []
    for path in digests_folder(state_dir).glob("*.digests"):
        name = _NAME.fullmatch(path.name)
        if name:
            found.append(_File(int(name[1]), int(name[1]) + int(name[2]) - 1, path))
    return sorted(found)


def _read(file: _File) -> tuple[bytes, bytes] | None:
    """The heads and the digests of a file; None unless it is whole."""
    rows = file.last_id - file.first_id + 1
    try:
        together = file.path.read_bytes()
    except OSError:
        return None
    content, seal = together[:-HASH_BYTES], together[-HASH_BYTES:]
    if len(content) != rows * (_HEAD_DIGITS + HASH_BYTES) or sha256(content).digest() != seal:
        return None
    return content[: rows * _HEAD_DIGITS], content[rows * _HEAD_DIGITS :]
