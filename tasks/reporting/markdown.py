"""report.md and the terminal's summary: the same report for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tasks.core.terminal import printable
from tasks.reporting.comparison import Comparison
from tasks.reporting.comparison import words as comparison_words
from tasks.reporting.report import RunReport
from tasks.reporting.turns import turn_words
from tasks.stores.protocols.counts import NOTED, OUTCOMES

# What at the beginning of a line makes it a heading, an item of a list or the underline of a heading.
_BLOCK: Final = re.compile(r"^([0-9]*)(#{1,6}(?= |$)|[-+](?= |$)|[.)](?= |$)|[-=]+$)")


def to_markdown(report: RunReport) -> str:
    """The whole report as Markdown. Values from the database are escaped: none can break a table or become HTML."""
    sections = [
        _head(report), _warnings(report), _rows(report), _sealed(report), _dry_run(report), _closing(report),
        _rejects(report), _stale(report), _notes(report), _sources(report), _sample(report), _chunks(report),
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def to_terminal(report: RunReport, path: str) -> str:
    """A few lines for the end of a run; the last one says where the report lies."""
    what = "dry run, nothing was written" if report.mode == "dry-run" else "live run"
    counts = ", ".join(f"{name} {report.rows[name]:,}" for name in OUTCOMES)
    lines = [
        f"run {report.run_id} ({what}): {report.stop_reason}",
        f"  facts: {counts}",
        f"  {_signature_words(report)}",
        f"  {report.sealed.words()}",
    ]
    if report.reattest is not None:
        lines.append(f"  {_reattested(report)}")
    lines[1:1] = [f"  WARNING: {printable(warning)}" for warning in report.warnings]
    if report.rejects:
        lines.append("  rejected: " + ", ".join(f"{reason} {n:,}" for reason, n in report.rejects.items()))
    if isinstance(report.dry_run, Comparison):
        lines.append(f"  dry run of this plan: {comparison_words(report.dry_run)}")
    if report.stale is None or report.stale.count:
        lines.append(f"  {_stale_words(report)}")
    if report.turns is not None:
        lines.append(f"  {printable(turn_words(report.turns))}")
    lines += [f"  still residual: {report.remaining:,}", f"  speed: {report.rows_per_second:,.0f} rows/s per worker"]
    return "\n".join([*lines, f"report: {path}"])


def _stale_words(report: RunReport) -> str:
    if report.stale is None:
        return "stale: not counted (reporting.count_stale)"
    return (
        f"stale: {report.stale.count:,} attested facts are no longer what was attested: edited, or another fact "
        f"under a used id"
    )


def _reattested(report: RunReport) -> str:
    verb = "would be" if report.mode == "dry-run" else "was"
    return f"what is not as it was logged {verb} attested anew, because: {report.reattest}"


def _signature_words(report: RunReport) -> str:
    signed, placeholder, key_id = (getattr(report.signatures, name) for name in ("signed", "placeholder", "key_id"))
    verb = "would be signed" if report.mode == "dry-run" else "signed"
    if key_id is None:
        return f"signatures: NO KEY, {placeholder:,} placeholders, which are not signatures"
    return f"signatures: {signed:,} {verb} with {key_words(key_id, report.signatures.key_ids)}"


def key_words(key_id: str | None, keys: Mapping[str, int]) -> str:
    """The key that signed, or how many rows each of them did."""
    if len(keys) < 2:
        return f"key {key_id}"
    return "keys " + ", ".join(f"{one} ({rows:,} rows)" for one, rows in keys.items())


def _head(report: RunReport) -> str:
    title = "Dry run" if report.mode == "dry-run" else "Live run"
    facts = {
        "plan": report.plan_id, "database": report.database, "schema fingerprint": report.schema_fingerprint,
        "attester": report.attester, "started": report.started_at, "finished": report.finished_at,
        "stop reason": report.stop_reason + (f" (--max-rows {report.max_rows})" if report.max_rows else ""),
        "planning": f"{report.planning_seconds:.1f} s", "speed": f"{report.rows_per_second:,.0f} rows/s per worker",
    }  # fmt: skip
    return f"# {title} {cell(report.run_id)}\n\n" + "\n".join(f"- {name}: {cell(v)}" for name, v in facts.items())


def _warnings(report: RunReport) -> str:
    lines = [f"- {cell(warning)}" for warning in report.warnings]
    return "\n".join(["## Warnings", "", *lines]) if lines else ""


def _rows(report: RunReport) -> str:
    would = " (predicted)" if report.mode == "dry-run" else ""
    table = markdown_table(("outcome", f"facts{would}"), [(name, f"{report.rows[name]:,}") for name in OUTCOMES])
    words = [_signature_words(report), *([turn_words(report.turns)] if report.turns else [])]
    return "\n\n".join([f"## Facts\n\n{table}", *map(cell, words)])


def _sealed(report: RunReport) -> str:
    sealed = report.sealed
    if sealed.state == "dry_run":
        return ""
    names = ("tree_size", "root", "unsealed_rows", "checkpoint_file")
    table = markdown_table(("what", "value"), [(name.replace("_", " "), getattr(sealed, name)) for name in names])
    return f"## Sealed log\n\n{cell(sealed.words())}\n\n{table}"


def _dry_run(report: RunReport) -> str:
    dry = report.dry_run
    if report.mode == "dry-run":
        return ""
    if not isinstance(dry, Comparison):
        return "## Predicted against actual\n\nNo dry run of this plan was made."
    rows = [(name, dry.rows.get(name), report.rows[name]) for name in OUTCOMES]
    words = cell(comparison_words(dry))
    verdict = words if dry.matches else f"**They differ.**\n\n{words}"
    return f"## Predicted against actual\n\n{markdown_table(('outcome', 'dry run', 'live run'), rows)}\n\n{verdict}"


def _closing(report: RunReport) -> str:
    rows = [(name.replace("_", " "), value) for name, value in report.closing.as_json().items()]
    table = markdown_table(("check", "value"), rows)
    return f"## Closing proof\n\n{report.remaining:,} facts are residual now, counted afresh.\n\n{table}"


def _rejects(report: RunReport) -> str:
    if not report.rejects:
        return "## Rejected\n\nNone."
    parts = ["## Rejected", markdown_table(("reason", "facts"), list(report.rejects.items()))]
    if report.reject_sample:
        rows = [(r["fact_id"], r["reason"], r["detail"], r["chunk"]) for r in report.reject_sample]
        parts.append(markdown_table(("fact", "reason", "seen", "chunk"), rows))
    return "\n\n".join(parts)


def _stale(report: RunReport) -> str:
    if report.stale is None:
        return f"## Stale\n\n{cell(_stale_words(report))}"
    if not report.stale.count:
        return ""
    rows = [(fact.fact_id, fact.column, fact.attested, fact.now) for fact in report.stale.sample]
    table = markdown_table(("fact", "column", "attested", "now"), rows)
    return f"## Stale\n\n{cell(_stale_words(report))}\n\n{table}"


def _notes(report: RunReport) -> str:
    lines = [f"- {cell(absence)}" for absence in report.absences]
    if report.reattest is not None:
        lines.append(f"- {cell(_reattested(report))}")
    lines += [f"- {report.noted[name]:,} {words}" for name, words in NOTED.items() if report.noted[name]]
    return "## Notes\n\n" + "\n".join(lines) if lines else ""


def _sources(report: RunReport) -> str:
    rows = [(source.source_doc, f"{source.facts:,}") for source in report.top_sources]
    when = ", before the run" if report.mode == "dry-run" else ""
    return f"## Sources with most facts{when}\n\n{markdown_table(('source', 'facts'), rows)}" if rows else ""


def _sample(report: RunReport) -> str:
    if not report.sample:
        return ""
    fields = ("source_doc", "extracted_at", "confidence_lower", "confidence_upper")
    rows = []
    for row in report.sample:
        old, new = row["old"] or {}, row["new"]
        changes = "; ".join(f"{name}: {old.get(name)} → {new[name]}" for name in fields)
        rows.append((row["outcome"], row["fact_id"], changes))
    return f"## Some rows, old → new\n\n{markdown_table(('outcome', 'fact', 'change'), rows)}"


def _chunks(report: RunReport) -> str:
    head = ("chunk", "after", "through", *OUTCOMES, "seconds", "attempts")
    rows = [
        (c["chunk"], c["after"], c["through"], *(f"{c['rows'][n]:,}" for n in OUTCOMES), c["seconds"], c["attempts"])
        for c in (chunk.as_json() for chunk in report.chunks)
    ]
    return f"## Chunks\n\n{markdown_table(head, rows)}" if rows else "## Chunks\n\nNone: nothing was residual."


def markdown_table(head: tuple[str, ...], rows: list[Any]) -> str:
    """A table; a row of values that look like the line below its head stays a row."""
    above, *below = ("| " + " | ".join(cell(value) for value in line) + " |" for line in (head, *rows))
    return "\n".join((above, "| --- " * len(head) + "|", *below))


def cell(value: object) -> str:
    """Any value as inert Markdown text on one line."""
    text = "" if value is None else str(value)
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))
    for character, replacement in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "\\\\"), ("|", "\\|")):
        text = text.replace(character, replacement)
    for character in "`*_[]~$":
        text = text.replace(character, "\\" + character)
    return _BLOCK.sub(r"\1\\\2", text)
