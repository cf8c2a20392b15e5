"""`provenance luigid`: reached by its owner alone, and by no page that a browser shows."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ParameterError, StateError
from tasks.luigi_support.luigid import is_from_here, make_private, serve
from tasks.luigi_support.scheduler_link import SchedulerLink

Started = tuple[subprocess.Popen[str], str]


@pytest.fixture
def provenance_luigid() -> Iterator[Callable[..., Started]]:
    """`provenance_luigid("--folder", …)` gives its process and the URL that it prints."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, "-c", "from tasks.cli.main import main; main()", "luigid", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline().strip().removeprefix("luigid: ")

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_over_a_socket_that_only_its_owner_reaches(
    store: Any, luigi: Any, provenance_luigid: Any, wait_until: Any, tmp_path: Path
) -> None:
    made = store()
    made.add_facts({"id": n, "source_url": f"https://a.test/{n}"} for n in range(1, 6))
    folder = tmp_path / "d"
    folder.mkdir()
    folder.chmod(0o777)
    process, url = provenance_luigid("--folder", str(folder))
    assert url == f"http+unix://{str(folder / 'luigid.sock').replace('/', '%2F')}"
    finished = luigi("Report", "--scheduler-url", url, "--workers", "2", store=made, local_scheduler=False)
    assert finished.code == 0, finished.output
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert oct((folder / "luigid.sock").stat().st_mode)[-3:] == "600"
    shown = SchedulerLink(url).task_list(status="DONE", upstream_status="")
    assert "Report" in {task["name"] for task in shown.values()}
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert oct((folder / "state.pickle").stat().st_mode)[-3:] == "600"


def test_a_second_one_at_the_same_address_is_refused(provenance_luigid: Any, wait_until: Any, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    provenance_luigid("--folder", str(folder))
    wait_until((folder / "luigid.sock").exists, lambda: "no socket")
    SchedulerLink(f"http+unix://{str(folder / 'luigid.sock').replace('/', '%2F')}").greet()
    second, _ = provenance_luigid("--folder", str(folder))
    assert second.wait(timeout=30) == 3
    assert second.stderr and "something listens at" in second.stderr.read()


def test_a_page_whose_name_points_here_is_refused(provenance_luigid: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _, url = provenance_luigid("--folder", str(tmp_path / "d"), "--port", str(port))
    SchedulerLink(url).greet()

    def status(path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status

    api, page = "/api/is_paused", "/static/visualiser/index.html"
    assert (status(api), status(page), status(api, Host=f"localhost:{port}")) == (200, 200, 200)
    assert (status(api, Host="evil.test"), status(page, Host=f"evil.test:{port}"), status("/", Host="")) == (403,) * 3
    assert status(api, Sec_Fetch_Site="cross-site") == status(api, Origin="https://evil.test") == 403
    assert status(api, Sec_Fetch_Site="same-origin", Origin=f"http://127.0.0.1:{port}") == 200


@pytest.mark.parametrize(
    ("host", "path", "headers", "expected"),
    [
        ("localhost", "/api/ping", {}, True),
        ("127.0.0.1.evil.test", "/api/ping", {}, False),
        ("localhost", "/api/ping", {"Origin": "null"}, False),
        ("localhost", "/api/ping", {"Sec-Fetch-Site": "same-site"}, False),
        ("localhost", "/static/visualiser/index.html", {"Sec-Fetch-Site": "cross-site"}, True),
    ],
)
def test_who_is_from_here(host: str, path: str, headers: dict[str, str], expected: bool) -> None:
    assert is_from_here(host, path, headers) is expected


def test_a_state_file_that_another_could_have_written_is_not_loaded(tmp_path: Path) -> None:
    state = tmp_path / "state.pickle"
    state.write_bytes(b"code")
    state.chmod(0o666)
    with pytest.raises(StateError, match="what luigid loads from it is code"):
        make_private(tmp_path)
    state.unlink()
    state.symlink_to("/dev/null")
    with pytest.raises(StateError):
        make_private(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(StateError):
        make_private(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_folder_of_another_account_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(StateError, match="of user 12345"):
        make_private(tmp_path)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with pytest.raises(ParameterError, match="too long for a socket"):
            serve(tmp_path / ("x" * 120), port=None)
    finally:
        os.umask(before)
