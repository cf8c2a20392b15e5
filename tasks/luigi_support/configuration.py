"""What Luigi is told where its configuration is silent: this job installed, in a folder with no luigi.cfg.

What an operator set there, or anywhere else that Luigi looks, stays as it is. `autoload_range` is not among these:
Luigi reads it before any task is imported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from luigi import configuration

LOGGING: Final = Path(__file__).with_name("logging.ini")

# luigi.cfg of the project says the same, and why.
DEFAULTS: Final = {
    "core": {"no_lock": "true", "logging_conf_file": str(LOGGING)},
    "worker": {
        "check_complete_on_run": "true",
        "keep_alive": "false",
        "wait_interval": "0.2",
        "wait_jitter": "0.1",
    },
    "scheduler": {"retry_delay": "86400"},
    "retcode": {
        "already_running": "10",
        "missing_data": "20",
        "not_run": "25",
        "task_failed": "30",
        "scheduling_error": "35",
        "unhandled_exception": "40",
    },
}


def complete_configuration() -> None:
    """Set what is not set. Done once more, it changes nothing."""
    config = configuration.get_config()  # type: ignore[no-untyped-call]
    _find_logging_configuration(config)
    for section, values in DEFAULTS.items():
        for name, value in values.items():
            if not _is_set(config, section, name):
                config.set(section, name, value)


def _is_set(config: Any, section: str, name: str) -> bool:
    """Under the name that it has, or had in older releases of Luigi."""
    if section == "worker" and config.has_option("core", f"worker_{name}"):
        return True
    if name == "logging_conf_file" and config.has_option("logging", "version"):  # in TOML, where it says all of that
        return True
    return bool(config.has_option(section, name))


def _find_logging_configuration(config: Any) -> None:
    """Look for a relative `logging_conf_file` beside the luigi.cfg that LUIGI_CONFIG_PATH names, if it is not here."""
    given, named = config.get("core", "logging_conf_file", None), os.environ.get("LUIGI_CONFIG_PATH")
    if given and named and not Path(given).exists():
        beside = Path(named).absolute().parent / given
        if beside.is_file():
            config.set("core", "logging_conf_file", str(beside))
