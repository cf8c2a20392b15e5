"""How a worker runs one task: in a process of its own or not, ended by a signal without a traceback."""

from __future__ import annotations

import logging
import signal
from typing import Any

import luigi
from luigi.worker import ContextManagedTaskProcess

from tasks.core import signals
from tasks.core.errors import SignalledError

logger = logging.getLogger("luigi-interface")


class OwnTaskProcess(ContextManagedTaskProcess):
    """Luigi's, in which Ctrl-C, SIGTERM and SIGHUP are what tasks.core.signals makes of them."""

    def run(self) -> None:
        if self.use_multiprocessing:
            signals.listen()  # where processes are spawned; a forked one listens already
        super().run()  # type: ignore[no-untyped-call]

    def _run_get_new_deps(self) -> Any:
        """The task itself. Raises SignalledError where a signal cut it short."""
        try:
            with signals.interruptible():
                return super()._run_get_new_deps()  # type: ignore[no-untyped-call]
        except KeyboardInterrupt:
            raise SignalledError(
                "interrupted",
                where=words_of(self.task),
                written="What it had committed is kept",
                again="; run the same command again",
                advice_last=True,
            ) from None

    def _handle_run_exception(self, ex: BaseException) -> Any:
        """An interruption is no failure to be logged as one."""
        if isinstance(ex, SignalledError):
            logger.warning("%s", ex)
            return self.task.on_failure(ex)
        return super()._handle_run_exception(ex)  # type: ignore[no-untyped-call]

    def how_it_died(self) -> str:
        """What to say of a process that ended without handing in a result."""
        code = self.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        perhaps = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        return (
            f"{words_of(self.task)}: its process {self.pid} {how}{perhaps}. What it had committed is kept; run the "
            f"same command again, it continues from there."
        )


def words_of(task: luigi.Task) -> str:
    """`chunk 17 (BackfillChunk of run 2026-11-22)`, or `Report of run 2026-11-22`."""
    family, run_id, chunk = task.task_family, getattr(task, "run_id", None), getattr(task, "chunk", None)
    of_run = f"{family} of run {run_id}" if run_id else str(family)
    return f"chunk {chunk} ({of_run})" if chunk else of_run
