"""Workers whose parent is gone: nobody waits for them, and they do not stay."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.parent import watch_parent

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in Linux's /proc")

_HASHING = """
import time
from tasks.sealed_log.leaf_groups import hashing
if __name__ == "__main__":
    with hashing(0, processes=2) as run:
        list(run(time.sleep, [60, 60]))
"""
_VERIFYING = """
import time
from pathlib import Path
from types import SimpleNamespace
from tasks.rows import verify
verify.verify_chunk = lambda *_, **__: time.sleep(60)
plan = SimpleNamespace(chunks=[SimpleNamespace(chunk=number) for number in (1, 2)])
if __name__ == "__main__":
    list(verify.verify_in_process(None, None, plan, workers=2, folder=Path(".")))
"""


def status(pid: int) -> dict[str, str]:
    """What the kernel says of a process; nothing if there is none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children(pid: int) -> list[int]:
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [one for one in found if status(one).get("PPid") == str(pid)]


def is_alive(pid: int) -> bool:
    return status(pid).get("State", "Z")[0] not in "ZX"


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("program", [_HASHING, _VERIFYING], ids=["hashing", "verifying"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_of_a_pool_end_with_the_one_that_made_it(
    program: str, how: signal.Signals, tmp_path: Path
) -> None:
    script = tmp_path / "program.py"
    script.write_text(program)
    parent = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path)
    try:
        wait_until(lambda: len(children(parent.pid)) >= 2)
        workers = children(parent.pid)
        time.sleep(1)  # so that each has begun its work
        assert all(map(is_alive, workers))
        parent.send_signal(how)
        parent.wait()
        wait_until(lambda: not any(map(is_alive, workers)))
    finally:
        parent.kill()


def test_a_process_that_is_no_worker_has_no_parent_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    is_gone = watch_parent()
    monkeypatch.setattr(os, "getppid", lambda: 1)  # as after its shell has ended
    assert not is_gone()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_worker_sees_that_its_parent_lives(method: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_sees_loss) is False


def test_a_process_that_a_worker_forks_has_that_worker_for_its_parent() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_child_sees_loss) == 0


def _sees_loss() -> bool:
    return watch_parent()()


def _child_sees_loss() -> int:
    child = os.fork()
    if child == 0:
        os._exit(watch_parent()())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
