"""A real luigid for a test, on a free port of the loopback or on a socket file."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

SCRIPT = "from luigi.cmdline import luigid; luigid()"


def wait_until(true: Callable[[], Any], otherwise: Callable[[], str], timeout: float = 60) -> Any:
    """The first true value of `true()`."""
    end = time.monotonic() + timeout
    while not (found := true()):
        assert time.monotonic() < end, otherwise()
        time.sleep(0.02)
    return found


@dataclass
class Luigid:
    """One luigid, and what any program that reaches its port can do."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    wait_until = staticmethod(wait_until)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """For the command line of a run."""
        return ("--scheduler-url", self.url)

    def start(self) -> None:
        where = ["--address", "127.0.0.1", "--port", str(self.port), "--state-path", str(self.folder / "state.pickle")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *where],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._listens, lambda: "luigid does not listen")

    def stop(self, with_signal: int = signal.SIGKILL) -> None:
        if self.process:
            self.process.send_signal(with_signal)
            self.process.wait(timeout=30)
        self.process = None

    def call(self, method: str, **arguments: Any) -> Any:
        """One GET, as a stranger would send it."""
        query = urlencode({"data": json.dumps(arguments)})
        with urlopen(f"{self.url}/api/{method}?{query}", timeout=10) as answer:
            return json.loads(answer.read())["response"]

    def workers(self) -> list[str]:
        return [worker["name"] for worker in self.call("worker_list", include_running=False)]

    def _listens(self) -> bool:
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", self.port)) == 0
