"""The digests of signed payloads, handed from a run that signs to whoever seals the log.

Where a payload is signed it is at hand, and its digest costs a microsecond. A sealer would have to read the metadata
again, spell the payload and hash it, which is half of its work. So each batch leaves a file:

    <state_dir>/payload-digests/<first attestation id, 20 digits>-<rows>.digests

    16 bytes a row   the first 16 hex digits of its signature_hex, ASCII
    32 bytes a row   SHA-256 of the payload that was signed
    64 bytes         a signature over the file's name, a NUL, and SHA-256 of all bytes before

in the order of the log. What a leaf says for ever may come from here, so the file is signed with the key that signs
the log's checkpoints (which never hold a NUL): only who may seal the log can speak. No file is needed: what is missing,
torn, not signed, or not of the rows that the log holds is passed over, and the sealer reads the metadata instead. A
file is removed once its rows are sealed.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from tasks.attestation.ed25519 import verify
from tasks.attestation.fast.batch_hashing import HASH_BYTES
from tasks.attestation.log.leaves import LogRow
from tasks.attestation.signature_column import SIGNATURE, SIGNATURE_BYTES
from tasks.attestation.signer import Signer
from tasks.core import files
from tasks.job.paths import digests_folder

logger = logging.getLogger("luigi-interface")

_HEAD_DIGITS: Final = 16
"""How much of each signature is kept: enough that no two rows are taken for each other."""

_HEAD = slice(SIGNATURE.start, SIGNATURE.start + _HEAD_DIGITS // 2)
"""The same in `ed25519_sig`."""

_NAME = re.compile(r"\.?(\d{20})-(\d{1,9})\.digests(\.[0-9a-f]{1,16}\.tmp)?")
_FILES_KEPT = 2
_MOST_ROWS = 1_000_000  # more than any batch has: a name alone never makes a sealer read more


class DigestFile(NamedTuple):
    """A file, by its name: the rows from `first_id` to `last_id`."""

    first_id: int
    last_id: int
    path: Path


def leave_digests(
    state_dir: str, ids: Sequence[int], signed: Sequence[tuple[bytes, bytes]], log_signer: Signer
) -> None:
    """Leave (ed25519_sig, payload digest) of the log rows `ids`, in the same order, which ascends. They are committed.

    A disk that refuses is only told of: the rows can be sealed without the file. Negative ids, which only another hand
    can have begun, have none; nor has a batch whose ids have gaps, because a file names the rows from one to another.
    """
    if len(ids) != len(signed) or ids[0] < 0 or ids[-1] - ids[0] + 1 != len(ids):
        return
    heads = b"".join([signature[_HEAD] for signature, _ in signed]).hex()
    content = heads.encode() + b"".join([digest for _, digest in signed])
    path = digests_folder(state_dir) / f"{ids[0]:020d}-{len(ids)}.digests"
    try:
        with files.new_file(path, root=Path(state_dir)) as new:
            new.file.write(content + log_signer.sign(_statement(path, content)))
            new.replace()
    except OSError as error:
        logger.warning("%s: cannot be written: %s. It takes longer to seal these rows, no more.", path, error.strerror)


def find_digests(state_dir: str) -> list[DigestFile]:
    """The files that are there, in the order of their rows."""
    return sorted(file for file in _all_files(state_dir) if file.path.suffix == ".digests")


def remove_digests(state_dir: str, *, through: int) -> None:
    """Remove the files whose last row has this id or a smaller one: their rows are sealed."""
    for file in _all_files(state_dir):
        if file.last_id <= through:
            with suppress(OSError):
                files.remove(file.path, root=Path(state_dir))


class PayloadDigests:
    """What was left for the rows of some files, as far as the key for checkpoints has signed it."""

    def __init__(self, files: Sequence[DigestFile], log_key: bytes) -> None:
        self._files, self._log_key = files, log_key
        self._first_ids = [file.first_id for file in files]
        self._held: dict[DigestFile, tuple[bytes, bytes] | None] = {}

    def may_hold(self, first: int, last: int) -> bool:
        """Whether a file says by its name that it holds one of these rows."""
        return any(file.first_id <= last and file.last_id >= first for file in self._files)

    def of_rows(self, rows: Sequence[LogRow]) -> bytes | None:
        """The digests of these rows of the log, side by side; None unless all of them are known. Fast."""
        if not rows:
            return None
        heads, digests = list[bytes](), list[bytes]()
        at, end = rows[0][0], rows[-1][0] + 1
        while at < end:
            file = self._file_of(at)
            held = self._content(file) if file else None
            if file is None or held is None:
                return None
            first, past = at - file.first_id, min(end, file.last_id + 1) - file.first_id
            heads.append(held[0][_HEAD_DIGITS * first : _HEAD_DIGITS * past])
            digests.append(held[1][HASH_BYTES * first : HASH_BYTES * past])
            at = file.first_id + past
        return b"".join(digests) if b"".join(heads) == _heads(rows) else None

    def of_row(self, row: LogRow) -> bytes | None:
        """The digest of one row of the log, or None."""
        return self.of_rows([row])

    def _content(self, file: DigestFile) -> tuple[bytes, bytes] | None:
        """The heads and the digests of a file, remembered for the few last ones."""
        if file not in self._held:
            while len(self._held) >= _FILES_KEPT:
                del self._held[next(iter(self._held))]
            self._held[file] = _read(file, self._log_key)
        return self._held[file]

    def _file_of(self, attestation_id: int) -> DigestFile | None:
        at = bisect_right(self._first_ids, attestation_id) - 1
        return self._files[at] if at >= 0 and self._files[at].last_id >= attestation_id else None


def _heads(rows: Sequence[LogRow]) -> bytes | None:
    """What the rows have for the heads of a file; None where a signature is no text."""
    try:
        return "".join([row[4][:_HEAD_DIGITS] for row in rows]).encode()  # type: ignore[index,misc]
    except TypeError:
        return None


def _all_files(state_dir: str) -> list[DigestFile]:
    """Whole files, and those that a crash left half written."""
    folder, found = digests_folder(state_dir), []
    with suppress(OSError):  # not there, or not to be read: then there is no shortcut
        for entry in files.names_in(folder, root=Path(state_dir)):
            name = _NAME.fullmatch(entry)
            if name:
                found.append(DigestFile(int(name[1]), int(name[1]) + int(name[2]) - 1, folder / entry))
    return found


def _statement(path: Path, content: bytes) -> bytes:
    """What is signed of a file."""
    return path.name.encode() + b"\0" + sha256(content).digest()


def _read(file: DigestFile, log_key: bytes) -> tuple[bytes, bytes] | None:
    """The heads and the digests of a file; None unless it is whole and signed by this key."""
    rows = file.last_id - file.first_id + 1
    size = rows * (_HEAD_DIGITS + HASH_BYTES)
    if rows > _MOST_ROWS:
        return None
    try:
        together = files.read_bounded(file.path, root=file.path.parent, limit=size + SIGNATURE_BYTES)
    except OSError:
        return None
    content, signature = together[:-SIGNATURE_BYTES], together[-SIGNATURE_BYTES:]
    if len(content) != size:
        return None
    if not verify(log_key, _statement(file.path, content), signature):
        return None
    return content[: rows * _HEAD_DIGITS], content[rows * _HEAD_DIGITS :]
