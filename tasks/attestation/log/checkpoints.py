"""Checkpoints, which fix a log at one size, and proofs that a leaf is in it.

A checkpoint is the text of a signed note:                    A proof of inclusion:

    <origin: the log's name>                                  c2sp.org/tlog-proof@v1
    <size: number of leaves, decimal>                         extra <base64>          (or no such line)
    <root: base64 of 32 bytes>                                index <number of the leaf, from 0>
    <extension lines: none is recommended>                    <base64 of a hash, from the sibling up>
                                                              <empty line>
                                                              <the signed checkpoint as it was issued>

Source: https://c2sp.org/tlog-checkpoint and https://c2sp.org/tlog-proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tasks.attestation.fast.batch_hashing import HASH_BYTES
from tasks.attestation.log.merkle import EMPTY_ROOT
from tasks.attestation.log.merkle_proofs import verify_inclusion
from tasks.attestation.log.notes import Note, VerifierKey, decode_base64, encode_base64, verify
from tasks.core.errors import NoteError

MAX_SIZE: Final = 2**63 - 1
"""Leaves in a log: what an SQL integer holds."""

MAX_PROOF_BYTES: Final = 2_000_000

_HEADER = "c2sp.org/tlog-proof@v1"
_MAX_HASHES = 63  # the height of a tree of MAX_SIZE leaves


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: at `size` leaves, its root is `root`. Nothing here is verified.

    Raises NoteError for values that no checkpoint can hold.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        objection = self._objection()
        if objection:
            raise NoteError(objection, where="checkpoint")

    def _objection(self) -> str | None:
        if not all((self.origin, *self.extensions)) or "\n" in "".join((self.origin, *self.extensions)):
            return "origin and extensions are one line each, and not empty"
        if not 0 <= self.size <= MAX_SIZE:
            return f"size {self.size}, expected 0 to {MAX_SIZE}"
        if len(self.root) != HASH_BYTES:
            return f"a root of {len(self.root)} bytes, expected {HASH_BYTES}"
        if self.size == 0 and self.root != EMPTY_ROOT:
            return f"size 0 with root {self.root.hex()}, expected that of the empty tree, {EMPTY_ROOT.hex()}"
        return None

    @property
    def text(self) -> str:
        """The text to sign. `Checkpoint.parse(checkpoint.text) == checkpoint`."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a note's text spells. Raises NoteError if it spells none, or not exactly so."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop():
            raise NoteError("expected at least three lines, each ended by a newline", where="checkpoint")
        origin, size, root, *extensions = lines
        decoded = decode_base64(root)
        if decoded is None:
            raise NoteError(
                f"root {root[:80]!r}", where="checkpoint", seen=f"expected the base64 of {HASH_BYTES} bytes"
            )
        return cls(origin, _parse_decimal(size, what="checkpoint: size"), decoded, tuple(extensions))


def open_checkpoint(data: bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint in a signed note, once a known key has been found to have signed it.

    Raises NoteError if `data` is no note or its text no checkpoint; InvalidSignatureError or
    UnverifiedNoteError, which are NoteErrors too, as `notes.verify` does.
    """
    note = Note.parse(data)
    verify(note, keys)
    return Checkpoint.parse(note.text)


@dataclass(frozen=True)
class InclusionProof:
    """That one leaf is in a log: where, the hashes up to the root, and the checkpoint that signs the root.

    `extra` is whatever the proof carries along. **It is not authenticated**: what is in it counts only
    as far as the leaf hash computed from it is proven. Raises NoteError for values that no proof can hold.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        objection = self._objection()
        if objection:
            raise NoteError(objection, where="inclusion proof")
        Checkpoint.parse(Note.parse(self.checkpoint).text)

    def _objection(self) -> str | None:
        if not 0 <= self.index < MAX_SIZE:
            return f"index {self.index}, expected 0 to {MAX_SIZE - 1}"
        if len(self.hashes) > _MAX_HASHES:
            return f"{len(self.hashes)} hashes, expected at most {_MAX_HASHES}"
        if any(len(one) != HASH_BYTES for one in self.hashes):
            return f"a hash that is not {HASH_BYTES} bytes"
        if self.extra == b"":
            return "extra data without a byte, expected some or no such line"
        return None

    def encode(self) -> bytes:
        """The proof as a file: `.tlog-proof`. `InclusionProof.parse(proof.encode()) == proof`.

        Raises NoteError if it is longer than MAX_PROOF_BYTES.
        """
        extra = [] if self.extra is None else [f"extra {encode_base64(self.extra)}"]
        lines = [_HEADER, *extra, f"index {self.index}", *map(encode_base64, self.hashes), ""]
        data = "".join(f"{line}\n" for line in lines).encode() + self.checkpoint
        _check_length(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> InclusionProof:
        """The proof in a file. Raises NoteError for anything but what `encode` writes."""
        _check_length(data)
        head, _, checkpoint = data.partition(b"\n\n")
        try:
            header, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise NoteError(f"byte {error.start} is not ASCII", where="inclusion proof") from None
        if header != _HEADER:
            raise NoteError(f"begins with {header[:80]!r}", where="inclusion proof", seen=f"expected {_HEADER}")
        extra = _parse_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
        if not lines or not lines[0].startswith("index "):
            raise NoteError("no index line, expected: index <number>", where="inclusion proof")
        index = _parse_decimal(lines[0][6:], what="inclusion proof: index")
        return cls(index, tuple(map(_parse_base64, lines[1:])), checkpoint, extra)

    def verify(self, leaf: bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
        """The checkpoint of the log that holds the leaf hash at `index`, if the proof shows that it does.

        Raises NoteError if it does not; InvalidSignatureError or UnverifiedNoteError, which are
        NoteErrors too, if the checkpoint is not signed as it must be.
        """
        checkpoint = open_checkpoint(self.checkpoint, keys)
        if not verify_inclusion(leaf, self.index, checkpoint.size, self.hashes, checkpoint.root):
            raise NoteError(
                f"leaf hash {leaf.hex()} is not shown to be leaf {self.index} of {checkpoint.origin} at "
                f"size {checkpoint.size}. The leaf or the proof was altered",
                where="inclusion proof",
            )
        return checkpoint


def _parse_decimal(text: str, *, what: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,18}", text):
        raise NoteError(f"{what} {text[:80]!r}", seen="expected a decimal number without leading zeros")
    return int(text)


def _parse_base64(text: str) -> bytes:
    decoded = decode_base64(text)
    if decoded is None:
        raise NoteError(f"{text[:80]!r}", where="inclusion proof", seen="expected canonical base64")
    return decoded


def _check_length(data: bytes) -> None:
    if len(data) > MAX_PROOF_BYTES:
        raise NoteError(f"{len(data)} bytes", where="inclusion proof", seen=f"expected at most {MAX_PROOF_BYTES}")
