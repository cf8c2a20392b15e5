"""What failed for a reason that may pass by itself is tried once more before anything else begins; nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.scheduler import Scheduler

from tasks.core.errors import DiskFullError, DriftError, LockedError, ProvenanceError
from tasks.luigi_support.base_task import JobTask
from tasks.luigi_support.worker import OwnWorker

FAILURES: dict[str, type[ProvenanceError]] = {"lock": LockedError, "disk": DiskFullError, "drift": DriftError}


class Part(JobTask):
    """Leaves a line for each attempt, and fails as often as it is told to."""

    folder: luigi.Parameter[str] = luigi.Parameter()
    name: luigi.Parameter[str] = luigi.Parameter()
    failure: luigi.Parameter[str] = luigi.Parameter()
    times: luigi.Parameter[int] = luigi.IntParameter()

    def is_done(self) -> bool:
        return (Path(self.folder) / f"{self.name}.done").exists()

    def run(self) -> None:
        with (Path(self.folder) / "attempts").open("a", encoding="utf-8") as file:
            file.write(f"{self.name}\n")
        if attempts(Path(self.folder)).count(self.name) <= self.times:
            raise FAILURES[self.failure]("something stands in the way")
        (Path(self.folder) / f"{self.name}.done").touch()


class Whole(JobTask):
    folder: luigi.Parameter[str] = luigi.Parameter()
    failure: luigi.Parameter[str] = luigi.Parameter()
    times: luigi.Parameter[int] = luigi.IntParameter()
    names: luigi.Parameter[str] = luigi.Parameter()
    failing: luigi.Parameter[str] = luigi.Parameter()

    def is_done(self) -> bool:
        return (Path(self.folder) / "whole").exists()

    def run(self) -> Any:
        common = {"folder": self.folder, "failure": self.failure}
        yield [Part(**common, name=name, times=self.times if name in self.failing else 0) for name in self.names]
        (Path(self.folder) / "whole").touch()


def attempts(folder: Path) -> list[str]:
    return (folder / "attempts").read_text(encoding="utf-8").split()


def run(folder: Path, *, failure: str, times: int, workers: int, names: str = "abc", failing: str = "a") -> list[str]:
    worker = OwnWorker(scheduler=Scheduler(retry_delay=86_400), worker_processes=workers, assistant=False)
    worker._config.wait_interval, worker._config.wait_jitter = 0.01, 0.0
    with worker:
        worker.add(Whole(folder=str(folder), failure=failure, times=times, names=names, failing=failing))
        worker.run()
    return attempts(folder)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("failure", ["lock", "disk"])
def test_it_is_tried_once_more_before_anything_else_begins(tmp_path: Path, failure: str, workers: int) -> None:
    made = run(tmp_path, failure=failure, times=1, workers=workers, names="abcdefgh")
    assert sorted(made) == ["a", *"abcdefgh"]
    first = made.index("a")
    between = made.index("a", first + 1) - first - 1
    assert between == 0 or (workers == 2 and between < 6)  # the other process goes on until the failure is known
    assert (tmp_path / "whole").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_where_it_fails_again_the_others_do_not_begin(tmp_path: Path, workers: int) -> None:
    names = "abcdefghijkl"
    made = run(tmp_path, failure="lock", times=9, workers=workers, names=names, failing=names)
    assert len(set(made)) <= workers and len(made) <= 2 * workers
    assert not (tmp_path / "whole").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lock_that_comes_and_goes_ends_nothing(tmp_path: Path, workers: int) -> None:
    made = run(tmp_path, failure="lock", times=1, workers=workers, names="abcdef", failing="abcdef")
    assert sorted(made) == sorted("abcdef" * 2)
    assert (tmp_path / "whole").exists()


def test_it_is_not_tried_a_third_time(tmp_path: Path) -> None:
    assert run(tmp_path, failure="lock", times=9, workers=1).count("a") == 2
    assert not (tmp_path / "whole").exists()


def test_what_does_not_pass_by_itself_is_tried_once(tmp_path: Path) -> None:
    assert sorted(run(tmp_path, failure="drift", times=1, workers=1)) == ["a", "b", "c"]
    assert not (tmp_path / "whole").exists()
