"""Luigi's parameters with messages for people: a value that cannot be read ends in one line."""

from __future__ import annotations

from typing import Any

import luigi

from tasks.engine.errors import ParameterError


class WholeNumber(luigi.IntParameter):
    """An integer. Raises ParameterError for anything else."""

    def parse(self, x: Any) -> int:
        try:
            return int(x)
        except ValueError:
            raise _refused(self, x, "a whole number") from None


class OptionalWholeNumber(luigi.OptionalIntParameter):
    """An integer or nothing. Raises ParameterError for anything else."""

    def parse(self, x: Any) -> int | None:
        try:
            return int(x) if x not in (None, "") else None
        except ValueError:
            raise _refused(self, x, "a whole number") from None


class OptionalText(luigi.OptionalStrParameter):
    """Text or nothing."""


class Flag(luigi.BoolParameter):
    """`--flag`, `--flag true` or `--flag false`. Raises ParameterError for anything else."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default=False, parsing=luigi.BoolParameter.EXPLICIT_PARSING, **options)

    def parse(self, x: Any) -> bool:
        try:
            return bool(super().parse(x))  # type: ignore[no-untyped-call]
        except ValueError:
            raise _refused(self, x, "true or false") from None


def _refused(parameter: Any, value: Any, expected: str) -> ParameterError:
    name = getattr(parameter, "_attribute_name", None) or type(parameter).__name__
    return ParameterError(f"--{name.replace('_', '-')}: expected {expected}, found {value!r}. Nothing was written.")
