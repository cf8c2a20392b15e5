"""What is said of a task that failed: on the scheduler's page, and to the worker that may try it once more."""

from __future__ import annotations

import re
import traceback

from tasks.core.errors import DiskFullError, LockedError, ProvenanceError, SignalledError


class MayPass(str):
    """What is said where the reason may pass by itself: the task is worth another try."""


def words_of(exception: BaseException) -> str:
    """The message of an error that a user can mend, else a traceback.

    The page's box has room for about 80 characters: where it is enough to try again it says so first, and of paths
    only the last part is told before the whole message.
    """
    if isinstance(exception, (LockedError, DiskFullError, SignalledError)):
        return MayPass(f"Run the same command again. {_in_short(exception)}\n\n{exception}")
    if isinstance(exception, ProvenanceError):
        return f"{_in_short(exception)}\n\n{exception}"
    return "".join(traceback.format_exception(exception))


def _in_short(error: ProvenanceError) -> str:
    """The first line of a message, with no folders in it."""
    return re.sub(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+(?=[^\s/])", "…/", str(error).partition("\n")[0])
