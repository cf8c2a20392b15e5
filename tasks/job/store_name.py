"""One short name for a database with its state folder, so that a scheduler can tell two of them apart."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tasks.job.settings import Settings

_SHOWN = 40  # characters of the database's own name
_DIGITS = 12  # of the digest: 48 bits


def store_name(settings: Settings) -> str:
    """`autonomath.db-3f9c2a1b77d0`: the database's name for people, and a digest of where it and the state folder are.

    The same wherever the command is started from and by whichever links it gets there.
    """
    database, state_dir = settings.place.absolute, Path(settings.state_dir).resolve()
    digest = hashlib.sha256(f"{database}\n{state_dir}".encode(errors="surrogateescape")).hexdigest()
    name = database.rpartition("/")[2]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:_SHOWN]}-{digest[:_DIGITS]}"
