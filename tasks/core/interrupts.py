"""Ctrl-C, for people: a line that says where things stand, and no stack of function names."""

from __future__ import annotations

import sys
from types import TracebackType


def end_without_traceback() -> None:
    """Let this process end at a KeyboardInterrupt without a traceback; every other error is told as before."""
    before = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            before(kind, error, traceback)

    sys.excepthook = tell
