"""The reference: one hand-written INSERT … SELECT per table, unsigned, in one transaction.

    python reference.py DATABASE

The least that SQLite can do to bring every fact its metadata row and its log row. It knows that the benchmark's
facts have no oddities, so it has no rejects, no plan, no ledger, no resuming and no signatures. What it writes to
the metadata is the same as what the job writes, and the benchmark checks that. Prints the rows written, as JSON.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from connection import connect

# The facts that have no metadata yet: those that the second statement is about to give one.
APPEND_LOG = """
    INSERT INTO am_fact_attestation_log (fact_id, attester, signed_at, signature_hex)
    SELECT CAST(f.id AS TEXT), 'etl_prov_backfill_v2', :now, :zeros
      FROM am_entity_facts AS f
     WHERE NOT EXISTS (SELECT 1 FROM am_fact_metadata AS m WHERE m.fact_id = CAST(f.id AS TEXT))
     ORDER BY f.id"""

INSERT_METADATA = """
    INSERT INTO am_fact_metadata (fact_id, source_doc, extracted_at, verified_by, confidence_lower,
                                  confidence_upper, ed25519_sig, created_at, updated_at)
    SELECT CAST(f.id AS TEXT),
           coalesce(f.source_url, s.source_url),
           strftime('%Y-%m-%dT%H:%M:%fZ', f.created_at),
           'etl_prov_backfill_v2',
           max(0.0, f.confidence - 0.05),
           min(1.0, f.confidence + 0.05),
           zeroblob(64),
           :now,
           :now
      FROM am_entity_facts AS f
      LEFT JOIN am_source AS s ON s.id = f.source_id
     WHERE NOT EXISTS (SELECT 1 FROM am_fact_metadata AS m WHERE m.fact_id = CAST(f.id AS TEXT))
     ORDER BY f.id"""


def backfill(path: Path) -> dict[str, int]:
    """Write everything and commit once. Returns the rows that each statement wrote."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    written = {}
    with closing(connect(path, write=True)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(APPEND_LOG, {"now": now, "zeros": "0" * 128})
        written["log"] = connection.changes()
        connection.execute(INSERT_METADATA, {"now": now})
        written["inserted"] = connection.changes()
        connection.execute("COMMIT")
    return written


if __name__ == "__main__":
    print(json.dumps(backfill(Path(sys.argv[1]))))
