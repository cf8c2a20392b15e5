"""Commands that a message prints: each runs as it is printed, against the same database.

So each names the job file, and sets the variables from which that file took its database and its state folder (a
database that is no path may hold a password: it is never printed). Commands stand in backticks: the sentence goes on.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.job.paths import checkpoint_folder
from tasks.job.settings import Settings
from tasks.job.store_place import StorePlace


def luigi_command(settings: Settings, task: str) -> str:
    """A task of ours, with this job file."""
    return _line(settings, "luigi", "--module", "tasks", task, "--local-scheduler")


def provenance_command(settings: Settings, command: str, *arguments: str) -> str:
    """A command of `provenance`, with this job file."""
    return _line(settings, "provenance", command, *arguments)


def audit_command(settings: Settings) -> str:
    """Holding the log against the largest checkpoint that was published here, in words where there is none."""
    folder = checkpoint_folder(settings.state_dir, settings.sealing.origin)
    published = max(folder.glob("*.checkpoint"), default=None)
    if published is None:
        return "audit the log against a checkpoint that you kept"
    return f"run {provenance_command(settings, 'audit', '--checkpoint', str(published))}"


def keygen_command(key_name: str, use: str) -> str:
    """Making a key of that name in a file that is not there yet."""
    return f"`{shlex.join(['provenance', 'keygen', _free_file(use), '--name', key_name, '--use', use])}`"


def _free_file(use: str) -> str:
    number = 1
    while Path(name := f"keys/{use}.key" if number == 1 else f"keys/{use}-{number}.key").exists():
        number += 1
    return name


def _line(settings: Settings, *words: str) -> str:
    job = ("--job", settings.job_file) if settings.job_file else ()
    variables = (
        f"{name}={shlex.quote(value)} " for name, value in settings.variables.items() if not _may_hold_a_password(value)
    )
    return f"`{''.join(variables)}{shlex.join([*words, *job])}`"


def _may_hold_a_password(value: str) -> bool:
    return not StorePlace.of(value).is_file
