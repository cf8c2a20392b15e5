"""`provenance`: the commands of those who keep keys, check attestations and explain facts."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

from tasks.attestation.key_bindings import KeyBinding
from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, Use, entry_for, load_registry
from tasks.cli.common import (
    FACT_ID,
    NO,
    Commands,
    FactCommand,
    immutable_option,
    job_option,
    json_option,
    keys_option,
    read_settings,
    use_option,
)
from tasks.cli.log import commands
from tasks.cli.luigid import luigid
from tasks.cli.stale import against_facts as find_stale
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import VerificationError
from tasks.core.fact_keys import ids_in_order
from tasks.core.json_text import json_text
from tasks.core.terminal import printable_lines
from tasks.job import keygen as engine_keygen
from tasks.job.settings import Settings, load_settings
from tasks.reporting.verification import Verification, summarize_verification, to_json_parts, to_terminal
from tasks.rows.explain import envelope, explain, lookup_facts, to_text
from tasks.rows.verify import findings_in, plan_verification, read_findings, verify_in_process
from tasks.stores.open import open_store


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="provenance-backfill")
def main() -> None:
    """Keep keys, verify attestations, seal and audit their log, explain facts.

    Exit codes: 0 yes; 1 no, something is not as it must be; 2 the command line cannot be read; 3 no answer.
    """


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", required=True, help="Key name: no blanks, no plus. Unique in the world is best.")
@click.option("--store", "stores", multiple=True, type=click.Path(), metavar="PATH", help="It signs for this database.")
@click.option("--log", "logs", multiple=True, metavar="ORIGIN", help="It signs checkpoints of this log.")
@use_option
@json_option
def keygen(file: Path, name: str, stores: tuple[str, ...], logs: tuple[str, ...], use: Use, as_json: bool) -> None:
    """Make a key: the private part goes to FILE (mode 0600, never overwritten), the public part is printed.

    With --store or --log the key is bound: it signs for no other. A key for rows needs a store, one for checkpoints a
    log, and a store as well is best.
    """
    key, binding = engine_keygen.generate(file, name, use=use, stores=stores, logs=logs)
    _print_key(key, binding, use, as_json, private=f"Private key: {file}. Keep it out of backups.")


@main.command("public-key")
@job_option
@use_option
@json_option
def public_key(job: Path, use: Use, as_json: bool) -> None:
    """Print the public part of the key that the job file configures, for the registry."""
    _print_key(*engine_keygen.configured(load_settings(job), use), use, as_json)


def _print_key(
    key: VerifierKey, binding: KeyBinding | None, use: Use, as_json: bool, private: str | None = None
) -> None:
    entry = entry_for(key, use, binding=binding)
    if as_json:
        click.echo(json_text(entry.as_json(), indent=2))
        return
    click.echo(f"{key}\n")
    click.echo(f"For config/keys.yaml, below keys:\n{entry.as_yaml()}", nl=False)
    if private:
        click.echo(f"\n{private}")


_key_option = click.option(
    "--key", "vkeys", multiple=True, metavar="VKEY", help="Trust this key for rows, instead of the registry."
)


def _registry(keys: Path, vkeys: tuple[str, ...]) -> KeyRegistry:
    """The keys given on the command line, or those of the registry."""
    if not vkeys:
        return load_registry(keys)
    return KeyRegistry(tuple(entry_for(VerifierKey.parse(vkey), "rows") for vkey in vkeys), "the command line")


@main.command()
@job_option
@keys_option
@_key_option
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@click.option("--allow-unsigned", is_flag=True, help="Accept placeholders; they are counted all the same.")
@click.option("--against-facts", is_flag=True, help="Find the facts that are no longer what was attested, instead.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the JSON to this file.")
@immutable_option
@json_option
def verify(
    job: Path,
    keys: Path,
    vkeys: tuple[str, ...],
    workers: int,
    allow_unsigned: bool,
    against_facts: bool,
    output: Path | None,
    immutable: bool,
    as_json: bool,
) -> None:
    """Put every metadata row into its state. Exit code 0 only if there are some and all of them are valid."""
    settings = read_settings(job, immutable=immutable)
    if against_facts:
        sys.exit(find_stale(settings, as_json=as_json))
    registry = _registry(keys, vkeys)
    with tempfile.TemporaryDirectory(prefix="provenance-verify-") as folder:
        scratch = Path(folder)
        report, findings = _verify(settings, registry, workers, allow_unsigned, scratch)
        if output is not None:
            durable.stream_durably(output, to_json_parts(report, read_findings(findings, root=scratch)), root=None)
        if as_json:
            _echo_parts(to_json_parts(report, read_findings(findings, root=scratch)))
        else:
            click.echo(printable_lines(to_terminal(report)))
    if report.rows == 0:
        raise VerificationError(
            "it has no row, so nothing was verified and there is no answer",
            hint="If it had rows, audit the log against a checkpoint that you kept",
            where=report.table,
        )
    sys.exit(0 if report.passed else NO)


def _verify(
    settings: Settings, registry: KeyRegistry, workers: int, allow_unsigned: bool, folder: Path
) -> tuple[Verification, list[Path]]:
    plan = plan_verification(settings, registry, run_id="verify", created_at=now_text(), workers=workers)
    verdicts = []
    with click.progressbar(
        length=plan.residual, label="verifying", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        for verdict in verify_in_process(settings, registry, plan, workers=workers, folder=folder):
            verdicts.append(verdict)
            bar.update(verdict.rows)
    report = summarize_verification(
        settings, registry, plan, verdicts, allow_unsigned=allow_unsigned, finished_at=now_text()
    )
    return report, [findings_in(folder, chunk.chunk) for chunk in plan.chunks]


def _echo_parts(parts: Iterable[str]) -> None:
    """JSON is UTF-8, whatever the terminal's encoding."""
    for part in parts:
        sys.stdout.buffer.write(part.encode())
    sys.stdout.buffer.flush()


@main.command("explain", cls=FactCommand)
@click.argument("fact_ids", nargs=-1, required=True, metavar="FACT_ID...", type=FACT_ID)
@job_option
@keys_option
@_key_option
@immutable_option
@json_option
def explain_command(
    fact_ids: tuple[str, ...], job: Path, keys: Path, vkeys: tuple[str, ...], immutable: bool, as_json: bool
) -> None:
    """Print what is known of facts, their attestations and the state of their rows.

    Exit code 0 only if every one is known and its row is valid. With --json, the JSON-LD envelope that an API attaches.
    """
    wanted = ids_in_order(fact_ids)
    never = [fact_id for fact_id in dict.fromkeys(fact_ids) if fact_id not in wanted]  # no database can hold them
    all_valid = not never
    with open_store(read_settings(job, immutable=immutable)).attestations() as reader:
        registry = _registry(keys, vkeys)
        for fact_id in wanted:
            found = explain(reader, registry, fact_id)
            all_valid = all_valid and found is not None and found.finding is None
            if not as_json:
                click.echo(printable_lines(to_text(found) if found else _unknown(fact_id)))
        if as_json:
            facts = envelope(lookup_facts(reader, wanted))
            _echo_parts([json_text(facts, indent=2), "\n"])
        else:
            click.echo("".join(f"{_unknown(fact_id)}\n" for fact_id in never), nl=False)
    sys.exit(0 if all_valid else NO)


def _unknown(fact_id: str) -> str:
    return f"fact {fact_id!r}: nothing is known of it"


for command in (*commands, luigid):
    main.add_command(command)
