"""The public tasks: `luigi --module tasks NAME`.

Luigi takes a while to import, and most that is in here needs none of it: an API that explains facts, the commands of
`provenance`, the processes that hash or sign. So the tasks are there, and Luigi knows them by name, at once where Luigi
was imported before this package, as its command does; elsewhere as soon as one of them is asked for. A program that
imports this package first and runs Luigi by command line names a module of a task: `--module tasks.report`.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.apply_schema import ApplySchema
    from tasks.backfill_chunk import BackfillChunk
    from tasks.make_sample import MakeSample
    from tasks.plan_chunks import PlanChunks
    from tasks.report import Report
    from tasks.schema_verify import SchemaVerify
    from tasks.seal_log import SealLog
    from tasks.sign_pending import PlanSigning, SealSigned, SignChunk, SignPending
    from tasks.verify_attestations import PlanVerification, VerifyAttestations, VerifyChunk

__all__ = [
    "ApplySchema", "BackfillChunk", "MakeSample", "PlanChunks", "PlanSigning", "PlanVerification", "Report",
    "SchemaVerify", "SealLog", "SealSigned", "SignChunk", "SignPending", "VerifyAttestations", "VerifyChunk",
]  # fmt: skip

_MODULES = (
    "apply_schema", "backfill_chunk", "make_sample", "plan_chunks", "report", "schema_verify", "seal_log",
    "sign_pending", "verify_attestations",
)  # fmt: skip


def _import_tasks() -> None:
    for module in _MODULES:
        found = vars(import_module(f"{__name__}.{module}"))
        globals().update({name: found[name] for name in __all__ if name in found})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _import_tasks()
    return globals()[name]


if "luigi" in sys.modules:
    _import_tasks()
