"""The contract against real catalogues: what drifted, all of it at once, each with its mend."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contract.catalogue import Index

OPTIONAL = [
    ("am_entity_facts", "source_id"),
    ("am_entity_facts", "source_url"),
    ("am_entity_facts", "confidence"),
    ("am_entity_facts", "created_at"),
    ("am_fact_metadata", "notes"),
    ("am_fact_metadata", "created_at"),
    ("am_fact_metadata", "updated_at"),
    ("am_fact_attestation_log", "signed_at"),
    ("am_fact_attestation_log", "notes"),
]
REQUIRED = [
    ("am_entity_facts", "facts", "key", "id"),
    ("am_source", "source", "key", "id"),
    ("am_source", "source", "source_url", "source_url"),
    ("am_fact_metadata", "metadata", "fact_id", "fact_id"),
    ("am_fact_metadata", "metadata", "source_doc", "source_doc"),
    ("am_fact_metadata", "metadata", "extracted_at", "extracted_at"),
    ("am_fact_metadata", "metadata", "verified_by", "verified_by"),
    ("am_fact_metadata", "metadata", "confidence_lower", "confidence_lower"),
    ("am_fact_metadata", "metadata", "confidence_upper", "confidence_upper"),
    ("am_fact_metadata", "metadata", "ed25519_sig", "ed25519_sig"),
    ("am_fact_attestation_log", "attestation_log", "attestation_id", "attestation_id"),
    ("am_fact_attestation_log", "attestation_log", "fact_id", "fact_id"),
    ("am_fact_attestation_log", "attestation_log", "attester", "attester"),
    ("am_fact_attestation_log", "attestation_log", "signature_hex", "signature_hex"),
]


def fill(store: Any, *, without: str = "") -> None:
    """Three facts, with every column but `without`: one with a source by id, one by URL, one with metadata."""
    facts = [
        {"id": 1, "source_id": 1, "confidence": 0.5, "created_at": "2026-05-12"},
        {"id": 2, "source_url": "https://own.test/", "confidence": 0.9},
        {"id": 3, "source_id": 1, "created_at": "2026-05-12 01:02"},
    ]
    store.add_source(1, "https://source.test/")
    store.add_facts([{name: value for name, value in fact.items() if name not in without.split()} for fact in facts])
    store.add_metadata("3")


# -- the incident --------------------------------------------------------------------------------------


def test_the_incident_a_job_file_that_says_fact_id_where_the_key_is_id(store: Any, settings: Any, drift: Any) -> None:
    message = drift(settings(store(), tables={"facts": {"key": "fact_id"}}))
    assert 'am_entity_facts: no column "fact_id" (contract: tables.facts.key' in message
    assert 'Its primary key is "id": set key: id.' in message
    assert "store.yaml line 5" in message


def test_the_incident_the_other_way_round(store: Any, settings: Any, drift: Any) -> None:
    made = store(lambda schema: schema.rename_column("am_entity_facts", "id", "fact_id"))
    message = drift(settings(made))
    assert 'am_entity_facts: no column "id"' in message
    assert 'Its primary key is "fact_id": set key: fact_id.' in message


@pytest.mark.parametrize(
    ("role", "said", "real", "mend"),
    [
        ("source_url", "url", "source_url", 'Did you mean "source_url"? Set source_url: source_url.'),
        ("key", "source_id", "id", 'Its primary key is "id": set key: id.'),
    ],
)
def test_the_incidents_hidden_drift_in_the_job_file(
    store: Any, settings: Any, drift: Any, role: str, said: str, real: str, mend: str
) -> None:
    message = drift(settings(store(), tables={"source": {role: said}}))
    assert f'am_source: no column "{said}" (contract: tables.source.{role}' in message
    assert mend in message
    assert real in message


@pytest.mark.parametrize(
    ("role", "canonical", "real", "mend"),
    [
        ("source_url", "source_url", "url", 'Did you mean "url"? Set source_url: url.'),
        ("key", "id", "source_id", 'Its primary key is "source_id": set key: source_id.'),
    ],
)
def test_the_incidents_hidden_drift_in_the_database(
    store: Any, settings: Any, drift: Any, role: str, canonical: str, real: str, mend: str
) -> None:
    message = drift(settings(store(lambda schema: schema.rename_column("am_source", canonical, real))))
    assert f'am_source: no column "{canonical}" (contract: tables.source.{role}' in message
    assert mend in message


def test_the_mend_of_the_incident_works(store: Any, settings: Any, run: Any) -> None:
    made = store(
        lambda schema: schema.rename_column("am_entity_facts", "id", "fact_id"),
        lambda schema: schema.rename_column("am_source", "source_url", "url"),
        lambda schema: schema.rename_column("am_source", "id", "source_id"),
    )
    made.insert("am_source", [{"source_id": 7, "url": "https://a.test/"}])
    made.insert("am_entity_facts", [{"fact_id": 1, "entity_id": "e", "field_name": "f", "source_id": 7}])
    tables = {"facts": {"key": "fact_id"}, "source": {"key": "source_id", "source_url": "url"}}
    assert run(settings(made, tables=tables))["rows"]["inserted"] == 1
    assert made.metadata()["1"]["source_doc"] == "https://a.test/"


def test_all_drift_is_told_at_once(store: Any, settings: Any, drift: Any) -> None:
    made = store(
        lambda schema: schema.rename_column("am_entity_facts", "id", "fact_id"),
        lambda schema: schema.rename_column("am_source", "source_url", "url"),
        lambda schema: schema.rename_column("am_source", "id", "source_id"),
        lambda schema: schema.drop_column("am_fact_metadata", "verified_by"),
        lambda schema: schema.drop("am_fact_attestation_log", "am_backfill_run"),
    )
    message = drift(settings(made, tables={"facts": {"confidence": "score"}}))
    assert message.startswith("7 things to mend:\n")
    for seen in ('no column "id"', 'no column "source_url"', 'no column "score"', 'no column "verified_by"',
                 "am_fact_attestation_log: no such table", "am_backfill_run: no such table"):  # fmt: skip
        assert seen in message
    assert len(message.splitlines()) == 9


# -- columns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "role", "column_role", "column"), REQUIRED)
def test_a_required_column_that_is_missing_is_refused_by_name(
    store: Any, settings: Any, drift: Any, table: str, role: str, column_role: str, column: str
) -> None:
    message = drift(settings(store(lambda schema: schema.rename_column(table, column, "zzz"))))
    assert f'{table}: no column "{column}" (contract: tables.{role}.{column_role}' in message


@pytest.mark.parametrize(("table", "column"), OPTIONAL)
def test_each_optional_column_may_be_missing(store: Any, settings: Any, run: Any, table: str, column: str) -> None:
    made = store(lambda schema: schema.drop_column(table, column))
    fill(made, without=column if table == "am_entity_facts" else "")
    config = settings(made)
    run(config, dry_run=True)
    report = run(config)
    assert report["dry_run"]["matches"] is True
    assert (report["rows"]["eligible"], report["remaining"]) == (3, 0)
    assert len(made.log()) == report["rows"]["inserted"] + report["rows"]["updated"]
    mentioned = " ".join(report["absences"])
    assert (f'{table} has no column "{column}", which is optional' in mentioned) == (
        (table, column) != ("am_fact_metadata", "notes")
    )


def test_all_optional_columns_may_be_missing_at_once(store: Any, settings: Any, run: Any, created_at: str) -> None:
    made = store(
        *(lambda schema, t=table, c=column: schema.drop_column(t, c) for table, column in OPTIONAL),
        lambda schema: schema.drop("am_source"),
    )
    made.add_facts([{"id": 1}, {"id": 2}])
    made.add_metadata("2")
    config = settings(made)
    run(config, dry_run=True)
    report = run(config)
    assert report["dry_run"]["matches"] is True
    assert report["rows"] == {"eligible": 2, "inserted": 1, "updated": 0, "unchanged": 1, "rejected": 0}
    assert made.metadata()["1"]["extracted_at"] == created_at
    assert "every source_doc will be NULL" in " ".join(report["absences"])


@pytest.mark.parametrize(
    ("role", "column"),
    [("facts", "source_id"), ("facts", "source_url"), ("facts", "confidence"), ("facts", "created_at"),
     ("metadata", "created_at"), ("metadata", "updated_at"), ("attestation_log", "signed_at")],
)  # fmt: skip
def test_an_optional_column_that_the_operator_named_must_exist(
    store: Any, settings: Any, drift: Any, role: str, column: str
) -> None:
    message = drift(settings(store(), tables={role: {column: f"{column}x"}}))
    assert f'no column "{column}x" (contract: tables.{role}.{column}' in message
    assert f'Did you mean "{column}"? Set {column}: {column}.' in message


def test_an_optional_column_that_is_switched_off_is_not_read(
    store: Any, settings: Any, run: Any, created_at: str
) -> None:
    made = store()
    fill(made)
    off = dict.fromkeys(("source_id", "source_url", "confidence", "created_at"))
    report = run(settings(made, tables={"facts": off}))
    assert report["rows"] == {"eligible": 3, "inserted": 2, "updated": 0, "unchanged": 1, "rejected": 0}
    row = made.metadata()["1"]
    assert (row["source_doc"], row["extracted_at"], row["confidence_lower"]) == (None, created_at, None)


def test_a_missing_optional_column_with_a_likely_other_name_is_pointed_out_but_never_guessed(
    store: Any, settings: Any, run: Any
) -> None:
    made = store(lambda schema: schema.rename_column("am_entity_facts", "confidence", "confidence_score"))
    made.insert("am_entity_facts", [{"id": 1, "entity_id": "e", "field_name": "f", "confidence_score": 0.5}])
    report = run(settings(made))
    assert 'if "confidence_score" is meant, set tables.facts.confidence: confidence_score' in report["absences"][0]
    assert made.metadata()["1"]["confidence_lower"] is None


@pytest.mark.parametrize(
    "tables",
    [
        {"metadata": {"created_at": "extracted_at"}},
        {"metadata": {"updated_at": "extracted_at"}},
        {"metadata": {"verified_by": "source_doc"}},
        {"metadata": {"created_at": "updated_at"}},
        {"attestation_log": {"attester": "fact_id"}},
        {"attestation_log": {"signed_at": "signature_hex"}},
    ],
)
def test_two_roles_in_one_column_are_refused(
    store: Any, settings: Any, drift: Any, tables: dict[str, dict[str, str]]
) -> None:
    ((role, columns),) = tables.items()
    message = drift(settings(store(), tables=tables))
    assert f'"{next(iter(columns.values()))}"' in message
    assert f"tables.{role}." in message


# -- tables --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "role"),
    [("am_fact_metadata", "metadata.name"), ("am_fact_attestation_log", "attestation_log.name"),
     ("am_backfill_run", "ledger.run"), ("am_backfill_chunk", "ledger.chunk"),
     ("am_backfill_batch", "ledger.batch"), ("am_backfill_reject", "ledger.reject")],
)  # fmt: skip
def test_a_missing_table_of_the_jobs_own_points_to_apply_schema(
    store: Any, settings: Any, drift: Any, table: str, role: str
) -> None:
    message = drift(settings(store(lambda schema: schema.drop(table))))
    assert f"{table}: no such table (contract: tables.{role}" in message
    assert "luigi --module tasks ApplySchema" in message


def test_a_missing_table_of_the_application_is_met_with_the_likeliest_other_name(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(lambda schema: schema.rename_table("am_entity_facts", "am_entity_fact"))
    message = drift(settings(made))
    assert "am_entity_facts: no such table (contract: tables.facts.name" in message
    assert 'Did you mean "am_entity_fact"? Set tables.facts.name: am_entity_fact.' in message
    assert "ApplySchema" not in message


def test_a_source_table_is_needed_where_the_facts_point_to_one(store: Any, settings: Any, drift: Any, run: Any) -> None:
    without = store(lambda schema: schema.drop("am_source"))
    assert "am_source: no such table" in drift(settings(without))
    assert run(settings(without, tables={"facts": {"source_id": None}}))["rows"]["eligible"] == 0


def test_an_empty_database_is_drift_not_a_crash(store: Any, settings: Any, drift: Any) -> None:
    tables = [f"am_{name}" for name in ("source", "entity_facts", "fact_metadata", "fact_attestation_log",
              "fact_signature", "backfill_run", "backfill_chunk", "backfill_reject")]  # fmt: skip
    message = drift(settings(store(lambda schema: schema.drop(*tables))))
    assert "am_entity_facts: no such table" in message
    assert "ApplySchema" in message


@pytest.mark.parametrize(
    ("tables", "both"),
    [
        ({"metadata": {"name": "am_entity_facts"}}, ("tables.facts.name", "tables.metadata.name")),
        ({"metadata": {"name": "AM_Entity_Facts"}}, ("tables.facts.name", "tables.metadata.name")),
        ({"attestation_log": {"name": "am_fact_metadata"}}, ("tables.metadata.name", "tables.attestation_log.name")),
        ({"ledger": {"run": "am_source"}}, ("tables.source.name", "tables.ledger.run")),
        ({"ledger": {"reject": "am_backfill_chunk"}}, ("tables.ledger.chunk", "tables.ledger.reject")),
    ],
)
def test_two_roles_in_one_table_are_refused(
    store: Any, settings: Any, drift: Any, tables: dict[str, dict[str, str]], both: tuple[str, str]
) -> None:
    assert f"named for two roles, {both[0]} and {both[1]}" in drift(settings(store(), tables=tables))


def test_a_ledger_table_of_another_shape_is_refused_with_what_it_lacks(store: Any, settings: Any, drift: Any) -> None:
    made = store(
        lambda schema: schema.rename_column("am_backfill_chunk", "cursor", "position"),
        lambda schema: schema.rename_column("am_backfill_chunk", "pid", "process"),
    )
    message = drift(settings(made))
    assert "am_backfill_chunk: the job's own table lacks cursor, pid (contract: tables.ledger.chunk" in message
    assert "Set tables.ledger.chunk to a name that is free" in message


def test_a_ledger_of_an_older_release_is_refused_with_the_command_that_mends_it(
    store: Any, settings: Any, drift: Any
) -> None:
    made = store(
        lambda schema: schema.drop_column("am_backfill_run", "kind"),
        lambda schema: schema.drop_column("am_backfill_run", "state"),
        lambda schema: schema.drop_column("am_backfill_chunk", "last_error"),
    )
    message = drift(settings(made))
    assert "am_backfill_run: is of an older release of this job, and lacks kind, state (contract: tables.led" in message
    assert "am_backfill_chunk: is of an older release of this job, and lacks last_error" in message
    assert "Add what it lacks with `luigi --module tasks ApplySchema" in message


# -- names ---------------------------------------------------------------------------------------------

ODD_NAMES = [
    "two words", 'a "quoted" one', "it's", "select", "from", "order", "表の名前", "emoji 🚀", "semi;colon",
    "dash-dash --", "/* comment */", "brackets []", "per%cent", "back\\slash", "new\nline", "dot.ted", "1digit",
    "Ünïcode", "what?", ":colon", "@at", "$dollar", "?1", "f", "m", "s", "b", "r", "rowid_", "(paren", "a,b",
    "`tick`", " lead", "DESC",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_tables_and_columns_may_have_any_name(store: Any, settings: Any, run: Any, name: str) -> None:
    columns = [
        ("am_entity_facts", "facts", "key", "id"), ("am_entity_facts", "facts", "source_id", "source_id"),
        ("am_entity_facts", "facts", "created_at", "created_at"), ("am_source", "source", "key", "id"),
        ("am_source", "source", "source_url", "source_url"), ("am_fact_metadata", "metadata", "fact_id", "fact_id"),
        ("am_fact_metadata", "metadata", "source_doc", "source_doc"),
        ("am_fact_metadata", "metadata", "updated_at", "updated_at"),
        ("am_fact_attestation_log", "attestation_log", "attester", "attester"),
    ]  # fmt: skip
    tables = {"facts": "am_entity_facts", "source": "am_source", "metadata": "am_fact_metadata",
              "attestation_log": "am_fact_attestation_log"}  # fmt: skip
    named: dict[str, dict[str, str]] = {role: {"name": f"{name}{role}"} for role in tables}
    mutations = []
    for table, role, column_role, column in columns:
        named[role][column_role] = f"{name}{column_role}"
        mutations.append(lambda schema, t=table, c=column, n=f"{name}{column_role}": schema.rename_column(t, c, n))
    for role, table in tables.items():
        mutations.append(lambda schema, t=table, n=f"{name}{role}": schema.rename_table(t, n))
    named["ledger"] = {"run": f"{name}run", "chunk": f"{name}chunk", "reject": name}
    for role in ("run", "chunk"):
        mutations.append(lambda schema, r=role: schema.rename_table(f"am_backfill_{r}", f"{name}{r}"))
    mutations.append(lambda schema: schema.rename_table("am_backfill_reject", name))
    made = store(*mutations)
    made.insert(f"{name}source", [{f"{name}key": 1, f"{name}source_url": "https://a.test/"}])
    common = {"entity_id": "e", "field_name": "f", f"{name}source_id": 1}
    made.insert(f"{name}facts", [{f"{name}key": 1, **common}, {f"{name}key": 2, **common, f"{name}created_at": "no"}])
    config = settings(made, tables=named)
    run(config, dry_run=True)
    report = run(config)
    assert report["dry_run"]["matches"] is True
    assert (report["rows"]["inserted"], report["rows"]["rejected"]) == (1, 1)
    assert made.count(f"{name}attestation_log") == 1


def test_names_are_looked_up_as_sqlite_does_regardless_of_case(store: Any, settings: Any, run: Any) -> None:
    made = store(
        lambda schema: schema.rename_column("am_entity_facts", "source_id", "Source_ID"),
        lambda schema: schema.rename_table("am_entity_facts", "AM_ENTITY_FACTS"),
        lambda schema: schema.rename_table("am_fact_metadata", "Am_Fact_Metadata"),
    )
    fill(made)
    tables = {"facts": {"key": "ID", "confidence": "CONFIDENCE"}, "source": {"name": "AM_SOURCE", "key": "Id"}}
    report = run(settings(made, tables=tables))
    assert (report["rows"]["inserted"], report["rows"]["updated"]) == (2, 1)


# -- the values themselves -----------------------------------------------------------------------------


def test_only_a_plain_unique_index_on_one_column_guarantees_that_it_never_repeats() -> None:
    assert Index("i", unique=True, partial=False, columns=("id",), collations=("BINARY",)).is_unique_on("id")
    for wrong in (
        Index("i", unique=False, partial=False, columns=("id",)),
        Index("i", unique=True, partial=True, columns=("id",)),
        Index("i", unique=True, partial=False, columns=("id", "x")),
        Index("i", unique=True, partial=False, columns=(None,)),
        Index("i", unique=True, partial=False, columns=("id",), collations=("NOCASE",)),
    ):
        assert not wrong.is_unique_on("id")
