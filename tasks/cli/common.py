"""What the commands of `provenance` share: options, exit codes, and how they fail.

0   yes: everything asked for is so
1   no: something was checked and is not so, or was not found
2   the command line itself could not be read
3   no answer: job file, registry, database or key cannot be used; the message says which
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tasks.attestation.public_keys import DEFAULT_REGISTRY
from tasks.core.errors import ProvenanceError
from tasks.core.terminal import printable_lines
from tasks.job.default_job import DEFAULT_JOB
from tasks.job.settings import Settings, load_settings

NO: Final = 1
NO_ANSWER: Final = 3

_F = TypeVar("_F", bound=Callable[..., Any])


class NoAnswerError(click.ClickException):
    """An error that its user can mend, shown as its message alone."""

    exit_code = NO_ANSWER

    def show(self, file: Any = None) -> None:
        click.echo(printable_lines(self.format_message()), err=True)


class Commands(click.Group):
    """A group whose commands end with NO_ANSWER and one clear message at every ProvenanceError."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProvenanceError as error:
            raise NoAnswerError(str(error)) from None


_NUMBER = re.compile(r"-[0-9]+")
_MARK: Final = "\0"  # no argument of a shell can hold one


class _FactId(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A fact's key, a negative number too."""

    name = "fact_id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value).removeprefix(_MARK)


FACT_ID: Final = _FactId()


class FactCommand(click.Command):
    """A command about facts: -5 is the key of one, no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        marked = [_MARK + one if _NUMBER.fullmatch(one) else one for one in args[:end]]
        try:
            return super().parse_args(ctx, [*marked, *args[end:]])
        except click.NoSuchOption as error:
            hint = f"A fact id that begins with a dash stands behind --, as in: {ctx.info_name} -- -x"
            raise click.UsageError(f"{error.format_message()} {hint}", ctx) from None


def job_option(command: _F) -> _F:
    """`--job`: path of the job file, as the Luigi tasks take it."""
    return click.option(
        "--job", type=click.Path(path_type=Path, dir_okay=False), default=Path(DEFAULT_JOB),
        show_default=True, help="Path of the job file.",
    )(command)  # fmt: skip


def keys_option(command: _F) -> _F:
    """`--keys`: path of the registry of public keys."""
    return click.option(
        "--keys", type=click.Path(path_type=Path, dir_okay=False), default=Path(DEFAULT_REGISTRY),
        show_default=True, help="Path of the registry of public keys.",
    )(command)  # fmt: skip


def immutable_option(command: _F) -> _F:
    """`--immutable`: the auditor's word that nothing writes to the database."""
    return click.option(
        "--immutable", is_flag=True,
        help="Read a copy that nothing writes to, here or anywhere else: the file alone, without -wal, -shm or a lock, "
        "as a read-only disk takes it. Of a live database the answer would be stale, or damage that is none.",
    )(command)  # fmt: skip


def read_settings(job: Path, *, immutable: bool) -> Settings:
    """The job file of a command that only reads. Raises JobFileError."""
    return load_settings(job).model_copy(update={"immutable": immutable})


def json_option(command: _F) -> _F:
    """`--json`: the same for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def use_option(command: _F) -> _F:
    """`--use`: which of the two keys is meant."""
    return click.option(
        "--use", type=click.Choice(["rows", "checkpoints"]), default="rows", show_default=True,
        help="What the key signs. Never one key for both.",
    )(command)  # fmt: skip
