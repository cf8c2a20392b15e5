"""The binding's digest, by which a run that goes on knows the schema that it was planned on."""

from __future__ import annotations

from typing import Any

from tasks.stores.open import open_store

CANONICAL = "5e50ba323c0d443ff76d891400f441dd9fe9ab9d50c7d55b5dd73ac644ba1fc5"


def test_the_canonical_schema_keeps_its_digest_so_that_a_run_goes_on_with_a_later_version(
    store: Any, settings: Any
) -> None:
    with open_store(settings(store())).session(write=False) as session:
        assert session.binding.digest == CANONICAL
