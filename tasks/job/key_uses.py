"""Whether a key may sign for this store and this log: asked before each use, of what no job file can change.

A job file names a key, a database and an origin; whoever hands one to a process that holds a key would have anything
signed. So a key can be bound to its stores and logs in three places that are not his: the environment, the key file,
and the key's entry in config/keys.yaml. Where several speak, all must agree. A key of which none speaks signs for any
store, unless PROVENANCE_REQUIRE_BOUND_KEYS is 1.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from tasks.attestation.key_bindings import SUFFIX, KeyBinding
from tasks.attestation.public_keys import DEFAULT_REGISTRY, KeyRegistry, Use, load_registry
from tasks.attestation.signer import Signer
from tasks.core.errors import NOTHING_WRITTEN, SigningKeyError
from tasks.core.terminal import printable
from tasks.job.settings import Settings

REQUIRE_VARIABLE: Final = "PROVENANCE_REQUIRE_BOUND_KEYS"


def refuse_other_use(signer: Signer, use: Use, settings: Settings, *, environ: Mapping[str, str] = os.environ) -> None:
    """Raise SigningKeyError if a key is bound to other stores or logs than those of the job file.

    A key for rows must name the store; one for checkpoints the log, and the store if it names any. A key that names
    nothing may sign for all, or nothing if the environment asks for bound keys. Raises KeyRegistryError if there is a
    registry, and it cannot be read: it may bind the key.
    """
    found, called = bindings_of(signer), _called(signer, use)
    if _bound_keys_are_required(environ) and not _is_tied_to_a_store(found):
        raise SigningKeyError(
            f"it is bound to no store, and {REQUIRE_VARIABLE} is 1",
            where=called,
            hint=how_to_bind(settings, use),
            written=NOTHING_WRITTEN,
        )
    for binding in found:
        for objection in _objections(binding, use, settings):
            raise SigningKeyError(
                f"{binding.source} binds it to {objection}",
                where=called,
                hint="It signs nothing there: take the key that was made for it, or, if this one may sign "
                f"there too, say so in {binding.source}",
                written=NOTHING_WRITTEN,
            )


def _objections(binding: KeyBinding, use: Use, settings: Settings) -> Iterator[str]:
    """Seen against expected, for each thing that the binding does not name."""
    job, database = settings.job_file, settings.place.absolute
    if (use == "rows" or binding.stores) and not binding.names_store(database):
        yield f"{binding.named('store')}, and the database of {job} is {printable(database)}"
    if use == "checkpoints" and settings.sealing.origin not in binding.logs:
        yield f"{binding.named('log')}, and sealing.origin of {job} is {settings.sealing.origin}"


def refuse_other_store(opened: str, *signers: Signer | None) -> None:
    """Hold keys that were taken against the store that was opened: a link may have been turned in between.

    Raises SigningKeyError, before anything is signed.
    """
    for signer in filter(None, signers):
        for binding in bindings_of(signer):
            if binding.stores and not binding.names_store(opened):
                raise SigningKeyError(
                    f"{binding.source} binds it to {binding.named('store')}, and the file that was opened is "
                    f"{printable(opened)}: a link on the way to it was turned meanwhile",
                    where=f"key {signer.key_id.hex()} ({signer.key_name})",
                    written=NOTHING_WRITTEN,
                )


def bindings_of(signer: Signer) -> tuple[KeyBinding, ...]:
    """What is said of the key, beside it and in the registry of the folder that the process runs in."""
    entry = next((one for one in _registry().keys if one.key.public_key == signer.public_key), None)
    registered = entry.binding(DEFAULT_REGISTRY) if entry else None
    return tuple(binding for binding in (signer.binding, registered) if binding)


def unbound_words(settings: Settings, keys: Mapping[Use, Signer | None]) -> list[str]:
    """One line for a key, or both, that would sign for any store."""
    free = {use: key for use, key in keys.items() if key and not _is_tied_to_a_store(bindings_of(key))}
    if not free:
        return []
    named = " and ".join(_called(key, use) for use, key in free.items())
    return [
        f"{named}: bound to no store, so that any job file that reaches a process with the key has anything signed. "
        f"{how_to_bind(settings, *free)}"
    ]


def how_to_bind(settings: Settings, *uses: Use) -> str:
    """The next step, ready to be copied."""
    steps = [_step(settings, use) for use in uses]
    return f"Bind it: {'; '.join(steps)}."


def _step(settings: Settings, use: Use) -> str:
    section = settings.signing if use == "rows" else settings.sealing
    names = {"store": printable(settings.place.absolute)}
    if use == "checkpoints":
        names["log"] = settings.sealing.origin
    if section.key_file:
        lines = " and ".join(f"`{kind}: {name}`" for kind, name in names.items())
        return f"put {lines} below the key in {section.key_file}"
    items = ";".join(f"{kind}={name}" for kind, name in names.items())
    return f"set {section.key_env}{SUFFIX}={shlex.quote(items)}"


def _is_tied_to_a_store(bindings: tuple[KeyBinding, ...]) -> bool:
    return any(binding.stores for binding in bindings)


def _called(signer: Signer, use: Use) -> str:
    return f"{'signing' if use == 'rows' else 'sealing'} key {signer.key_id.hex()} ({signer.key_name})"


def _bound_keys_are_required(environ: Mapping[str, str]) -> bool:
    value = environ.get(REQUIRE_VARIABLE, "0")
    if value not in ("0", "1"):
        raise SigningKeyError(f"{REQUIRE_VARIABLE} is neither 0 nor 1", written=NOTHING_WRITTEN)
    return value == "1"


def _registry() -> KeyRegistry:
    """The registry, or an empty one where there is none."""
    try:
        status = Path(DEFAULT_REGISTRY).stat()
    except FileNotFoundError:
        return KeyRegistry(())
    return _loaded(os.path.realpath(DEFAULT_REGISTRY), (status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=2)
def _loaded(path: str, version: tuple[int, int, int]) -> KeyRegistry:
    """Every chunk asks; the version tells one state of the file from the next."""
    return load_registry(Path(path))
