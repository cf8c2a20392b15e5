"""A real luigid for a test."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.luigid import Luigid, wait_until


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> Callable[..., Any]:
    """`wait_until(true, otherwise)`: the first true value of `true()`, or a failure that says `otherwise()`."""
    return wait_until


@pytest.fixture
def luigid(tmp_path: Path) -> Iterator[Luigid]:
    """A luigid that listens; killed when the test ends."""
    folder = tmp_path / "luigid"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Luigid(folder, port)
    made.start()
    yield made
    made.stop()
