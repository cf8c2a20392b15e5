"""The job as it used to be: one fact at a time, every look-up and every write a statement of its own.

    python row_at_a_time.py DATABASE [--dry-run]

1. Read a page of facts in key order, joined with their metadata.
2. For each fact: look up its source, derive its record and encode it with json.dumps; look up its metadata row.
3. Leave it if that row has a source, and only here: everything before is done for every fact, needed or not.
   Otherwise sign (or take the placeholder), upsert the metadata row, insert a log row. So a row whose source stays
   NULL is written and logged again each time.
4. Commit after every thousand facts.

A dry run does all of it but signing and writing. For fairness it uses apsw, whose statement cache keeps every
statement prepared, with the job's connection settings. The key comes from AUTONOMATH_FACT_SIGN_PRIVATE_KEY. Prints
what it did to facts, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import apsw
from connection import connect
from nacl.signing import SigningKey

PAGE_ROWS = 1000
ATTESTER = "etl_prov_backfill_v2"
WIDTH = 0.05

READ_PAGE = """
    SELECT f.id, f.source_id, f.source_url, f.confidence, f.created_at, m.fact_id
      FROM am_entity_facts AS f
      LEFT JOIN am_fact_metadata AS m ON m.fact_id = CAST(f.id AS TEXT)
     WHERE f.id > ? ORDER BY f.id LIMIT ?"""
LOOK_UP_SOURCE = "SELECT source_url FROM am_source WHERE id = ?"
LOOK_UP_METADATA = "SELECT fact_id, source_doc FROM am_fact_metadata WHERE fact_id = ?"
UPSERT_METADATA = """
    INSERT INTO am_fact_metadata (fact_id, source_doc, extracted_at, verified_by, confidence_lower,
                                  confidence_upper, ed25519_sig, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
        ON CONFLICT (fact_id) DO UPDATE
       SET source_doc = excluded.source_doc, extracted_at = excluded.extracted_at,
           verified_by = excluded.verified_by, confidence_lower = excluded.confidence_lower,
           confidence_upper = excluded.confidence_upper, ed25519_sig = excluded.ed25519_sig,
           updated_at = excluded.updated_at"""
INSERT_LOG = """
    INSERT INTO am_fact_attestation_log (fact_id, attester, signed_at, signature_hex)
    VALUES (?, ?, ?, ?)"""


def backfill(connection: apsw.Connection, sign: Callable[[bytes], bytes], *, dry_run: bool) -> Counter[str]:
    """Pass over all facts once. Returns how many were inserted, updated and left unchanged."""
    done = Counter[str](inserted=0, updated=0, unchanged=0)
    last: Any = -(2**63)
    while page := connection.execute(READ_PAGE, (last, PAGE_ROWS)).fetchall():
        if not dry_run:
            connection.execute("BEGIN IMMEDIATE")
        for fact in page:
            outcome, record = _settle(connection, fact)
            done[outcome] += 1
            if record is not None and not dry_run:
                _write(connection, record, sign)
        if not dry_run:
            connection.execute("COMMIT")
        last = page[-1][0]
    return done


def _settle(connection: apsw.Connection, fact: tuple[Any, ...]) -> tuple[str, dict[str, Any] | None]:
    """What becomes of one fact, and its record unless it is left as it is."""
    key, source_id, source_doc, confidence, created_at, _ = fact
    if source_doc is None and source_id is not None:
        source = connection.execute(LOOK_UP_SOURCE, (source_id,)).fetchone()
        source_doc = source[0] if source else None
    record: dict[str, Any] = {
        "fact_id": str(key),
        "source_doc": source_doc,
        "extracted_at": datetime.fromisoformat(created_at).isoformat(timespec="milliseconds") + "Z",
        "verified_by": ATTESTER,
        "confidence_lower": max(0.0, confidence - WIDTH),
        "confidence_upper": min(1.0, confidence + WIDTH),
    }
    payload = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    existing = connection.execute(LOOK_UP_METADATA, (str(key),)).fetchone()
    if existing and existing[1] is not None:
        return "unchanged", None
    return "updated" if existing else "inserted", {**record, "payload": payload}


def _write(connection: apsw.Connection, record: dict[str, Any], sign: Callable[[bytes], bytes]) -> None:
    """Upsert the metadata row, append the log row."""
    signature = sign(record["payload"])
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    connection.execute(
        UPSERT_METADATA,
        (
            record["fact_id"], record["source_doc"], record["extracted_at"], record["verified_by"],
            record["confidence_lower"], record["confidence_upper"], signature, now,
        ),
    )  # fmt: skip
    connection.execute(INSERT_LOG, (record["fact_id"], ATTESTER, now, signature.hex()))


def _signing(seed: str | None) -> Callable[[bytes], bytes]:
    if not seed:
        return lambda payload: bytes(64)
    key = SigningKey(bytes.fromhex(seed))
    return lambda payload: key.sign(payload).signature


def main() -> None:
    parser = argparse.ArgumentParser(description="Backfill one fact at a time, as the job used to.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    sign = _signing(os.environ.get("AUTONOMATH_FACT_SIGN_PRIVATE_KEY"))
    with closing(connect(options.database, write=not options.dry_run)) as connection:
        print(json.dumps(backfill(connection, sign, dry_run=options.dry_run)))


if __name__ == "__main__":
    main()
