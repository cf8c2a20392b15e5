"""The application that lives on the same database: a program for the tests, not a test.

    python application.py DATABASE STOP FIRST_ID

Until the file STOP is there it inserts facts from FIRST_ID on, changes facts, writes metadata of its own for facts
that have none, and now and then keeps the write lock for a short while. Prints the ids that it attested itself.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import apsw


def attest(connection: apsw.Connection, fact_id: int) -> bool:
    """Write a metadata row unless there is one. It has a source, so the job must leave it alone."""
    connection.execute(
        "INSERT INTO am_fact_metadata (fact_id, source_doc, extracted_at, verified_by, ed25519_sig) "
        "SELECT id, 'https://application.test/', '2026-02-02T00:00:00.000Z', 'application', zeroblob(64) "
        "FROM am_entity_facts WHERE id = ? ON CONFLICT (fact_id) DO NOTHING",
        (fact_id,),
    )
    return connection.changes() == 1


def live(database: str, stop: Path, first_id: int) -> list[int]:
    connection = apsw.Connection(database, flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(20_000)
    chance, attested, next_id = random.Random(11), [], first_id
    while not stop.exists():
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO am_entity_facts (id, entity_id, field_name, source_url, created_at) VALUES "
            "(?, 'application', 'new', 'https://application.test/new', '2026-03-03')",
            (next_id,),
        )
        next_id += 1
        connection.execute(
            "UPDATE am_entity_facts SET confidence = 0.5 WHERE id = ? AND confidence > 0.5 AND confidence < 0.99",
            (chance.randrange(1, first_id),),
        )
        fact_id = chance.randrange(1, first_id)
        if attest(connection, fact_id):
            attested.append(fact_id)
        time.sleep(chance.choice((0, 0, 0.002, 0.03)))
        connection.execute("COMMIT")
        time.sleep(0.004)
    connection.close()
    return attested


if __name__ == "__main__":
    print(*live(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
