"""What the tests of the SQLite store share."""

from __future__ import annotations

from typing import Any

import pytest

LOG = "am_fact_attestation_log"


@pytest.fixture
def works(settings: Any, run: Any) -> Any:
    """`works(store)` runs the job dry and live; they must agree and leave nothing but rejects. Gives the report."""

    def check(store: Any, **sections: Any) -> dict[str, Any]:
        config = settings(store, small=True, **sections)
        run(config, dry_run=True)
        report: dict[str, Any] = run(config)
        assert report["dry_run"]["matches"] is True
        assert report["remaining"] == report["rows"]["rejected"]
        written = report["rows"]["inserted"] + report["rows"]["updated"]
        assert store.count(LOG) == written == report["signatures"]["placeholder"]
        return report

    return check
