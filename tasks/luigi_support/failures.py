"""What is said of a task that failed: on the scheduler's page, to the worker that may try it once more, at the end."""

from __future__ import annotations

import re
import traceback
from contextlib import suppress

import luigi

from tasks.core.errors import DiskFullError, LockedError, ProvenanceError, SignalledError
from tasks.core.terminal import tell


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


def tell_so_far(task: luigi.Task | None) -> None:
    """A command that did not come to its end still says how far it is, where its task can tell."""
    so_far = getattr(task, "so_far", None)
    if so_far is None:
        return
    said = ""
    with suppress(ProvenanceError):  # then the task that failed has said what is wrong
        said = so_far()
    if said:
        tell(said)


def _in_short(error: ProvenanceError) -> str:
    """The first line of a message, with no folders in it."""
    return re.sub(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+(?=[^\s/])", "…/", str(error).partition("\n")[0])
