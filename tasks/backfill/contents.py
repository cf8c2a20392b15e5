"""What a chunk attests, as one value that depends neither on the order nor on the batches in which it came about.

Two sums, modulo 2^256, of the SHA-256 of every payload (docs/attestation.md): over the facts inserted, and over those
updated. They agree where the facts, their sources, bounds and times do, unless somebody searched for facts whose sums
agree: they are for comparing a rehearsal with its run, and prove nothing to anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.attestation.fast.batch_hashing import HASH_BYTES, hash_each, split_hashes
from tasks.core.values import Record
from tasks.derivation.batch import Derivation

_ALL_BITS: Final = (1 << 8 * HASH_BYTES) - 1  # `&` with it is modulo 2^256


@dataclass(frozen=True)
class Content:
    """The sums over what is inserted and over what is updated."""

    inserted: int = 0
    updated: int = 0

    def __add__(self, other: Content) -> Content:
        return Content((self.inserted + other.inserted) & _ALL_BITS, (self.updated + other.updated) & _ALL_BITS)

    def to_bytes(self) -> bytes:
        return self.inserted.to_bytes(HASH_BYTES, "big") + self.updated.to_bytes(HASH_BYTES, "big")


def content_of(derivation: Derivation, encode: Callable[[Record], bytes]) -> Content:
    """The content of a batch whose facts were all read. `encode` gives the payload of a record."""
    return Content(_sum(list(map(encode, derivation.inserts))), _sum(list(map(encode, derivation.updates))))


def total_of(batches: Iterable[object]) -> Content | None:
    """The content of a chunk from what the ledger has of each of its batches; None where one of them does not say."""
    total = Content()
    for stored in batches:
        if not isinstance(stored, bytes) or len(stored) != 2 * HASH_BYTES:
            return None
        total += Content(*map(_as_number, split_hashes(stored)))
    return total


def _as_number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")


def _sum(payloads: Sequence[bytes]) -> int:
    total = sum(map(_as_number, split_hashes(hash_each(payloads))))
    return total & _ALL_BITS
