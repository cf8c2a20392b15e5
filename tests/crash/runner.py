"""The Luigi command line, prepared to die, to wait or to tell at a named point. A program for the tests, not a test.

    python runner.py ARGUMENTS    luigi ARGUMENTS; the environment variable CRASH (JSON) says what to prepare
    python runner.py --serve      forks such a process for every line of JSON on its standard input

CRASH may hold
    at, nth, file, do             at the nth time that any process of the run comes to the point `at` (while it writes
                                  the file called `file`, if given): "kill" this process, "kill group", "kill parent",
                                  or "wait" until <hits>.go is there
    hits                          file that counts how often the point was reached
    trace                         file that gets every statement on the database, a JSON line each
    network                       file that gets every use of a socket; anything but loopback is refused
    pause                         seconds that a chunk waits before it tries again after a lock
    memory                        file that gets the peak of resident memory in KiB

Besides the points of tasks.core.crash_points there are "before statement NAME" and "after statement NAME" for every
statement of a session, and "before the folder is synced" and "after the link of a file" for files.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
from luigi.cmdline import luigi_run

import tasks  # noqa: F401  (imported before the fork, so that a fork is cheap)
from tasks.core import crash_points, durable, files, patience
from tasks.stores.sqlite.session import SqliteSession

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Trap:
    """Counts how often a point is reached, over all processes of a run, and springs the nth time."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.at, self.nth, self.file, self.do = spec["at"], spec.get("nth", 1), spec.get("file"), spec["do"]
        self.hits = Path(spec["hits"])
        self.writing = ""

    def reach(self, name: str) -> None:
        if name == self.at and self.file in (None, self.writing) and self._count() == self.nth:
            self._spring()

    def _count(self) -> int:
        with self.hits.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(".")
            file.flush()
            return os.fstat(file.fileno()).st_size

    def _spring(self) -> None:
        if self.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.do == "kill group":
            os.killpg(0, signal.SIGKILL)
        elif self.do == "kill parent":
            os.kill(os.getppid(), signal.SIGKILL)
        else:
            Path(f"{self.hits}.reached").touch()
            wait_for(Path(f"{self.hits}.go"))


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{path} did not appear")
        time.sleep(0.01)


def set_trap(trap: Trap) -> None:
    """Put the trap's `reach` wherever the program can come to a point."""
    crash_points.reach = trap.reach
    write_temporary, run_statement = durable._temporary, SqliteSession._run
    sync_folder, link = files.sync_folder, os.link

    @contextmanager
    def temporary(path: Path, parts: Iterable[str], root: Path | None) -> Iterator[files.NewFile]:
        trap.writing = path.name
        with write_temporary(path, parts, root) as found:
            yield found

    def run(session: SqliteSession, name: str, **parameters: Any) -> list[Any]:
        trap.reach(f"before statement {name}")
        rows = run_statement(session, name, **parameters)
        trap.reach(f"after statement {name}")
        return rows

    def sync(folder: int) -> None:
        trap.reach("before the folder is synced")
        sync_folder(folder)

    def linked(*arguments: Any, **options: Any) -> None:
        link(*arguments, **options)
        trap.reach("after the link of a file")

    durable._temporary, files.sync_folder, os.link = temporary, sync, linked
    SqliteSession._run = run  # type: ignore[method-assign]


def trace_statements(into: Path) -> None:
    """Write every statement that SQLite starts on a file, whoever prepared it."""

    def tell(event: dict[str, Any]) -> None:
        with into.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"sql": event["sql"], "trigger": bool(event.get("trigger"))}) + "\n")

    def hook(connection: apsw.Connection) -> None:
        if connection.db_filename("main"):
            connection.trace_v2(apsw.SQLITE_TRACE_STMT, tell)

    apsw.connection_hooks.append(hook)


def watch_network(into: Path) -> None:
    """Write every use of a socket, and refuse all but loopback. An audit hook sees what no patch would."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind"):
            address = arguments[1] if event in ("socket.connect", "socket.sendto", "socket.bind") else arguments[0]
            host = address[0] if isinstance(address, tuple) else address
            with into.open("a") as file:
                file.write(f"{event} {host}\n")
            if host not in LOOPBACK:
                raise OSError(f"no network here: {event} {host}")

    sys.addaudithook(audit)


def prepare(spec: dict[str, Any]) -> None:
    if "at" in spec:
        set_trap(Trap(spec))
    if "pause" in spec:
        patience.PAUSE = spec["pause"]
    if "trace" in spec:
        trace_statements(Path(spec["trace"]))
    if "network" in spec:
        watch_network(Path(spec["network"]))


def run_prepared(arguments: list[str], spec: dict[str, Any]) -> int:
    """Run Luigi's command line; the exit code is Luigi's own."""
    prepare(spec)
    try:
        luigi_run(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        if "memory" in spec:
            Path(spec["memory"]).write_text(peak_of_memory())
    return 0


def peak_of_memory() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("VmHWM"))


def serve() -> None:
    """Fork a run per line of standard input, answer with its pid, and leave its exit status in a file."""
    children: dict[int, Path] = {}
    pending = b""
    while True:
        if select.select([0], [], [], 0.005)[0]:
            block = os.read(0, 65536)
            if not block:
                return
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = fork(request)
                children[pid] = Path(request["status"])
                os.write(1, f"{pid}\n".encode())
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                leave(children.pop(pid), str(os.waitstatus_to_exitcode(status)))


def leave(path: Path, text: str) -> None:
    """Whoever waits for the file must find it whole."""
    path.with_suffix(".part").write_text(text)
    path.with_suffix(".part").replace(path)


def fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for handle, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(handle, number)
        os.environ.clear()
        os.environ.update(request["env"])
        code = run_prepared(request["arguments"], request["crash"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(run_prepared(sys.argv[1:], json.loads(os.environ.get("CRASH", "{}"))))
