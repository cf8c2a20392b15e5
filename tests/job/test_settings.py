"""The job file: what it may say, and what is said about a wrong one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.errors import JobFileError
from tasks.job.settings import Settings, load_settings

SHIPPED = Path(__file__).parents[2] / "config" / "backfill.yaml"
MINIMAL = "database: store.db\nstate_dir: state\n"
SECRET = "5e" * 32


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """`load(text, NAME=value, ...)` reads a job file of that text in that environment."""

    def read(text: str, **environ: str) -> Settings:
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environ)

    return read


def refusal(load: Any, text: str, **environ: str) -> str:
    with pytest.raises(JobFileError) as caught:
        load(text, **environ)
    message = str(caught.value)
    assert message.endswith("Nothing was written.")
    return message


def test_a_job_file_with_two_lines_gets_every_other_value_from_the_defaults(load: Any) -> None:
    settings = load(MINIMAL)
    assert settings.tables.facts.key == "id"
    assert settings.derivation.attester == "etl_prov_backfill_v2"
    assert settings.derivation.confidence_width == 0.05
    assert settings.signing.key_env == "AUTONOMATH_FACT_SIGN_PRIVATE_KEY"


def test_the_shipped_job_file_says_what_the_defaults_say() -> None:
    shipped = load_settings(SHIPPED, {})
    assert (shipped.database, shipped.state_dir) == ("var/sample.db", "var/runs")
    assert shipped == Settings(
        database="var/sample.db", state_dir="var/runs", job_file=shipped.job_file, key_lines=shipped.key_lines
    )


def test_the_shipped_job_file_names_every_key_there_is() -> None:
    def keys(value: Any, prefix: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {prefix}
        return set().union(*(keys(v, f"{prefix}.{k}") for k, v in value.items()))

    written = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    assert keys(written) == keys(load_settings(SHIPPED, {}).model_dump())


def test_the_shipped_job_file_takes_database_and_state_from_the_environment() -> None:
    settings = load_settings(SHIPPED, {"AUTONOMATH_DB_PATH": "/data/x.db", "PROVENANCE_STATE_DIR": "/data/runs"})
    assert (settings.database, settings.state_dir) == ("/data/x.db", "/data/runs")


@pytest.mark.parametrize(
    ("value", "environ", "expected"),
    [
        ("${DB}", {"DB": "a.db"}, "a.db"),
        ("${DB:-b.db}", {}, "b.db"),
        ("${DB:-b.db}", {"DB": ""}, "b.db"),
        ("${DB:-b.db}", {"DB": "a.db"}, "a.db"),
        ("${DIR:-x}/${NAME}.db", {"NAME": "y"}, "x/y.db"),
        ("${DB}", {"DB": "${OTHER}"}, "${OTHER}"),
        ("${DB}", {"DB": "20261122"}, "20261122"),
        ("${DB}", {"DB": "null"}, "null"),
        ("${DB}", {"DB": "補助 金.db"}, "補助 金.db"),
        ("${DB}", {"DB": "C:\\x: # y.db"}, "C:\\x: # y.db"),
    ],
)
def test_a_variable_is_replaced_by_its_value_as_it_is(
    load: Any, value: str, environ: dict[str, str], expected: str
) -> None:
    assert load(f"database: {value}\nstate_dir: s\n", **environ).database == expected


def test_a_number_from_the_environment_is_a_number_unless_it_is_quoted(load: Any) -> None:
    text = MINIMAL + "pacing:\n  batch_rows: ${ROWS}\nderivation:\n  attester: '${WHO}'\n"
    settings = load(text, ROWS="500", WHO="007")
    assert (settings.pacing.batch_rows, settings.derivation.attester) == (500, "007")


def test_a_column_can_be_switched_off_from_the_environment(load: Any) -> None:
    text = MINIMAL + "tables:\n  facts:\n    confidence: ${COLUMN:-}\n"
    assert load(text).tables.facts.confidence is None


def test_a_variable_that_is_not_set_is_named_with_its_key_and_line(load: Any) -> None:
    message = refusal(load, "state_dir: s\ndatabase: ${NO_SUCH_NAME}\n")
    assert "line 2: database needs the environment variable NO_SUCH_NAME" in message
    assert "${NO_SUCH_NAME:-default}" in message


@pytest.mark.parametrize("value", ["${}", "${1A}", "${A", "${A-b}", "x${A:+b}"])
def test_something_that_only_looks_like_a_variable_is_refused_with_its_line(load: Any, value: str) -> None:
    assert "line 1: database:" in refusal(load, f'database: "{value}"\nstate_dir: s\n', A="1")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("pacing:\n  bach_rows: 5\n", 4, 'unknown key "pacing.bach_rows", did you mean "batch_rows"?'),
        ("tables:\n  facts:\n    kye: id\n", 5, 'unknown key "tables.facts.kye", did you mean "key"?'),
        ("tabels:\n  facts:\n", 3, 'unknown key "tabels", did you mean "tables"?'),
        (
            "tables:\n  ledger:\n    zzz: x\n",
            5,
            'unknown key "tables.ledger.zzz" (known here: run, chunk, batch, reject, tile, checkpoint)',
        ),
        ("job_file: x\n", 3, 'unknown key "job_file"'),
        ("key_lines: {}\n", 3, 'unknown key "key_lines"'),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_what_was_meant(load: Any, text: str, line: int, said: str) -> None:
    assert f"line {line}: {said}" in refusal(load, MINIMAL + text)


@pytest.mark.parametrize(
    ("text", "line", "key", "seen"),
    [
        ("pacing:\n  batch_rows: many\n", 4, "pacing.batch_rows", "'many'"),
        ("pacing:\n  batch_rows: 0\n", 4, "pacing.batch_rows", "0"),
        ("pacing:\n  batch_rows: 1.5\n", 4, "pacing.batch_rows", "1.5"),
        ("pacing:\n  batch_rows: true\n", 4, "pacing.batch_rows", "True"),
        ("pacing:\n  chunk_rows: -1\n", 4, "pacing.chunk_rows", "-1"),
        ("pacing:\n  lock_timeout_seconds: .inf\n", 4, "pacing.lock_timeout_seconds", "inf"),
        ("derivation:\n  confidence_width: 1.5\n", 4, "derivation.confidence_width", "1.5"),
        ("derivation:\n  confidence_width: .nan\n", 4, "derivation.confidence_width", "nan"),
        ("derivation:\n  attester: 7\n", 4, "derivation.attester", "7"),
        ("derivation:\n  attester: ''\n", 4, "derivation.attester", "''"),
        ("derivation:\n  attester: 2026-05-12\n", 4, "derivation.attester", "2026"),
        ("tables:\n  facts:\n    key: null\n", 5, "tables.facts.key", "None"),
        ("tables:\n  facts:\n    key: [id]\n", 5, "tables.facts.key", "['id']"),
        ("tables:\n  facts: am_entity_facts\n", 4, "tables.facts", "'am_entity_facts'"),
        ("tables: []\n", 3, "tables", "[]"),
        ("signing:\n  required: 'yes'\n", 4, "signing.required", "not shown"),
        ("signing:\n  key_env: A B\n", 4, "signing.key_env", "not shown"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_key_line_and_what_was_found(
    load: Any, text: str, line: int, key: str, seen: str
) -> None:
    message = refusal(load, MINIMAL + text)
    assert f"line {line}: {key}: " in message
    assert seen in message


def test_all_faults_are_told_at_once(load: Any) -> None:
    message = refusal(load, "database: a\nwrong: 1\npacing:\n  batch_rows: x\n")
    assert len(message.splitlines()) == 4
    assert 'the key "state_dir" is missing' in message


def test_a_key_given_twice_is_refused_with_both_lines(load: Any) -> None:
    message = refusal(load, MINIMAL + "pacing:\n  batch_rows: 5\n  batch_rows: 6\n")
    assert "line 5: pacing.batch_rows is given twice (first on line 4)" in message


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]\n", "only text\n", "a: b: c\n", "\t- x\n", "--- 1\n--- 2\n"])
def test_a_file_that_is_no_mapping_is_refused_with_its_name(load: Any, text: str) -> None:
    assert re.search(r"job\.yaml( line [12])?: ", refusal(load, text))


@pytest.mark.parametrize(
    "value", ["!foo a", "!!python/name:os.system", "2026-99-99", "=", "!!int abc", "!!timestamp x"]
)
def test_a_scalar_that_yaml_cannot_build_is_refused_with_key_and_line(load: Any, value: str) -> None:
    assert "line 3" in refusal(load, f"{MINIMAL}derivation: {{attester: {value}}}\n")


@pytest.mark.parametrize("value", ["&a [*a]", "&a {b: *a}", "[" * 5000])
def test_a_value_that_is_nested_without_end_is_refused(load: Any, value: str) -> None:
    refusal(load, f"{MINIMAL}derivation: {{attester: {value}}}\n")


def test_a_variable_whose_value_yaml_cannot_build_is_refused_too(load: Any) -> None:
    assert "line 4" in refusal(load, MINIMAL + "derivation:\n  attester: ${WHO}\n", WHO="2026-02-30")


def test_a_missing_job_file_is_named_and_so_is_the_folder_that_was_looked_in(tmp_path: Path) -> None:
    with pytest.raises(JobFileError, match=r"none\.yaml: there is no such job file \(looked in "):
        load_settings(tmp_path / "none.yaml", {})


def test_a_job_file_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"database: \xff\n")
    for path in (tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(JobFileError, match="cannot be read"):
            load_settings(path, {})


@pytest.mark.parametrize(
    "text",
    [
        f"signing:\n  key_env: '{SECRET}'\n",
        f"signing:\n  private_key: '{SECRET}'\n",
        f"signing: '{SECRET}'\n",
        f"signing: ['{SECRET}']\n",
        f"signing:\n  key_file: ['{SECRET}']\n",
        f"signing:\n  required: '{SECRET}'\n",
        f"signing:\n  key_name: {{a: '{SECRET}'}}\n",
        "signing:\n  required: ${KEY}\n",
    ],
)
def test_a_signing_key_put_into_the_job_file_by_mistake_is_never_echoed(load: Any, text: str) -> None:
    message = refusal(load, MINIMAL + text, KEY=SECRET)
    assert SECRET not in message
    assert "signing" in message


@pytest.mark.parametrize(
    ("database", "path"),
    [("a.db", "a.db"), ("/x/a.db", "/x/a.db"), ("sqlite:///a.db", "a.db"), ("sqlite:////x/a.db", "/x/a.db")],
)
def test_the_place_of_a_file_is_its_path(load: Any, database: str, path: str) -> None:
    place = load(f"database: {database}\nstate_dir: s\n").place
    assert (place.scheme, str(place), place.is_file) == ("sqlite", path, True)
    assert place.absolute == str(Path(path).resolve())


@pytest.mark.parametrize(
    ("database", "place"),
    [
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql://u:hush@h:5432/db", "postgresql://u:…@h:5432/db"),
        ("postgresql://u@h/db?x=a:b@c", "postgresql://u@h/db"),
        ("postgresql://u@h/db?password=hush", "postgresql://u@h/db"),
        ("postgresql://u@h/db#password=hush", "postgresql://u@h/db"),
    ],
)
def test_the_place_of_another_store_is_its_url_without_the_password(load: Any, database: str, place: str) -> None:
    found = load(f"database: {database}\nstate_dir: s\n").place
    assert (found.scheme, str(found), found.absolute, found.is_file) == ("postgresql", place, place, False)


@pytest.mark.parametrize(
    "text", ["sqlite:\n  cache_mib: 7\n  wal_autocheckpoint_pages: 300\n",
             "pacing:\n  cache_mib: 7\n  batch_rows: 5\n  wal_autocheckpoint_pages: 300\n",
             "pacing:\n  cache_mib: 7\nsqlite:\n  wal_autocheckpoint_pages: 300\n"]
)  # fmt: skip
def test_what_one_engine_is_told_is_read_in_its_section_and_where_it_stood_before(load: Any, text: str) -> None:
    settings = load(MINIMAL + text)
    assert (settings.sqlite.cache_mib, settings.sqlite.wal_autocheckpoint_pages) == (7, 300)
    assert settings.pacing.batch_rows == (5 if "batch_rows" in text else 25_000)


def test_a_key_that_has_moved_is_wrong_on_its_own_line(load: Any, tmp_path: Path) -> None:
    assert refusal(load, MINIMAL + "pacing:\n  batch_rows: 5\n  cache_mib: 0\n").startswith(
        f"{tmp_path / 'job.yaml'} line 5: sqlite.cache_mib: input should be greater than or equal to 1, found 0"
    )


def test_a_key_that_has_moved_is_refused_where_it_is_given_in_both_places(load: Any, tmp_path: Path) -> None:
    text = "pacing:\n  cache_mib: 7\nsqlite:\n  cache_mib: 8\n"
    assert refusal(load, MINIMAL + text) == (
        f"{tmp_path / 'job.yaml'} line 4: pacing.cache_mib is called sqlite.cache_mib now, and that is given too (line "
        "6). Leave this one out. Nothing was written."
    )


def test_the_place_of_a_key_is_its_line_or_the_file_alone(load: Any, tmp_path: Path) -> None:
    settings = load(MINIMAL + "tables:\n  facts:\n    key: fact_id\n")
    assert settings.where("tables.facts.key") == f"{tmp_path / 'job.yaml'} line 5"
    assert settings.where("tables.source.key") == str(tmp_path / "job.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "tables:\n  facts:\n    key: uuid\n",
        "tables:\n  facts:\n    confidence: null\n",
        "derivation:\n  confidence_width: 0.1\n",
        "derivation:\n  attester: x\n",
    ],
)
def test_the_digest_changes_with_what_decides_the_outcome_of_a_fact(load: Any, text: str) -> None:
    assert load(MINIMAL + text).digest != load(MINIMAL).digest


@pytest.mark.parametrize(
    "text",
    [
        "pacing:\n  batch_rows: 7\n  chunk_rows: 9\n",
        "signing:\n  key_env: OTHER\n  required: true\n",
        "# a comment\n",
        "tables:\n  facts:\n    key: id\n",
        "derivation:\n  confidence_width: 0.050\n",
    ],
)
def test_the_digest_does_not_change_with_anything_else(load: Any, text: str) -> None:
    assert load(MINIMAL + text).digest == load(MINIMAL).digest
    assert load(text + "database: other.db\nstate_dir: elsewhere\n").digest == load(MINIMAL).digest


def test_settings_cannot_be_changed(load: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(MINIMAL).database = "other.db"


# --- YAML that costs, and what may be a key ----------------------------------------------------------

LAUGHS = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "line 2: an alias (*), and none is followed: write the value itself"),
        (MINIMAL + "pacing: &p {batch_rows: 5}\nsigning: *p\n", "line 4: signing: an alias (*)"),
        (MINIMAL + "pacing: {<<: {batch_rows: 5}}\n", 'line 3: unknown key "pacing.<<"'),
        (MINIMAL + "derivation: " + "[" * 60_000, "line 3: nested deeper than any key"),
        (MINIMAL + "derivation: " + "{a: " * 60_000, "nested deeper than any key"),
        (MINIMAL + "pacing: {chunk_rows: 1" + "0" * 40 + "}\n", "line 3: pacing.chunk_rows: input should be less"),
        (MINIMAL + "pacing: {chunk_rows: 1" + "0" * 5000 + "}\n", "line 3: chunk_rows: a number of 5,001 characters"),
        (MINIMAL + "pacing: {chunk_rows: 0x" + "f" * 50 + "}\n", "line 3: pacing.chunk_rows: input should be less"),
        (MINIMAL + "pacing: {batch_rows: 1" + "0" * 60 + "}\n", "line 3: pacing.batch_rows: input should be less"),
        (MINIMAL + "pacing: {lock_timeout_seconds: 1" + "0" * 99 + "}\n", "line 3: pacing.lock_timeout_seconds: "),
        (MINIMAL + "? [a, b]\n: c\n", "line 3: a key that is no text"),
        (MINIMAL + "#" + "x" * (300 << 10), "cannot be read: it has 307,"),
    ],
)  # fmt: skip
def test_yaml_is_read_in_bounded_time_and_refused_with_key_and_line(load: Any, text: str, words: str) -> None:
    message = refusal(load, text)
    assert words in message
    assert len(message) < 1000


NEVER = "0123456789abcdefABCDEF" * 2 + "f" * 20


@pytest.mark.parametrize(
    "text",
    [
        "signing: {key_file: x%s}",
        "signing: {key_file: /etc/%s/key}",
        "signing: {key_name: '${THE_KEY}'}",
        "signing: {key_env: '%s'}",
        "signing: {compiled: '%s'}",
        "sealing: {origin: example.org/%s}",
        "sealing: {key_name: %s}",
        "derivation: {attester: '${THE_KEY}'}",
        "derivation: {confidence_width: '%s'}",
        "pacing: {batch_rows: x%s}",
        "tables: {facts: {name: '%s'}}",
        "tables: {facts: {'%s': x}}",
        "%s: 1",
        "x%s: &a 1\ny: *a",
        "signing: {key_file: '${f%s}'}",
        "signing: {key_file: '${%s'}",
        "signing: {key_file: !%s x}",
        "signing: {key_file: *%s}",
        "signing: {key_file: '%s",
        "signing: [%s",
        "signing: {key_file: %s: x}",
        "derivation: [%s]",
        "state: ${THE_KEY}",
    ],
)
def test_64_hex_digits_are_refused_wherever_they_stand_and_never_shown(load: Any, text: str) -> None:
    message = refusal(load, MINIMAL + text.replace("%s", NEVER) + "\n", THE_KEY=NEVER)
    assert NEVER not in message and NEVER[1:33] not in message
    assert "line 3" in message or "line 4" in message


@pytest.mark.parametrize("key", ["state_dir", "database"])
def test_a_key_in_the_place_of_a_path_is_refused_though_it_comes_from_the_environment(load: Any, key: str) -> None:
    other = {"state_dir": "database: d\n", "database": "state_dir: s\n"}[key]
    message = refusal(load, other + key + ": ${THE_KEY}\n", THE_KEY=f"/data/{NEVER}")
    assert f"line 2: {key}: 64 hex digits, which may be a private key, where a name or a path belongs" in message
    assert NEVER not in message
