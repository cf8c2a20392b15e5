"""Ctrl-C, SIGTERM and SIGHUP: a task ends soon, at a place of its own choosing, and says where.

1. The handler notes the signal. A loop over batches looks (`refuse_to_go_on`) before each batch, while it rests and
   while it waits for a lock: the batch at hand is committed, or rolled back whole.
2. Inside `interruptible()`, and outside such a loop, the handler raises KeyboardInterrupt at once: nothing is lost
   there that the same command would not do again.
3. A signal that was ignored when the process began (nohup) stays ignored. A second one changes nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from tasks.core.errors import SignalledError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Process:
    """The state of this process: what arrived, and whether it may be cut short where it is."""

    arrived: signal.Signals | None = None
    may_be_cut: bool = False


_process = _Process()


def arrived() -> signal.Signals | None:
    """The signal that told this process to end, if one did."""
    return _process.arrived


def refuse_to_go_on() -> None:
    """Raise SignalledError once a signal has arrived."""
    if _process.arrived:
        raise SignalledError("interrupted")


@contextmanager
def interruptible(may_be_cut: bool = True) -> Iterator[None]:
    """What runs inside may be cut short anywhere by KeyboardInterrupt; or, with False, ends by itself."""
    before = _process.may_be_cut
    _process.may_be_cut = may_be_cut
    try:
        if may_be_cut and _process.arrived:
            raise KeyboardInterrupt
        yield
    finally:
        _process.may_be_cut = before


def listen() -> Callable[[], None]:
    """Take the three signals as above, from now on and in processes forked from this. Returns the way back.

    Only in a main thread; elsewhere it does nothing.
    """
    if signal.getsignal(signal.SIGTERM) is _on_signal:  # inherited, perhaps with a signal that has just arrived
        return lambda: None
    _process.arrived = None
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in taken:
            signal.signal(number, _on_signal)
    except ValueError:  # not the main thread
        return lambda: None

    def give_back() -> None:
        for number in taken:
            signal.signal(number, before[number])

    return give_back


def _on_signal(number: int, _frame: FrameType | None) -> None:
    first = _process.arrived is None
    _process.arrived = _process.arrived or signal.Signals(number)
    if first and _process.may_be_cut:
        _process.may_be_cut = False
        raise KeyboardInterrupt
