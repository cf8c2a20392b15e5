"""The commands of `provenance` that are about the sealed log."""

from __future__ import annotations

import click

commands: tuple[click.Command, ...] = ()
