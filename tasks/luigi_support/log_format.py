"""How the log looks: an error that a user can mend is its message, anything else keeps its traceback."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from luigi.parameter import ParameterException
from luigi.task_register import TaskClassException

from tasks.core.errors import ProvenanceError
from tasks.core.terminal import printable_lines

# Luigi says these for every task; with hundreds of chunks they would hide what matters.
_NOISE = (
    "Informed scheduler that task",
    "[pid %s] Worker %s running",
    "[pid %s] Worker %s done",
    "%s is currently run by",
)

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # subscriptable from Python 3.11 on only

_UNCAUGHT = "Uncaught exception in luigi"  # Luigi's head over an error before the first task, which says less than it
_MENDABLE = (ProvenanceError, ParameterException, TaskClassException)


class PlainFormatter(logging.Formatter):
    """Luigi logs every failure with a traceback; for a mendable one this shows the message alone.

    What a terminal would obey is escaped, wherever in the record it stands.
    """

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, _MENDABLE) and record.msg == _UNCAUGHT:
            alone = {"msg": "%s", "args": (error,), "exc_info": None, "exc_text": None}
            record = logging.makeLogRecord({**record.__dict__, **alone})
        return printable_lines(super().format(record))

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        if isinstance(ei[1], _MENDABLE):
            return str(ei[1])
        return super().formatException(ei)


class TerminalHandler(_StreamHandler):
    """The terminal, without Luigi's line for every step of every task."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > logging.INFO or not str(record.msg).startswith(_NOISE):
            super().emit(record)
