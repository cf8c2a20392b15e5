"""What an operator should look at although nothing stands in the way: said by the gate, and in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tasks.derivation.times import kind_of
from tasks.job.sections import SealingSettings, SigningSettings
from tasks.job.settings import Settings
from tasks.stores.protocols.health import StoreHealth

_SAMPLE_KEY = SigningSettings.model_fields["key_name"].default
_SAMPLE_LOGS = {SealingSettings.model_fields[name].default for name in ("key_name", "origin")}


def is_sample(settings: Settings) -> bool:
    """Whether the database is one that MakeSample made."""
    return Path(f"{settings.place}.sample.json").is_file()


def store_warnings(session: StoreHealth, settings: Settings, *, signs: bool, seals: bool) -> list[str]:
    """What can be said of a store before a run, a line each. Reads a few hundred facts at most."""
    return [*_of_names(settings, signs=signs, seals=seals), *_of_times(session, settings), *session.own_warnings()]


def outcome_warnings(session: StoreHealth, rows: dict[str, int], rejects: dict[str, int]) -> list[str]:
    """What can be said after a run, or after its rehearsal."""
    found = []
    settled = rows["inserted"] + rows["updated"] + rows["rejected"]
    if rows["rejected"] and rows["rejected"] == settled:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejects.items())
        found.append(f"EVERY FACT that was not done already was rejected: {reasons}")
    if settled and not session.any_source():
        found.append("NO FACT OF THIS STORE HAS A SOURCE: look at tables.facts.source_url and source_id")
    return found


def _of_names(settings: Settings, *, signs: bool, seals: bool) -> Iterator[str]:
    """A name of the sample is nobody's: what is signed under it cannot be told from anybody else's trial."""
    if is_sample(settings):
        return
    if signs and settings.signing.key_name == _SAMPLE_KEY:
        yield (
            f"rows are signed under the key name of the sample, {_SAMPLE_KEY}, and {settings.place} is not the "
            "sample: give your key a name of its own, signing.key_name, before the first signature"
        )
    if seals and _SAMPLE_LOGS & {settings.sealing.key_name, settings.sealing.origin}:
        yield (
            f"the log is sealed under the name of the sample's, {settings.sealing.origin}, and "
            f"{settings.place} is not the sample: give it sealing.origin and key_name of its own before the "
            "first checkpoint"
        )


def times_seen(session: StoreHealth, settings: Settings) -> str:
    """How the times of a sample of facts are written, in words, and how they are read."""
    asked, kinds = settings.derivation.created_at_as, _kinds(session)
    if not kinds:
        return f"times: no fact of the sample has a created_at, it is read as {asked}"
    seen = ", ".join(f"{kind or 'no time that is known'} in {count}" for kind, count in kinds.most_common())
    return f"times: of {kinds.total()} facts with a created_at, {seen}; it is read as {asked}"


def _kinds(session: StoreHealth) -> Counter[str | None]:
    return Counter(kind_of(value) for value in session.created_at_sample() if value is not None)


def _of_times(session: StoreHealth, settings: Settings) -> Iterator[str]:
    asked = settings.derivation.created_at_as
    kinds = _kinds(session)
    others = {kind: count for kind, count in kinds.items() if kind is not None and kind != asked}
    if sum(others.values()) * 2 > kinds.total():
        seen = max(others, key=lambda kind: others[kind])
        yield (
            f"created_at looks like {seen} in {others[seen]} of {kinds.total()} facts, and derivation.created_at_as is "
            f"{asked}: set it to {seen}, or these facts will be rejected"
        )
