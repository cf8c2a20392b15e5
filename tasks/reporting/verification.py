"""What a verification came to, for programs (JSON) and for people (Markdown, the terminal)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tasks.attestation.public_keys import KeyRegistry
from tasks.attestation.row_states import STATES
from tasks.core.fact_keys import describe, from_json
from tasks.core.json_text import json_text
from tasks.core.terminal import printable
from tasks.job.settings import Settings
from tasks.reporting.markdown import cell, markdown_table
from tasks.rows.verify import LISTED, ChunkVerdict
from tasks.runs.plans import Plan


@dataclass(frozen=True)
class Verification:
    """The content of verify.json in its order, but for `facts`, which comes last: all rows that are not valid."""

    run_id: str
    plan_id: str
    database: str
    table: str
    schema_fingerprint: str
    registry: str
    keys: list[dict[str, Any]]
    started_at: str
    finished_at: str
    rows: int
    states: dict[str, int]
    allow_unsigned: bool
    passed: bool
    rows_per_second: float
    chunks: list[dict[str, Any]]
    listed: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """Without `listed`: the JSON holds all facts, people are shown some."""
        content = asdict(self)
        del content["listed"]
        return content


def summarize_verification(
    settings: Settings,
    registry: KeyRegistry,
    plan: Plan,
    verdicts: Iterable[ChunkVerdict],
    *,
    allow_unsigned: bool,
    finished_at: str,
) -> Verification:
    """All chunks of a plan as one. It passes if every row is valid, or unsigned where that is allowed."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.chunk)
    states = Counter[str]()
    for verdict in ordered:
        states.update(verdict.states)
    rows, seconds = sum(v.rows for v in ordered), sum(v.seconds for v in ordered)
    accepted = states["valid"] + (states["unsigned"] if allow_unsigned else 0)
    return Verification(
        run_id=plan.run_id,
        plan_id=plan.plan_id,
        database=str(settings.place),
        table=settings.tables.metadata.name,
        schema_fingerprint=plan.schema_fingerprint,
        registry=registry.source,
        keys=[{"name": k.name, "key_id": k.key_id, "state": k.state} for k in registry.of_use("rows")],
        started_at=min((v.started_at for v in ordered), default=plan.created_at),
        finished_at=finished_at,
        rows=rows,
        states={state: states[state] for state in STATES},
        allow_unsigned=allow_unsigned,
        passed=accepted == rows,
        rows_per_second=round(rows / seconds, 1) if seconds else 0.0,
        chunks=[_of_report(verdict) for verdict in ordered],
        listed=_first_of_each(fact for verdict in ordered for fact in verdict.listed),
    )


def _of_report(verdict: ChunkVerdict) -> dict[str, Any]:
    names = ("chunk", "after", "through", "rows", "states", "seconds")
    return {name: getattr(verdict, name) for name in names}


def _first_of_each(facts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    seen, found = Counter[str](), []
    for fact in facts:
        seen[fact["state"]] += 1
        if seen[fact["state"]] <= LISTED:
            found.append(fact)
    return found


def to_json_parts(verification: Verification, facts: Iterable[dict[str, Any]]) -> Iterator[str]:
    """verify.json, piece by piece: `facts` may be millions."""
    head = json_text(verification.as_json(), indent=2)
    yield head.removesuffix("\n}") + ',\n  "facts": ['
    separator = "\n    "
    for fact in facts:
        yield separator + json_text(fact)
        separator = ",\n    "
    yield "]\n}\n" if separator == "\n    " else "\n  ]\n}\n"


def to_terminal(verification: Verification) -> str:
    """Counts by state, and of every state but `valid` the first facts. Nothing from the database is printed raw."""
    v = verification
    lines = [f"{v.table} in {v.database}: {v.rows:,} rows, keys from {v.registry}"]
    lines += [f"  {state:<12}{count:>12,}" for state, count in v.states.items() if count or state == "valid"]
    for state in STATES:
        listed = [fact for fact in v.listed if fact["state"] == state]
        if listed:
            lines += ["", f"{state}:", *(printable(f"  {_fact(f)}  {f['detail']}") for f in listed)]
            left = v.states[state] - len(listed)
            lines += [f"  … and {left:,} more"] if left else []
    return "\n".join([*lines, "", verdict_words(v)])


def verdict_words(verification: Verification) -> str:
    """One sentence: did it pass?"""
    states, rows = verification.states, verification.rows
    if rows == 0:
        return f"There is NO ROW in {verification.table}: nothing was verified."
    if verification.passed:
        unsigned = f", but for {states['unsigned']:,} unsigned, which --allow-unsigned accepts"
        return f"All {rows:,} rows are valid{unsigned if states['unsigned'] else ''}."
    others = ", ".join(f"{state} {count:,}" for state, count in states.items() if count and state != "valid")
    return f"NOT all rows are valid: {others} of {rows:,}."


def _fact(fact: dict[str, Any]) -> str:
    return describe(from_json(fact["fact_id"]), first="NULL")


def to_markdown(verification: Verification) -> str:
    """verify.md. Values from the database are escaped."""
    v = verification
    head = {
        "database": v.database, "plan": v.plan_id, "registry": v.registry, "started": v.started_at,
        "finished": v.finished_at, "speed": f"{v.rows_per_second:,.0f} rows/s per worker",
    }  # fmt: skip
    sections = [
        f"# Verification {cell(v.run_id)}\n\n{cell(verdict_words(v))}",
        "\n".join(f"- {name}: {cell(value)}" for name, value in head.items()),
        f"## States\n\n{markdown_table(('state', 'rows'), [(name, f'{n:,}') for name, n in v.states.items()])}",
        f"## Keys\n\n{markdown_table(('name', 'key id', 'state'), [tuple(key.values()) for key in v.keys])}",
    ]
    if v.listed:
        rows = [(fact["state"], _fact(fact), fact["detail"]) for fact in v.listed]
        sections.append(
            f"## Rows that are not valid\n\nAt most {LISTED} of each state; verify.json holds all of them.\n\n"
            f"{markdown_table(('state', 'fact', 'why'), rows)}"
        )
    return "\n\n".join(sections) + "\n"
