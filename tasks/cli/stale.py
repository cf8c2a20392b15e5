"""`provenance verify --against-facts`: every attested fact that is no longer what was attested."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from tasks.cli.common import NO
from tasks.core.json_text import json_text
from tasks.core.terminal import printable
from tasks.derivation.stale import StaleFact
from tasks.job.settings import Settings
from tasks.rows.stale import stale_facts
from tasks.stores.open import open_store


def against_facts(settings: Settings, *, as_json: bool) -> int:
    """Print all of them, as they are found, and say with which code to exit. Reads only, as one snapshot shows it.

    Raises DriftError or DatabaseError if the facts cannot be read.
    """
    with open_store(settings).session(write=False) as session, session.snapshot():
        stale = stale_facts(session, settings.derivation.rules(""))
        found = _echo_json(settings, stale) if as_json else _echo_text(settings, stale)
    return NO if found else 0


def _echo_text(settings: Settings, stale: Iterator[StaleFact]) -> int:
    found = 0
    for fact in stale:
        found += 1
        click.echo(printable(f"{fact.fact_id}: {fact.column}: attested {fact.attested}, now {fact.now}"))
    verdict = f"{found:,} attested facts are" if found else "No attested fact is"
    click.echo(printable(f"{verdict} no longer what was attested, in {settings.place}."))
    return found


def _echo_json(settings: Settings, stale: Iterator[StaleFact]) -> int:
    """One object, `facts` before `stale`, their number: there may be millions."""
    found = 0
    click.echo(f'{{\n  "database": {json_text(str(settings.place))},\n  "facts": [', nl=False)
    for found, fact in enumerate(stale, 1):
        click.echo(f"{',' if found > 1 else ''}\n    {json_text(asdict(fact))}", nl=False)
    click.echo(f'\n  ],\n  "stale": {found}\n}}')
    return found
