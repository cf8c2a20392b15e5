"""Processes that begin with nothing: neither what this process holds nor what its program imported.

multiprocessing's spawned processes import the program of their parent again, in case that what they run stands in it.
For a command that is `luigi`, or `provenance`, and the half a second of imports behind it.
Source: `get_preparation_data` in https://github.com/python/cpython/blob/main/Lib/multiprocessing/spawn.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any


class _FreshProcess(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        with _no_program():
            return SpawnProcess._Popen(process_obj)


class FreshContext(SpawnContext):
    """For a pool whose work is done by functions of modules: one that stands in the program itself is not found."""

    Process = _FreshProcess


@contextmanager
def _no_program() -> Iterator[None]:
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program
