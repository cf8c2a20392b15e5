"""One command, measured from outside: wall time, CPU time and peak memory of the whole process tree."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import apsw

from tasks.attestation.fast.batch_hashing import find_compiled
from tasks.attestation.fast.batch_signing import compiled_signer

_TOLD_LINES = 30


class StepError(Exception):
    """A step failed, or did not do to the facts what it had to."""


@dataclass(frozen=True)
class Measured:
    """`seconds` from start to exit; `cpu_seconds` and `peak_mb` of the command and all its descendants.

    `peak_mb` is that of the largest single process (MB = 10^6 bytes). The kernel keeps it, so no peak is missed; a
    process cannot show less than this program held when it started it, about 40 MB. `disturbance` is how many cores
    everything else on the machine took meanwhile, on average.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    disturbance: float
    output: str

    def result(self) -> dict[str, Any]:
        """The command's last line as a JSON object."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found


def measure(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Measured:
    """Run a command to its end, its output going to `log`. Raises StepError if it does not exit with 0."""
    with log.open("wb") as output:
        busy_before, started = _busy_seconds(), time.monotonic()
        child = subprocess.Popen(
            command, env=dict(env), cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            # wait4 counts the child and every descendant that it waited for; Luigi waits for its workers.
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # it leads a group of its own: none of its workers is left behind
            raise
        seconds, busy = time.monotonic() - started, _busy_seconds() - busy_before
        child.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    if child.returncode != 0:
        tail = "\n".join(text.splitlines()[-_TOLD_LINES:])
        raise StepError(f"exit code {child.returncode}, expected 0. Its output ends with:\n{tail}")
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Measured(seconds, cpu_seconds, usage.ru_maxrss * 1024 / 1e6, max(0.0, busy - cpu_seconds) / seconds, text)


def _busy_seconds() -> float:
    """CPU time that the whole machine has spent on anything since it started, what its host withheld included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = Path("/proc/stat").read_text().split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = ", ".join(f"{name} {version(name)}" for name in ("luigi", "apsw", "PyNaCl"))
    return {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "packages": packages,
        "signs": compiled_signer.name if compiled_signer else "PyNaCl",
        "hashes": "_batch_hasher" if find_compiled() else "hashlib",
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found.group(1) if found else platform.machine()
