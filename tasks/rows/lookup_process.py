"""A process that reads what an API asks of facts, so that the process of the API need not open the database.

python -m tasks.rows.lookup_process     takes one JSON object on its standard input, gives one on its output

{"settings": a job file as it was read, "fact_ids": […]}
{"facts": […]}   or   {"error": name of a ProvenanceError, "message": …}
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.core import errors
from tasks.core.errors import NOTHING_WRITTEN, DatabaseError, ProvenanceError
from tasks.job.settings import Settings
from tasks.rows.explain import envelope_fact
from tasks.stores.open import open_store

_PACKAGES = Path(__file__).parents[2]


def look_up_apart(settings: Settings, fact_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What `lookup` gives of these facts, read by a process of its own.

    Raises what reading raises: DriftError, DatabaseError or LockedError; DatabaseError if no process can be started.
    """
    whole = {
        **settings.model_dump(), "job_file": settings.job_file, "key_lines": dict(settings.key_lines),
        "variables": dict(settings.variables),
    }  # fmt: skip
    question = {"settings": whole, "fact_ids": list(fact_ids)}
    search = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
    try:
        asked = subprocess.run(
            [sys.executable, "-m", __name__], input=json.dumps(question), capture_output=True, text=True,
            encoding="utf-8", check=True, env={**os.environ, "PYTHONPATH": search, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        answer = json.loads(asked.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise DatabaseError(
            f"the process that was to read it failed: {said[-1] if said else error}. Hand over a "
            "connection instead (connection=…)",
            where=f"database {settings.place}",
            written=NOTHING_WRITTEN,
        ) from None
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    return list(answer["facts"])


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question: facts, or why there are none."""
    fact_ids = question["fact_ids"]
    try:
        with open_store(Settings.model_validate(question["settings"])).attestations() as reader:
            known = reader.provenance(fact_ids)
    except ProvenanceError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"facts": [envelope_fact(known[fact_id]) for fact_id in fact_ids if fact_id in known]}


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
