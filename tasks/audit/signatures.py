"""The state of metadata rows by their signatures: of all of them, or of the facts of some leaves chosen at random."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.attestation.log.findings import Finding, Verdict
from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import STATES, Judge
from tasks.audit.ranges import words
from tasks.audit.report import AuditOrder, AuditReport
from tasks.core.clock import now_text
from tasks.core.fact_keys import from_json
from tasks.job.settings import Settings
from tasks.rows.verify import findings_in, plan_verification, read_findings, verify_in_process
from tasks.stores.open import open_store
from tasks.stores.protocols.sealed_log import SealedLog, TileHead


def verify_signatures(settings: Settings, registry: KeyRegistry, order: AuditOrder, report: AuditReport) -> None:
    """Every row's state, or that of `sample` rows chosen at random."""
    counts = Counter[str]()
    found = _of_sample(settings, registry, order.sample, counts) if order.sample is not None else None
    if found is None:
        found = _of_all(settings, registry, order.workers, counts)
    for state, fact_id, detail in found:
        if state != "unsigned" or not order.allow_unsigned:
            report.add(Finding(Verdict(f"signature_{state}"), detail, fact_id=fact_id))
    report.signatures = {state: counts[state] for state in STATES if counts[state]}


def _of_all(
    settings: Settings, registry: KeyRegistry, workers: int, counts: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    plan = plan_verification(settings, registry, run_id="audit", created_at=now_text(), workers=workers)
    with TemporaryDirectory(prefix="provenance-audit-") as folder:
        for verdict in verify_in_process(settings, registry, plan, workers=workers, folder=Path(folder)):
            counts.update(verdict.states)
        for found in read_findings(
            (findings_in(Path(folder), chunk.chunk) for chunk in plan.chunks), root=Path(folder)
        ):
            yield found["state"], words(from_json(found["fact_id"])), found["detail"]


def _of_sample(
    settings: Settings, registry: KeyRegistry, sample: int, counts: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    """Rows of the log at random, and the metadata rows of their facts."""
    with open_store(settings).sealed_log(purpose="read") as log, open_store(settings).attestations() as reader:
        judge = Judge(registry, first_id_of_leaf=reader.first_id_of_leaf, logged_before=reader.logged_before)
        heads = [head for head in log.layout() if head.objection() is None]
        leaves = sum(head.leaves for head in heads)
        chosen = sorted(random.SystemRandom().sample(range(leaves), min(sample, leaves)))
        for fact_id in sorted(set(_facts_at(log, heads, chosen))):
            row = reader.read_row(fact_id)
            found = judge.findings([row]) if row is not None else []
            counts.update([found[0].state if found else "valid"] if row is not None else [])
            for finding in found:
                yield finding.state, words(finding.fact_id), finding.detail


def _facts_at(log: SealedLog, heads: Sequence[TileHead], leaves: Sequence[int]) -> Iterator[str]:
    """The facts that these leaves are about, counted over whole tiles."""
    wanted, at, start = list(leaves), 0, 0
    for head in heads:
        ids = None
        while at < len(wanted) and wanted[at] < start + head.leaves:
            ids = ids or log.read_tile(head).attestation_ids
            row = log.read_log_row(ids[wanted[at] - start])
            if row is not None and isinstance(row.fact_id, str):
                yield row.fact_id
            at += 1
        start += head.leaves
