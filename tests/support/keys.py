"""The key that runs are signed with in tests, and another one."""

from __future__ import annotations

from typing import Any

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import RegisteredKey, entry_for
from tasks.attestation.signer import Signer

KEY_NAME = "provenance-backfill/sample"


class Keys:
    """The key that runs are signed with here, and another one."""

    seed = bytes(range(100, 132))
    other_seed = bytes(range(7, 39))

    def signer(self, seed: bytes = seed, name: str = KEY_NAME) -> Signer:
        return Signer(key_name=name, seed=seed)

    def entry(self, seed: bytes = seed, use: Any = "rows", name: str = KEY_NAME, **changes: Any) -> RegisteredKey:
        """A registry's entry of the key of that seed."""
        made = entry_for(VerifierKey(name, self.signer(seed, name).public_key), use)
        return made.model_copy(update=changes)
