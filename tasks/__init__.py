"""The public tasks: `luigi --module tasks NAME`."""

from tasks.apply_schema import ApplySchema
from tasks.backfill_chunk import BackfillChunk
from tasks.luigi_support.setup import install
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

install()
