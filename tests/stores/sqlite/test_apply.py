"""ApplySchema: creates what is missing of the job's own tables, all of it or none, and touches nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from tasks.core.errors import DatabaseError, DriftError, ProvenanceError
from tasks.stores.sqlite.apply import apply_schema, is_applied

METADATA, LOG = "am_fact_metadata", "am_fact_attestation_log"
EVERYTHING = {
    "table am_fact_metadata", "index ix_am_fact_metadata_extracted_at", "index ix_am_fact_metadata_verified_by",
    "index ix_am_fact_metadata_source_doc", "table am_fact_attestation_log", "index ix_am_fact_attestation_log_fact_id",
    "index ix_am_fact_attestation_log_attester", "view v_am_fact_attestation_latest", "view v_am_fact_explainability",
    "table am_backfill_run", "table am_backfill_chunk", "table am_backfill_batch",
    "table am_backfill_reject",
    "table am_attestation_tile", "table am_attestation_checkpoint",
    "index ix_am_backfill_reject_run_id_chunk", "index ix_am_backfill_reject_fact_id",
}  # fmt: skip


def bare(store: Any, *mutations: Any, **options: Any) -> Any:
    """A store with the application's tables and nothing of the job's."""
    return store(*mutations, lambda schema: schema.sidecar_missing(), **options)


def objects(store: Any) -> dict[str, str]:
    """{kind and name: SQL} of everything declared in the file."""
    rows = store.execute("SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return dict(rows)


def test_everything_that_is_missing_is_created_as_the_canonical_schema_says(store: Any, settings: Any) -> None:
    made, canonical = bare(store), store(name="canonical.db")
    applied = apply_schema(settings(made))
    assert set(applied.created) == EVERYTHING
    assert applied.skipped == ()
    assert objects(made) == objects(canonical)


def test_the_job_runs_on_what_was_created(store: Any, settings: Any, run: Any) -> None:
    made = bare(store)
    made.add_fact(1)
    config = settings(made)
    apply_schema(config)
    assert run(config)["rows"]["inserted"] == 1
    assert made.rows("SELECT fact_id, attestation_count FROM v_am_fact_explainability") == [("1", 1)]


def test_a_second_time_does_nothing(store: Any, settings: Any, dump: Any) -> None:
    made = bare(store)
    config = settings(made)
    assert is_applied(config) is False
    apply_schema(config)
    before, version = dump(made.path), made.execute("PRAGMA schema_version")
    again = apply_schema(config)
    assert again.created == ()
    assert is_applied(config) is True
    assert (dump(made.path), made.execute("PRAGMA schema_version")) == (before, version)
    assert list(again.told(config)) == [f"{made.path}: nothing was missing, nothing was created"]


@pytest.mark.parametrize(
    "missing",
    [("am_backfill_run",), ("am_backfill_reject",), (LOG,), (METADATA,), ("v_am_fact_explainability",),
     ("ix_am_fact_metadata_source_doc", "ix_am_backfill_reject_fact_id")],
)  # fmt: skip
def test_only_what_is_missing_is_created_and_no_row_is_touched(
    store: Any, settings: Any, dump: Any, missing: tuple[str, ...]
) -> None:
    made, whole = store(lambda schema: schema.drop(*missing)), store(name="whole.db")
    made.add_fact(1)
    if METADATA not in missing:
        made.add_metadata("1", notes="kept")
    before = dump(made.path)
    created = apply_schema(settings(made)).created
    assert {name.partition(" ")[2] for name in created} >= set(missing)
    assert objects(made) == objects(whole)
    after = dump(made.path)
    assert {table: after[table] for table in before} == before


@pytest.mark.parametrize(
    ("mutate", "said"),
    [
        (lambda s: s.rename_column(METADATA, "ed25519_sig", "signature"), 'no column "ed25519_sig"'),
        (lambda s: s.drop_column(METADATA, "source_doc"), 'no column "source_doc"'),
        (lambda s: s.change_column(METADATA, "fact_id", "fact_id TEXT"), '"fact_id" is not unique'),
        (lambda s: s.rename_column(LOG, "signature_hex", "sig"), 'no column "signature_hex"'),
        (lambda s: s.drop(METADATA).then(f"CREATE VIEW {METADATA} AS SELECT 1 AS fact_id"), "is a view"),
    ],
)
def test_a_table_of_another_shape_is_refused_and_nothing_is_created(
    store: Any, settings: Any, mutate: Any, said: str
) -> None:
    made = store(mutate, lambda schema: schema.drop("am_backfill_run", "am_backfill_chunk"))
    before = objects(made)
    with pytest.raises(DriftError) as caught:
        apply_schema(settings(made))
    assert said in str(caught.value)
    assert str(caught.value).endswith("Nothing was written.")
    assert objects(made) == before


def test_a_metadata_table_that_the_gate_would_refuse_is_refused_here_too(store: Any, settings: Any) -> None:
    made = store(
        lambda schema: schema.replace(METADATA, "BETWEEN 64 AND 96", "= 64"),
        lambda schema: schema.drop("am_backfill_run"),
    )
    with pytest.raises(DriftError, match="CHECK"):
        apply_schema(settings(made))
    assert "table am_backfill_run" not in objects(made)


def test_the_names_of_the_job_file_are_used_for_tables_columns_and_indexes(store: Any, settings: Any, run: Any) -> None:
    made = bare(store)
    made.add_fact(1, source_url="https://a.test/")
    tables = {
        "metadata": {"name": "出所 of facts", "fact_id": "fact", "ed25519_sig": "sig", "source_doc": "created by"},
        "attestation_log": {"name": "select", "attester": "who", "signed_at": "order"},
        "ledger": {"run": "job run", "chunk": 'job "chunk"', "batch": "batches", "reject": "rejected"},
    }
    config = settings(made, tables=tables)
    created = set(apply_schema(config).created)
    assert {"table 出所 of facts", "table select", 'table job "chunk"', "index ix_select_attester",
            "index ix_出所 of facts_source_doc"} <= created  # fmt: skip
    assert not {name for name in created if "am_fact_metadata" in name or "am_backfill" in name}
    assert is_applied(config) is True
    assert run(config)["rows"]["inserted"] == 1
    assert made.rows('SELECT fact, "created by" FROM "出所 of facts"') == [("1", "https://a.test/")]


def test_the_views_are_left_out_with_the_reason_where_the_columns_have_other_names(store: Any, settings: Any) -> None:
    made = bare(store)
    config = settings(made, tables={"metadata": {"fact_id": "fact"}})
    applied = apply_schema(config)
    assert [reason.partition(":")[0] for reason in applied.skipped] == [
        "view v_am_fact_attestation_latest", "view v_am_fact_explainability",
    ]  # fmt: skip
    assert "left out view v_am_fact_explainability: the job file names columns of its own (fact)" in "\n".join(
        applied.told(config)
    )
    assert is_applied(config) is True


def test_two_names_that_are_exchanged_do_not_get_mixed_up(store: Any, settings: Any, run: Any) -> None:
    made = bare(store)
    made.add_fact(1)
    config = settings(made, tables={"metadata": {"name": LOG}, "attestation_log": {"name": METADATA}})
    apply_schema(config)
    assert run(config)["rows"]["inserted"] == 1
    assert made.count(METADATA) == made.count(LOG) == 1


RUN, CHUNK, BATCH = "am_backfill_run", "am_backfill_chunk", "am_backfill_batch"
LATER = {RUN: ("kind", "state", "stop_reason"), CHUNK: ("last_error",)}


def older(store: Any, **options: Any) -> Any:
    """A store with the ledger of the first release: no batches, no kinds or states of a run."""
    fewer = [
        lambda schema, t=table, c=column: schema.drop_column(t, c) for table in LATER for column in LATER[table]
    ]  # fmt: skip
    return store(*fewer, lambda schema: schema.drop(BATCH), **options)


def enter_old_runs(made: Any) -> None:
    columns = {"plan_id": "p", "plan": "{}", "started_at": "t", "attester": "a", "host": "h", "pid": 1}
    for run_id, finished_at in (("r1", "t"), ("r2", None), ("sign-pending:r1", "t")):
        made.insert(RUN, [{"run_id": run_id, "finished_at": finished_at, **columns}])
    made.insert(CHUNK, [{"run_id": "r1", "chunk": 1, "plan_id": "p", "state": "done", "host": "h", "pid": 1,
                         "started_at": "t", "updated_at": "t"}])  # fmt: skip


def test_an_older_ledger_gains_what_it_lacks_and_its_rows_say_what_is_known(
    store: Any, settings: Any, run: Any
) -> None:
    made = older(store)
    made.add_fact(1)
    enter_old_runs(made)
    config = settings(made)
    assert is_applied(config) is False
    applied = apply_schema(config)
    added = {f"column {table}.{column}" for table, columns in LATER.items() for column in columns}
    assert set(applied.created) == {*added, f"table {BATCH}"}
    assert f"{made.path}: created column {RUN}.kind" in list(applied.told(config))
    assert made.rows(f"SELECT run_id, kind, state, stop_reason FROM {RUN} ORDER BY run_id") == [
        ("r1", "backfill", "done", None), ("r2", "backfill", "running", None),
        ("sign-pending:r1", "sign", "done", None),
    ]  # fmt: skip
    assert made.rows(f"SELECT last_error FROM {CHUNK}") == [(None,)]
    assert is_applied(config) is True
    assert run(config)["rows"]["inserted"] == 1
    with pytest.raises(apsw.ConstraintError):
        made.execute(f"UPDATE {RUN} SET state = 'failed'")


def test_batches_that_never_kept_their_content_gain_the_column_and_are_compared_by_counts(
    store: Any, settings: Any, run: Any
) -> None:
    made = store(lambda schema: schema.drop_column(BATCH, "content"))
    made.add_fact(1)
    config = settings(made, rehearsal={"compare": "content"})
    with pytest.raises(DriftError, match="content"):
        run(config)
    assert apply_schema(config).created == (f"column {BATCH}.content",)
    run(config, dry_run=True)
    assert run(config)["dry_run"]["not_compared"] == []
    made.execute(f"UPDATE {BATCH} SET content = NULL")
    (Path(config.state_dir) / "run-1" / "live" / "report.json").unlink()
    assert run(config)["dry_run"]["not_compared"] != []


def test_an_older_ledger_under_names_of_its_own_gains_columns_too(store: Any, settings: Any) -> None:
    made = older(store)
    made.execute(f'ALTER TABLE {RUN} RENAME TO "job ""run"""')
    config = settings(made, tables={"ledger": {"run": 'job "run"'}})
    assert 'column job "run".state' in apply_schema(config).created
    assert is_applied(config) is True


