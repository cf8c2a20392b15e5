"""The command of `provenance` that rotates a key: the log says so, and the registry, if it is asked to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tasks.attestation.public_keys import KeyRegistry, RegisteredKey, Use, load_registry, parse_registry, read_registry
from tasks.attestation.signer import Signer, load_signer
from tasks.cli.common import job_option, json_option, keys_option, use_option
from tasks.core import durable
from tasks.core.clock import now_text
from tasks.core.errors import NOTHING_WRITTEN, KeyRegistryError, ProvenanceError, SigningKeyError
from tasks.core.json_text import json_text
from tasks.core.terminal import holds_key
from tasks.job.commands import keygen_command
from tasks.job.key_uses import refuse_other_use
from tasks.job.settings import Settings, load_settings
from tasks.job.signers import log_signer_of, signer_of
from tasks.sealed_log.rotate import Rotation, refuse_unfit, rotate


@click.command("rotate")
@use_option
@click.option(
    "--new-key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The new private key, a file of mode 0600.",
)
@click.option("--new-key-env", help="Or the environment variable that holds it.")
@click.option("--new-key-name", help="Its key name; default: that of the old one.")
@click.option("--write", is_flag=True, help="Write the registry too; comments between its entries are lost.")
@job_option
@keys_option
@json_option
def rotate_command(
    use: Use, new_key_file: Path | None, new_key_env: str | None, new_key_name: str | None, write: bool, job: Path,
    keys: Path, as_json: bool,
) -> None:  # fmt: skip
    """Let the log say that a new key follows the configured one, signed by both, and print the registry's entries.

    Then put the new key where the job file looks for it.
    """
    if any(holds_key(str(one)) for one in (new_key_file, new_key_env, new_key_name)):
        raise SigningKeyError(
            "64 hex digits, which may be a private key, where a name or a path belongs. They are not shown",
            where="rotate",
            hint="Put the key into a file of mode 0600 or the environment",
            written=NOTHING_WRITTEN,
        )
    settings = load_settings(job)
    old = _configured(settings, use)
    new = _new_key(old, use, settings, new_key_file, new_key_env, new_key_name)
    registry = load_registry(keys) if keys.exists() or write else KeyRegistry((), str(keys))
    refuse_unfit(old, new, use, registry)
    registered = registry.find(old.key_id.hex())
    if write and registered is None:
        raise KeyRegistryError(
            f"the key {old.key_id.hex()} is not registered", where=str(keys), written=NOTHING_WRITTEN
        )
    done = rotate(settings, old, new, now=now_text())
    entries = done.entries(use, registered)
    if write:
        _rewrite(keys, registry, done, entries)
    click.echo(
        json_text(_rotation_json(done, entries), indent=2) if as_json else _rotation_words(done, entries, keys, write)
    )


def _new_key(
    old: Signer, use: Use, settings: Settings, key_file: Path | None, key_env: str | None, key_name: str | None
) -> Signer:
    """The key that is to follow. Raises SigningKeyError for none, and for one that is for something else."""
    new = load_signer(key_name=key_name or old.key_name, key_env=key_env, key_file=key_file, environ=os.environ)
    if new is None:
        raise SigningKeyError(
            "no new key: give --new-key-file or --new-key-env", where="rotate", written=NOTHING_WRITTEN
        )
    refuse_other_use(new, use, settings)
    other = log_signer_of(settings) if use == "rows" else signer_of(settings)
    if other is not None and other.public_key == new.public_key:
        raise SigningKeyError(
            "the new key is the one that is configured for the other use, and a key is for one thing only",
            where="rotate",
            hint=f"Make another: {keygen_command(new.key_name, use)}",
            written=NOTHING_WRITTEN,
        )
    return new


def _configured(settings: Settings, use: Use) -> Signer:
    signer = signer_of(settings) if use == "rows" else log_signer_of(settings)
    if signer is None:
        section = "signing" if use == "rows" else "sealing"
        raise SigningKeyError(
            f"the job file's {section} section finds no key, and the old key has to sign",
            where="rotate",
            written=NOTHING_WRITTEN,
        )
    return signer


def _rewrite(keys: Path, registry: KeyRegistry, done: Rotation, entries: tuple[RegisteredKey, RegisteredKey]) -> None:
    """Replace the old key's entry and add the new one, all of it or nothing."""
    old, new = entries
    rest = [old if key.key_id == old.key_id else key for key in registry.keys]
    head = [line for line in read_registry(keys).splitlines() if line.startswith("#")]
    text = "\n".join([*head, "keys:"]) + "\n" + "".join(key.as_yaml() for key in [*rest, new])
    try:
        parse_registry(text, str(keys))
        durable.write_durably(keys, text, root=None)
    except ProvenanceError as error:
        raise KeyRegistryError(
            f"{error}\nThe rotation IS in the log, at attestation {done.attestation_id}: do not run it again. The "
            f"registry is as it was: put these entries there by hand, in place of the old key's:\n"
            f"{old.as_yaml()}{new.as_yaml()}"
        ) from None


def _rotation_json(done: Rotation, entries: tuple[RegisteredKey, RegisteredKey]) -> dict[str, Any]:
    return {
        "attestation_id": done.attestation_id, "leaf": done.leaf, "old_vkey": str(done.old), "new_vkey": str(done.new),
        "entries": [entry.model_dump(mode="json") for entry in entries],
    }  # fmt: skip


def _rotation_words(done: Rotation, entries: tuple[RegisteredKey, RegisteredKey], keys: Path, written: bool) -> str:
    where = f"{keys} says so now" if written else f"for {keys}, below keys, in place of the old key's entry"
    head = f"rotated at attestation {done.attestation_id}, leaf {done.leaf}; {where}:"
    return "\n".join([head, *(entry.as_yaml().rstrip("\n") for entry in entries)])
