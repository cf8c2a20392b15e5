"""Luigi's parameters with messages for people: a value that cannot be read ends in one line.

An empty value is never taken for none. Luigi drops one before the parameter sees it (`if attr:` in cmdline_parser.py),
so that `--dry-run ''`, an unset variable of a shell script, would be a live run. Here it arrives, and is refused.
"""

from __future__ import annotations

from typing import Any

import luigi
from luigi.cmdline_parser import CmdlineParser

from tasks.core.blank import is_blank
from tasks.core.errors import NOTHING_WRITTEN, ParameterError


class _Given(str):
    """A value that stands on the command line. True even if it is empty."""

    def __bool__(self) -> bool:
        return True


def refuse_empty_values() -> None:
    """Raise ParameterError if an empty value stands on the command line, for whichever task."""
    line = CmdlineParser.get_instance()  # type: ignore[no-untyped-call]
    for name, value in vars(line.known_args).items() if line else ():
        _filled(name, value)


def _filled(name: str, value: Any) -> Any:
    """The value as Luigi's own parsers like it. Raises ParameterError if it was typed and there is nothing in it."""
    if not isinstance(value, _Given):
        return value
    if is_blank(str(value)):
        raise _refused(name, value, "a value, or leave it out")
    return str(value)


def _refused(name: str, value: Any, expected: str) -> ParameterError:
    return ParameterError(
        f"expected {expected}, found {value!r}", where=f"--{name.replace('_', '-')}", written=NOTHING_WRITTEN
    )


class _NeverEmpty:
    """A parameter that refuses an empty or blank value from the command line or from luigi.cfg."""

    def _parser_kwargs(self, param_name: str, task_name: str | None = None) -> dict[str, Any]:
        """What Luigi tells argparse of it."""
        return {**super()._parser_kwargs(param_name, task_name), "type": _Given}  # type: ignore[misc]

    def _get_value_from_config(self, section: str, name: str) -> Any:
        given = luigi.configuration.get_config().get(section, name, None)  # type: ignore[no-untyped-call]
        if isinstance(given, str) and is_blank(given):
            raise self._refused(given, f"a value in [{section}] of luigi.cfg, or no such line")
        return super()._get_value_from_config(section, name)  # type: ignore[misc]

    def _given(self, x: Any) -> Any:
        return _filled(self._name, x)

    def _refused(self, value: Any, expected: str) -> ParameterError:
        return _refused(self._name, value, expected)

    @property
    def _name(self) -> str:
        return getattr(self, "_attribute_name", None) or type(self).__name__


class Text(_NeverEmpty, luigi.Parameter[str]):
    """Text that is not blank. Raises ParameterError if it is."""

    def parse(self, x: Any) -> str:
        return str(self._given(x))


class WholeNumber(_NeverEmpty, luigi.IntParameter):
    """An integer. Raises ParameterError for anything else."""

    def parse(self, x: Any) -> int:
        try:
            return int(self._given(x))
        except ValueError:
            raise self._refused(x, "a whole number") from None


class OptionalWholeNumber(_NeverEmpty, luigi.OptionalIntParameter):  # type: ignore[misc]
    """An integer or nothing. Raises ParameterError for anything else."""

    def parse(self, x: Any) -> int | None:
        given = self._given(x)
        try:
            return int(given) if given not in (None, "") else None
        except ValueError:
            raise self._refused(x, "a whole number") from None


class OptionalText(_NeverEmpty, luigi.OptionalStrParameter):
    """Text or nothing. Raises ParameterError if it is typed and blank."""

    def parse(self, x: Any) -> str | None:
        return self._given(x) or None


class Flag(_NeverEmpty, luigi.BoolParameter):
    """`--flag`, `--flag true` or `--flag false`. Raises ParameterError for anything else."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default=False, parsing=luigi.BoolParameter.EXPLICIT_PARSING, **options)

    def parse(self, x: Any) -> bool:
        try:
            return bool(super().parse(self._given(x)))  # type: ignore[no-untyped-call]
        except ValueError:
            raise self._refused(x, "true or false") from None
