"""The job file where none is named: the folder's own, or the package's where the folder has none."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tasks.core.errors import NOTHING_WRITTEN, JobFileError

DEFAULT_JOB: Final = "config/backfill.yaml"
DATABASE_VARIABLE: Final = "AUTONOMATH_DB_PATH"
KEYS_AND_NAMES: Final = (
    ("AUTONOMATH_FACT_SIGN_PRIVATE_KEY", "PROVENANCE_KEY_NAME"),
    ("PROVENANCE_CHECKPOINT_PRIVATE_KEY", "PROVENANCE_LOG_NAME"),
)
"""What the package's job file takes a key from, and the name that the key signs under."""
PACKAGED_JOB: Final = Path(__file__).with_name("default.yaml")

logger = logging.getLogger(__name__)


def to_read(path: Path, environ: Mapping[str, str]) -> Path:
    """The file to read for `path`. That of the package only for the default path, where nothing lies there and the
    environment names the database; then a warning says so, once in a process.

    Raises JobFileError where that file would have a key sign under the name of the sample's, for ever: a command that
    was started in another folder than its own job file's.
    """
    if path != Path(DEFAULT_JOB) or os.path.lexists(path) or not environ.get(DATABASE_VARIABLE):
        return path
    for key, name in KEYS_AND_NAMES:
        if environ.get(key) and not environ.get(name):
            raise JobFileError(
                f"there is no such job file in {Path.cwd()}, and {key} is set without {name}: the key would sign under "
                f"the name of the sample's",
                where=str(path),
                hint=f"Run from the project's top level, give --job, or set {name}",
                written=NOTHING_WRITTEN,
            )
    _tell_once(f"{path}: there is none in {Path.cwd()}. Every setting is as in {PACKAGED_JOB}.")
    return PACKAGED_JOB


def advice(path: Path) -> str:
    """What to do where there is no such job file."""
    if path != Path(DEFAULT_JOB):
        return "Run from the project's top level or give --job."
    return f"Run from the project's top level, give --job, or set {DATABASE_VARIABLE} to have the package's own used."


@cache
def _tell_once(words: str) -> None:
    logger.warning("%s", words)
