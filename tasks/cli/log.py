"""The commands of `provenance` around the sealed log: audit, prove, check; rotation.py has the one that rotates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tasks.attestation.log.checkpoints import MAX_PROOF_BYTES
from tasks.attestation.log.notes import MAX_NOTE_BYTES, VerifierKey
from tasks.attestation.public_keys import (
    KeyRegistry,
    RegisteredKey,
    entry_for,
    load_registry,
    refuse_double_use,
)
from tasks.audit.audit import audit
from tasks.audit.report import AuditOrder, AuditReport
from tasks.cli.common import (
    FACT_ID,
    NO,
    NO_ANSWER,
    FactCommand,
    immutable_option,
    job_option,
    json_option,
    keys_option,
    read_settings,
)
from tasks.cli.rotation import rotate_command
from tasks.core import files
from tasks.core.errors import ProofError
from tasks.core.json_text import json_text
from tasks.core.terminal import printable, printable_lines
from tasks.job.settings import load_settings
from tasks.sealed_log.prove import check, prove
from tasks.sealed_log.seal import seal_log

_file = click.Path(path_type=Path, dir_okay=False, exists=True)
_SHOWN = 20


def _registry(keys: Path, vkeys: tuple[str, ...], log_vkeys: tuple[str, ...]) -> KeyRegistry:
    """The keys given on the command line; those of the registry only where there are none for a use."""
    given = _given(vkeys, log_vkeys)
    if (vkeys and log_vkeys) or (given and not keys.exists()):
        return KeyRegistry(given, "the command line")
    registry = load_registry(keys)
    uses = {key.use for key in given}
    trusted = (*given, *(key for key in registry.keys if key.use not in uses))
    refuse_double_use(trusted)
    return KeyRegistry(trusted, str(keys))


def _given(vkeys: tuple[str, ...], log_vkeys: tuple[str, ...]) -> tuple[RegisteredKey, ...]:
    rows = (entry_for(VerifierKey.parse(vkey), "rows") for vkey in vkeys)
    given = (*rows, *(entry_for(VerifierKey.parse(vkey), "checkpoints") for vkey in log_vkeys))
    refuse_double_use(given)
    return given


def _read(path: Path, limit: int) -> bytes:
    """A file that was handed in. Raises ProofError unless it is a regular file of at most so many bytes."""
    try:
        return files.read_bounded(path, root=None, limit=limit)
    except OSError as error:
        raise ProofError(
            "cannot be read", where=str(path), seen=error.strerror, written="Nothing was checked"
        ) from None


def _write(path: Path, content: bytes) -> None:
    try:
        with files.new_file(path, root=None) as new:
            new.file.write(content)
            new.sync()
            new.replace()
            files.sync_folder(new.folder)
    except OSError as error:
        raise ProofError(
            "cannot be written", where=str(path), seen=error.strerror, written="There is no proof"
        ) from None


@click.command("audit")
@click.option("--checkpoint", type=_file, required=True, help="A signed checkpoint that you kept.")
@click.option("--since", type=_file, help="An older one: the log must still begin with what it signed.")
@click.option("--root-only", is_flag=True, help="Only the log: rebuild its root. Fast.")
@click.option("--sample", type=click.IntRange(min=0), help="Verify the signatures of so many facts only.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--allow-unsigned", is_flag=True, help="Accept placeholders; they are counted all the same.")
@click.option("--log-key", "log_keys", multiple=True, metavar="VKEY", help="Trust this key for checkpoints.")
@click.option("--key", "row_keys", multiple=True, metavar="VKEY", help="Trust this key for rows.")
@job_option
@keys_option
@immutable_option
@json_option
def audit_command(
    checkpoint: Path, since: Path | None, root_only: bool, sample: int | None, workers: int, allow_unsigned: bool,
    log_keys: tuple[str, ...], row_keys: tuple[str, ...], job: Path, keys: Path, immutable: bool, as_json: bool,
) -> None:  # fmt: skip
    """Hold the database against a checkpoint. Exit code 0 only if nothing was found."""
    if root_only and sample is not None:
        raise click.UsageError("--root-only verifies no signature: leave out --sample")
    order = AuditOrder(
        checkpoint=_read(checkpoint, MAX_NOTE_BYTES), since=_read(since, MAX_NOTE_BYTES) if since else None,
        root_only=root_only,
        sample=sample, workers=workers, allow_unsigned=allow_unsigned,
    )  # fmt: skip
    report = audit(read_settings(job, immutable=immutable), _registry(keys, row_keys, log_keys), order)
    click.echo(_json(report.as_json()) if as_json else _audit_words(report, order))
    sys.exit(0 if report.clean else NO)


def _audit_words(report: AuditReport, order: AuditOrder) -> str:
    lines = [f"verdict: {report.verdict}"]
    if report.origin:
        lines.append(f"  checkpoint: {report.origin}, {report.tree_size:,} leaves, root {report.root}")
    if report.since_size is not None:
        lines.append(f"  since: {report.since_size:,} leaves")
    lines.append(f"  rebuilt: {report.leaves:,} leaves; rows after the last leaf, not sealed: {report.unsealed_rows:,}")
    if not order.root_only:
        states = ", ".join(f"{state} {count:,}" for state, count in report.signatures.items()) or "none"
        lines.append(f"  metadata rows held against their leaf: {report.metadata_rows:,}; signatures: {states}")
    if report.reattested_count:
        lines.append(f"  attested anew at an operator's word, which is no damage: {report.reattested_count:,} facts")
        lines += [
            f"    leaf {one.leaf}, attestation {one.attestation_id}, fact {one.fact_id}: {one.because}"
            for one in report.reattested[:_SHOWN]
        ]
    shown = dict.fromkeys(report.counts, 0)
    for finding in report.findings:
        shown[finding.verdict] += 1
        if shown[finding.verdict] <= _SHOWN:
            lines.append(f"  {finding}")  # what it names comes from the database
    lines += [f"  {verdict.value}: {count:,} in all" for verdict, count in report.counts.items() if count > _SHOWN]
    return "\n".join(map(printable, [*lines, f"  {report.seconds:.1f} s"]))


@click.command("seal")
@job_option
@json_option
def seal_command(job: Path, as_json: bool) -> None:
    """Seal the rows of the log that are not sealed yet. Exit code 1 if no key for checkpoints is configured."""
    sealed = seal_log(load_settings(job), run_id=None)
    click.echo(_json(sealed.as_json()) if as_json else printable_lines(sealed.words()))
    sys.exit(0 if sealed.state == "sealed" else NO)


@click.command("prove", cls=FactCommand)
@click.argument("fact_id", type=FACT_ID)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it, else the terminal.")
@immutable_option
@job_option
def prove_command(fact_id: str, output: Path | None, job: Path, immutable: bool) -> None:
    """Write a proof that FACT_ID was attested and that the log holds it: one file, complete in itself."""
    proof = prove(read_settings(job, immutable=immutable), fact_id)
    if output is None:
        sys.stdout.buffer.write(proof)
        sys.stdout.buffer.flush()
    else:
        _write(output, proof)
        click.echo(f"proof: {output}", err=True)


@click.command("check")
@click.argument("proof", type=_file)
@click.option("--key", "row_keys", multiple=True, required=True, metavar="VKEY", help="Trusted to sign rows.")
@click.option("--log-key", "log_keys", multiple=True, metavar="VKEY", help="Trusted to sign checkpoints.")
@json_option
def check_command(proof: Path, row_keys: tuple[str, ...], log_keys: tuple[str, ...], as_json: bool) -> None:
    """Check a proof, with no database. Exit code 0 only if all of it holds, for which it takes both keys.

    1: something does not hold. 3: what could be checked holds, but not all could.
    """
    trusted = KeyRegistry(_given(row_keys, log_keys), "the command line")
    rows, log = trusted.of_use("rows"), trusted.of_use("checkpoints")
    result = check(_read(proof, MAX_PROOF_BYTES), [one.key for one in rows], [one.key for one in log])
    click.echo(_json(result.as_json()) if as_json else result.words())
    sys.exit(0 if result.holds else NO if result.fails else NO_ANSWER)


def _json(content: dict[str, Any]) -> str:
    return json_text(content, indent=2)


commands = (seal_command, audit_command, prove_command, check_command, rotate_command)