def test_a_ledger_that_cannot_be_mended_gains_nothing(store: Any, settings: Any) -> None:
    made = older(store)
    made.execute(f"ALTER TABLE {RUN} RENAME COLUMN pid TO process")
    before = objects(made)
    with pytest.raises(DriftError, match=r"own table lacks .*pid"):
        apply_schema(settings(made))
    assert objects(made) == before


def test_an_index_on_the_same_columns_is_enough_whatever_its_name(store: Any, settings: Any) -> None:
    made = store(lambda schema: schema.drop("ix_am_fact_metadata_source_doc").then(
        f"CREATE INDEX mine ON {METADATA} (source_doc, verified_by)"))  # fmt: skip
    assert apply_schema(settings(made)).created == ()


def test_an_index_whose_column_is_missing_is_left_out_with_the_reason(store: Any, settings: Any) -> None:
    made = store(lambda s: s.drop_column(LOG, "signed_at"), lambda s: s.drop("v_am_fact_explainability"))
    applied = apply_schema(settings(made))
    assert (
        "index ix_am_fact_attestation_log_fact_id: am_fact_attestation_log has no column signed_at" in applied.skipped
    )
    assert any(reason.startswith("view v_am_fact_explainability: ") for reason in applied.skipped)


@pytest.mark.parametrize("role", ["am_backfill_reject", "ix_am_backfill_reject_fact_id"])
def test_a_name_that_is_taken_leaves_nothing_created(store: Any, settings: Any, role: str) -> None:
    made = bare(store, lambda schema: schema.then(f"CREATE INDEX {role} ON am_source (domain)"))
    before = objects(made)
    with pytest.raises(ProvenanceError, match=rf"{role}.*Nothing was written"):
        apply_schema(settings(made))
    assert objects(made) == before


