"""How long it takes to explain one fact, in a process that has started.

    python explain_time.py DATABASE VKEY COUNT

Opens the database anew for each of COUNT facts that are spread over all of it, as an API would that keeps no
connection: once for the chain and the state of its row, once for the envelope. Prints milliseconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing

import apsw

from tasks.attestation.log.notes import VerifierKey
from tasks.attestation.public_keys import KeyRegistry, entry_for
from tasks.explain import lookup
from tasks.job.settings import Settings
from tasks.rows.explain import explain
from tasks.stores.sqlite.attestations import open_attestations


def measure(database: str, vkey: str, count: int) -> dict[str, float]:
    """The slowest and the median explanation, and the slowest envelope, in milliseconds."""
    registry = KeyRegistry((entry_for(VerifierKey.parse(vkey), "rows"),), "the command line")
    settings = Settings(database=database, state_dir="unused")
    explained, looked_up = [], []
    for fact_id in _spread(database, count):
        started = time.perf_counter()
        with open_attestations(settings) as reader:
            found = explain(reader, registry, fact_id)
        explained.append(time.perf_counter() - started)
        assert found is not None and found.finding is None, fact_id
        started = time.perf_counter()
        with closing(apsw.Connection(database, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            known = lookup([fact_id], connection=connection)
        looked_up.append(time.perf_counter() - started)
        assert [fact["fact_id"] for fact in known] == [fact_id]
    explained.sort()
    return {
        "facts": count,
        "slowest_ms": max(*explained, *looked_up) * 1000,
        "median_ms": explained[count // 2] * 1000,
        "envelope_ms": max(looked_up) * 1000,
    }


def _spread(database: str, count: int) -> list[str]:
    """The ids of facts from everywhere in the metadata."""
    with closing(apsw.Connection(database, flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        highest: int = connection.execute("SELECT max(rowid) FROM am_fact_metadata").get
        query = "SELECT fact_id FROM am_fact_metadata WHERE rowid >= ? LIMIT 1"
        return [connection.execute(query, (1 + number * highest // count,)).get for number in range(count)]


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
