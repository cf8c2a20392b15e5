"""The file of pinned packages: whatever setup.cfg asks for is in it, once for each Python, with hashes."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
ENTRY = re.compile(r"(?P<pin>[a-z0-9]\S*==.*?)(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
TEXT = (TOP / "config" / "constraints.txt").read_text(encoding="utf-8")
PINS = [Requirement(found["pin"]) for found in ENTRY.finditer(TEXT)]


def asked_for() -> list[str]:
    setup = ConfigParser()
    setup.read(TOP / "setup.cfg", encoding="utf-8")
    of_build = re.search(r"^requires = (\[.*\])$", (TOP / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert of_build is not None
    lines = f"{setup['options']['install_requires']}\n{setup['options.extras_require']['test']}".splitlines()
    written = [line for line in lines if line and not line.startswith("#")]
    return [*written, *re.findall(r'"([^"]+)"', of_build[1])]


def environment(python: str, system: str) -> dict[str, str]:
    return {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": system,
            "platform_system": system.capitalize(), "platform_python_implementation": "CPython",
            "implementation_name": "cpython", "extra": ""}  # fmt: skip


def pinned(name: str, of: dict[str, str]) -> list[str]:
    """The versions that the file has for a package, on one kind of machine."""
    pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [str(pin.specifier)[2:] for pin in pins if pin.marker is None or pin.marker.evaluate(of)]


def test_the_file_holds_nothing_but_pins_with_hashes() -> None:
    assert len(PINS) > 30
    rest = ENTRY.sub("", TEXT)
    assert [line for line in rest.splitlines() if not line.startswith("# ")] == []
    assert not re.search(r"https?:|index-url|find-links", TEXT)


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("python", PYTHONS)
def test_each_requirement_has_one_version_that_satisfies_it(python: str, system: str) -> None:
    needed = [Requirement(line) for line in asked_for()]
    assert {"luigi", "apsw", "pytest", "mypy", "setuptools"} <= {each.name for each in needed}
    for each in needed:
        versions = pinned(each.name, environment(python, system))
        assert len(versions) == 1, (each.name, versions)
        assert each.specifier.contains(versions[0]), f"{each} and {versions[0]}: run .ci/pin"


@pytest.mark.parametrize("python", PYTHONS)
def test_what_those_need_in_turn_is_pinned_too(python: str) -> None:
    """By what is installed here."""
    of, seen, waiting = environment(python, "linux"), set[str](), [Requirement(line).name for line in asked_for()]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        assert len(pinned(name, of)) == 1, name
        for needed in map(
            Requirement, [] if name in ("setuptools", "exceptiongroup", "tomli") else requires(name) or []
        ):
            if needed.marker is None or needed.marker.evaluate(of):
                waiting.append(needed.name)
    assert len(seen) > 30


def test_ci_installs_by_this_file_alone() -> None:
    text = (TOP / ".ci" / "run").read_text(encoding="utf-8")
    assert '--require-hashes --only-binary :all: -r "$top/config/constraints.txt" -d "$work/packages"' in text
    assert 'export PIP_NO_INDEX=1 PIP_FIND_LINKS="$work/packages"' in text