def test_a_failure_at_the_very_last_object_rolls_everything_back(store: Any, settings: Any) -> None:
    made = bare(store)
    before = objects(made)

    def fail_at_the_last(cursor: Any, sql: str, bindings: Any) -> bool:
        return not sql.startswith("CREATE INDEX ix_am_backfill_reject_fact_id")

    def watch(connection: apsw.Connection) -> None:
        connection.exec_trace = fail_at_the_last

    apsw.connection_hooks.append(watch)
    try:
        with pytest.raises(ProvenanceError):
            apply_schema(settings(made))
    finally:
        apsw.connection_hooks.remove(watch)
    assert objects(made) == before


def test_a_file_that_may_not_be_written_is_refused_without_a_change(store: Any, settings: Any) -> None:
    made = bare(store, journal_mode="delete")
    config = settings(made)
    before = objects(made)
    made.path.chmod(0o444)
    with apsw.Connection(str(made.path)) as probe:
        if not probe.readonly("main"):
            pytest.skip("this user may write to every file")
    with pytest.raises(DatabaseError, match="read-only"):
        apply_schema(config)
    assert objects(made) == before


def test_a_missing_database_is_not_created(tmp_path: Path, store: Any, settings: Any) -> None:
    made = bare(store)
    config = settings(made)
    made.path.unlink()
    with pytest.raises(DatabaseError, match="there is no such file, and it is never created"):
        apply_schema(config)
    assert not made.path.exists()


def test_the_task_says_what_it_did_and_does_nothing_the_second_time(store: Any, luigi: Any) -> None:
    made = bare(store)
    first = luigi("ApplySchema", store=made)
    assert (first.code, first.stdout.count(": created ")) == (0, len(EVERYTHING))
    before = objects(made)
    second = luigi("ApplySchema", store=made)
    assert (second.code, objects(made)) == (0, before)
    assert "created" not in second.stdout
