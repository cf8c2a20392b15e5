"""What the tests of verification, re-signing and explanation share: stores that were attested, and registries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import KEY_VARIABLE
from support.dying import die_at
from support.keys import Keys
from support.verified import Verified

from tasks.attestation.public_keys import RegisteredKey, load_registry
from tasks.reporting.verification import summarize_verification
from tasks.rows.verify import findings_in, plan_verification, read_findings, verify_in_process


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def registry(tmp_path: Path) -> Callable[..., Path]:
    """`registry(*entries)` writes keys.yaml; without entries it holds the tests' signing key."""

    def write(*entries: RegisteredKey) -> Path:
        path = tmp_path / "keys.yaml"
        path.write_text("keys:\n" + "".join(one.as_yaml() for one in entries or (Keys().entry(),)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def verified(tmp_path: Path, registry: Callable[..., Path]) -> Callable[..., Verified]:
    """`verified(settings, *entries, workers=1, allow_unsigned=False)` verifies every row of the store."""

    def verify(settings: Any, *entries: Any, workers: int = 1, allow_unsigned: bool = False) -> Verified:
        known = load_registry(registry(*entries))
        plan = plan_verification(settings, known, run_id="verify", created_at="2026-11-22T00:00:00.000Z", workers=2)
        verdicts = list(verify_in_process(settings, known, plan, workers=workers, folder=tmp_path / "findings"))
        report = summarize_verification(
            settings, known, plan, verdicts, allow_unsigned=allow_unsigned, finished_at="2026-11-22T00:00:01.000Z"
        )
        files = [findings_in(tmp_path / "findings", chunk.chunk) for chunk in plan.chunks]
        facts = [(f["fact_id"], (f["state"], f["detail"])) for f in read_findings(files, root=tmp_path)]
        assert len(facts) == report.rows - report.states["valid"]
        return Verified(report, {str(fact_id) if isinstance(fact_id, dict) else fact_id: why for fact_id, why in facts})

    return verify


def facts(count: int) -> Iterable[dict[str, Any]]:
    """Sound facts with ids from 1."""
    for number in range(1, count + 1):
        yield {"id": number, "source_url": f"https://例え.jp/{number % 3}", "confidence": number % 10 / 10,
               "created_at": f"2026-05-{number % 28 + 1:02d} 01:02:03"}  # fmt: skip


@pytest.fixture
def attested(store: Any, settings: Any, run: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any]]:
    """`attested(count=12, signed=True)` gives (store, settings) after a run over so many facts.

    The signing key stays configured only where the run was signed.
    """

    def make(count: int = 12, *, signed: bool = True, mutate: Any = None, **sections: Any) -> tuple[Any, Any]:
        made = store(*([mutate] if mutate else []))
        made.add_facts(facts(count))
        loaded = settings(made, small=True, **sections)
        if signed:
            monkeypatch.setenv(KEY_VARIABLE, Keys.seed.hex())
        report = run(loaded)
        assert report["rows"]["inserted"] == count
        return made, loaded

    return make


@pytest.fixture
def sign_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Configure the signing key of a seed."""
    return lambda seed: monkeypatch.setenv(KEY_VARIABLE, seed.hex())


@pytest.fixture
def dies_at() -> Callable[..., None]:
    """`dies_at(point, nth, action)` runs the action in a process that is killed the nth time it comes to the point."""
    return die_at
