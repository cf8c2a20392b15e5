"""What a terminal would obey, and what Markdown would read, is shown instead, wherever a value from outside is told."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tasks.core.durable import to_text
from tasks.core.json_text import json_text
from tasks.core.terminal import printable_lines
from tasks.luigi_support.log_format import PlainFormatter
from tasks.reporting.markdown import cell, markdown_table

SEEN = "https://例え.jp/\x9b31m\x7f\u202egpj.exe\u2066\U000e0041"
OBEYED = "\x9b\x7f\u202e\u2066\U000e0041"


def test_json_escapes_every_character_that_a_terminal_obeys_and_no_letter() -> None:
    for code in range(sys.maxunicode + 1):
        character, category = chr(code), unicodedata.category(chr(code))
        if category in ("Cc", "Cf", "Zl", "Zp", "Cs"):
            written = json_text(character)
            assert written.isascii() and written.isprintable(), hex(code)
            assert json.loads(written) == character
        elif category[0] in "LMNS" and code > 127:
            assert json_text(character) == f'"{character}"', hex(code)


def test_json_stays_json_and_japanese_stays_readable() -> None:
    for written in (json_text({"source": SEEN}, indent=2), to_text({"source": SEEN})):
        assert json.loads(written) == {"source": SEEN}
        assert "例え" in written and not set(written) & set(OBEYED)
        assert "\\u009b31m\\u007f\\u202egpj" in written and "\\udb40\\udc41" in written


@pytest.fixture
def hostile(store: Any, settings: Any, run: Any, signing_key: str) -> Any:
    """A store whose only fact has a source that a terminal would obey."""
    made = store()
    made.add_source(1, SEEN)
    made.add_facts([{"id": 1, "source_id": 1}])
    config = settings(made)
    run(config)
    return config


@pytest.mark.parametrize("command", [
    ["explain", "1", "--json"], ["explain", "1"], ["verify"], ["verify", "--json"],
    ["verify", "--against-facts"], ["verify", "--against-facts", "--json"],
])  # fmt: skip
def test_no_command_prints_such_a_character_raw(command: list[str], hostile: Any, store: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys\x9b.yaml"
    keys.write_bytes(Path("config/keys.yaml").read_bytes())
    known = [] if "--against-facts" in command else ["--keys", str(keys)]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "provenance"), *command, "--job", hostile.job_file, *known],
        capture_output=True, text=True, env=os.environ, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    assert not set(done.stdout + done.stderr) & set(OBEYED)
    if "--json" in command:
        json.loads(done.stdout)


def test_a_line_of_the_log_is_inert_wherever_the_character_stands() -> None:
    try:
        raise RuntimeError(f"broken: {SEEN}")
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s", (SEEN,), sys.exc_info())
    shown = PlainFormatter("%(message)s").format(record)
    assert not set(shown) & set(OBEYED)
    assert "例え" in shown and "\\x9b31m" in shown and shown.count("\n") > 2


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x9b\nb\tc\r\n") == "a\\x9b\nb\\tc\\r\n"


@pytest.mark.parametrize(("value", "shown"), [
    ("~~gone~~", "\\~\\~gone\\~\\~"), ("# big", "\\# big"), ("- item", "\\- item"), ("+ item", "\\+ item"),
    ("12. item", "12\\. item"), ("3) item", "3\\) item"), ("---", "\\---"), ("===", "\\==="), ("$x$", "\\$x\\$"),
    ("-5", "-5"), ("1.5", "1.5"), ("1,204", "1,204"), ("#7", "#7"), ("a - b", "a - b"),
])  # fmt: skip
def test_markdown_reads_nothing_in_a_value(value: str, shown: str) -> None:
    assert cell(value) == shown


def test_a_table_has_its_line_below_the_head_and_no_value_can_be_another() -> None:
    made = markdown_table(("name", "count"), [("---", "---"), ("a|b", 1)])
    assert made.split("\n") == ["| name | count |", "| --- | --- |", "| \\--- | \\--- |", "| a\\|b | 1 |"]
