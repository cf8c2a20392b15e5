"""How the extensions are built: setuptools loads this file alone, before anything else of the project is installed."""

from __future__ import annotations

from typing import Final

from setuptools.command.build_ext import build_ext

_BEFORE_A_PATH: Final = ("-rpath", "-Wl,-rpath", "-Wl,--rpath", "-Wl,-R")
_WITH_A_PATH: Final = ("-Wl,-rpath", "-Wl,--rpath", "-Wl,-R")


class BuildExtensions(build_ext):
    """Links without a search path of its own for libraries.

    Python hands on the one that it was linked with itself. An extension takes no library from there, and who can
    write to that folder would have code run in the process that signs.
    """

    def build_extensions(self) -> None:
        for name in ("linker_so", "linker_so_cxx"):
            linker = getattr(self.compiler, name, None)
            if linker:
                setattr(self.compiler, name, without_search_path(linker))
        super().build_extensions()


def without_search_path(linker: list[str]) -> list[str]:
    """A linker's words without those that have a search path for libraries written into the file."""
    kept: list[str] = []
    words = iter(linker)
    for word in words:
        if word in _BEFORE_A_PATH:
            next(words, None)
        elif not word.startswith(_WITH_A_PATH):
            kept.append(word)
    return kept
