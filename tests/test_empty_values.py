"""An empty value on the command line is refused, for every parameter of every task: never taken for the default."""

from __future__ import annotations

from typing import Any

import luigi
import pytest
from luigi.cmdline_parser import CmdlineParser

import tasks
from tasks.core.errors import ParameterError
from tasks.luigi_support.parameters import Flag, OptionalText, OptionalWholeNumber, Text, WholeNumber

UNHANDLED = 40
PARAMETERS = [
    (name, parameter)
    for name in tasks.__all__
    for parameter, _ in getattr(tasks, name).get_params()  # every one that the command line offers
]


def spelt(option: str, value: str) -> list[list[str]]:
    return [[option, value], [f"{option}={value}"]]


@pytest.mark.parametrize("value", ["", " \u3000"])
@pytest.mark.parametrize(("task", "parameter"), PARAMETERS)
def test_no_parameter_of_any_task_takes_an_empty_value(task: str, parameter: str, value: str) -> None:
    option = parameter.replace("_", "-")
    for given in (*spelt(f"--{option}", value), *spelt(f"--{task}-{option}", value)):
        typed = given[0].removesuffix(value).removesuffix("=")
        with pytest.raises(ParameterError) as caught, CmdlineParser.global_instance([task, *given]) as line:
            line.get_task_obj()
        assert str(caught.value) == (
            f"{typed}: expected a value, or leave it out, found {value!r}. Nothing was written."
        )


@pytest.mark.parametrize(("task", "parameter"), PARAMETERS)
def test_every_parameter_is_of_a_kind_that_refuses_empty_values(task: str, parameter: str) -> None:
    kind = type(dict(getattr(tasks, task).get_params())[parameter])
    assert issubclass(kind, (Flag, OptionalText, OptionalWholeNumber, Text, WholeNumber)), kind


@pytest.mark.parametrize("task", ["Report", "SignPending"])
def test_an_empty_line_of_luigis_configuration_is_refused_too(
    task: str,
) -> None:
    config = luigi.configuration.get_config()
    config.add_section(task)
    config.set(task, "run_id", "")
    try:
        with pytest.raises(ParameterError, match="--run-id: expected a value in "):
            getattr(tasks, task)()
    finally:
        config.remove_section(task)


def test_values_that_are_there_are_taken_as_before() -> None:
    given = ["Report", "--dry-run", "--max-rows", "7", "--run-id", "0", "--job", "config/backfill.yaml"]
    with CmdlineParser.global_instance(given) as line:
        report = line.get_task_obj()
    assert (report.dry_run, report.max_rows, report.run_id) == (True, 7, "0")
    assert type(report.run_id) is str
    for value, expected in (("true", True), ("false", False)):
        with CmdlineParser.global_instance(["Report", "--dry-run", value]) as line:
            assert line.get_task_obj().dry_run is expected
    again = type(report).from_str_params(report.to_str_params())
    assert again.task_id == report.task_id


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dry-run", ""), ("--dry-run=",), ("--max-rows", ""), ("--run-id", "  "), ("--job", ""),
        ("--Report-dry-run", ""), ("--SchemaVerify-dry-run=",),
    ],
)  # fmt: skip
def test_the_real_command_writes_nothing_and_says_so_in_one_line(
    store: Any, luigi: Any, dump: Any, arguments: tuple[str, ...]
) -> None:
    made = store()
    made.add_fact(1, source_url="https://a.test/")
    before = dump(made.path)
    finished = luigi("Report", *arguments, store=made, run_id=None)
    assert finished.code == UNHANDLED
    [said] = [line for line in finished.output.splitlines() if line.strip()]
    assert "expected a value, or leave it out, found '" in said and said.endswith("Nothing was written.")
    assert dump(made.path) == before
    assert not (luigi.state_dir).exists()
