"""The package's job file is taken where a folder has none, and never to sign under the name of the sample's key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import JobFileError
from tasks.job.default_job import DEFAULT_JOB, KEYS_AND_NAMES, PACKAGED_JOB, to_read

DATABASE = {"AUTONOMATH_DB_PATH": "facts.db"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_is_read_where_the_environment_names_a_database_and_no_key() -> None:
    assert to_read(Path(DEFAULT_JOB), DATABASE) == PACKAGED_JOB
    assert to_read(Path(DEFAULT_JOB), {}) == Path(DEFAULT_JOB)
    assert to_read(Path("other.yaml"), DATABASE) == Path("other.yaml")


@pytest.mark.parametrize(("key", "name"), KEYS_AND_NAMES)
def test_a_key_without_a_name_of_its_own_is_refused_unprinted(key: str, name: str) -> None:
    with pytest.raises(JobFileError) as caught:
        to_read(Path(DEFAULT_JOB), {**DATABASE, key: "11" * 32})
    assert name in str(caught.value)
    assert "11" * 32 not in str(caught.value)
    assert to_read(Path(DEFAULT_JOB), {**DATABASE, key: "11" * 32, name: "example.org/key"}) == PACKAGED_JOB


def test_a_job_file_of_the_folder_goes_before_it_whatever_the_environment_has() -> None:
    Path(DEFAULT_JOB).parent.mkdir()
    Path(DEFAULT_JOB).touch()
    assert to_read(Path(DEFAULT_JOB), {**DATABASE, KEYS_AND_NAMES[0][0]: "11" * 32}) == Path(DEFAULT_JOB)
