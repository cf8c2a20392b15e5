"""What the attestation tests share: the published vectors, which are not part of the project."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(os.environ.get("PROVENANCE_VECTORS", Path(__file__).parents[3] / "shared" / "vectors"))


@pytest.fixture(scope="session")
def published() -> Callable[[str], Any]:
    """Load a file of published vectors, or skip the test where it is not at hand."""

    def load(name: str) -> Any:
        path = VECTORS / name
        if not path.exists():
            pytest.skip(f"no published vectors at {path}; PROVENANCE_VECTORS names their folder")
        return json.loads(path.read_text(encoding="utf-8"))

    return load
