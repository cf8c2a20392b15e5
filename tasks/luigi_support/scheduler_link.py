"""The way to luigid, which may go away at any moment: no task fails or waits long because of that.

    what                          tried                         when it fails
    the first word to it          FIRST_SECONDS long            the command ends with UNREACHABLE and one line
    progress and pings            once, ASIDE_SECONDS long      swallowed, said once; none for the next REST_SECONDS
    all else                      PATIENCE_SECONDS long         from then on a scheduler in this process answers

That one knows nothing; the worker schedules its tasks again, as it does when luigid was started again. Nothing depends
on whether luigid knows what this process does: the database is the lock.

A scheduler's URL is http://HOST:PORT, or http+unix://PATH with every slash of PATH as %2F: a socket that only its owner
reaches.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import time
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlencode, urlsplit

from luigi.rpc import RemoteScheduler, RPCError, URLLibFetcher
from luigi.scheduler import Scheduler

from tasks.core import signals
from tasks.core.terminal import printable_lines

logger = logging.getLogger("luigi-interface")

UNREACHABLE = 45
"""The exit code of a command whose luigid cannot be reached when it begins."""

FIRST_SECONDS = 5.0
PATIENCE_SECONDS = 10.0
ASIDE_SECONDS = 2.0
REST_SECONDS = 10.0
_CALL_SECONDS = 3.0  # for one try
_BETWEEN_SECONDS = 0.25
_ASIDE = frozenset({"ping", "set_task_status_message", "set_task_progress_percentage"})
_UNIX = "http+unix://"


class SchedulerLink(RemoteScheduler):
    """Luigi's client of luigid with the patience of the table above, and with Unix sockets."""

    def __init__(self, url: str) -> None:
        # Luigi wants a further package for a Unix socket.
        super().__init__("" if url.startswith(_UNIX) else url)  # type: ignore[no-untyped-call]
        self._url = url.rstrip("/")
        self._shown = re.sub(r"^(https?://)[^/]*@", r"\1", self._url)  # without a password
        self._fetcher: Any = _UnixSocketFetcher() if url.startswith(_UNIX) else URLLibFetcher()
        self._has_told, self._rests_until = False, 0.0
        self._own: Scheduler | None = None

    def greet(self) -> None:
        """Ask luigid for a sign of life. Ends this process with UNREACHABLE where none comes."""
        try:
            self._within(FIRST_SECONDS, "/api/is_pause_enabled", {})
        except RPCError as error:
            told = (
                f"luigid does not answer at {self._shown} ({error.sub_exception}). Start it, name another address with "
                f"--scheduler-url, or leave it out: --local-scheduler. Nothing was written."
            )
            print(printable_lines(told), file=sys.stderr)
            raise SystemExit(UNREACHABLE) from None

    def _request(self, url: str, data: dict[str, Any], attempts: int = 3, allow_null: bool = True) -> Any:
        """One call of the scheduler, in the place of Luigi's, which waits for half a minute between two tries."""
        method = url.removeprefix("/api/")
        if self._own is not None:
            return getattr(self._own, method)(**data)
        if method in _ASIDE:
            return self._aside(url, data)
        try:
            return self._within(PATIENCE_SECONDS, url, data)
        except RPCError as error:
            logger.warning("%s. This command goes on without it; its page shows no more of it.", error)
            self._own = Scheduler(prune_on_get_work=True, record_task_history=False)  # type: ignore[no-untyped-call]
            return self._request(url, data)

    def _aside(self, url: str, data: dict[str, Any]) -> Any:
        """What luigid need not hear. None where it does not."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            return self._once(url, data, ASIDE_SECONDS)
        except _FAULTS as error:
            self._rests_until = time.monotonic() + REST_SECONDS
            if not self._has_told:
                self._has_told = True
                logger.warning("luigid does not answer at %s (%s). The work goes on.", self._shown, error)
            return None

    def _within(self, seconds: float, url: str, data: dict[str, Any]) -> Any:
        """Try until it is answered, for that long. Raises RPCError."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self._once(url, data, _CALL_SECONDS)
            except _FAULTS as error:
                if time.monotonic() >= end or signals.arrived():
                    message = f"luigid does not answer at {self._shown} ({error})"
                    raise RPCError(message, error) from None  # type: ignore[no-untyped-call]
                time.sleep(_BETWEEN_SECONDS)

    def _once(self, url: str, data: dict[str, Any], timeout: float) -> Any:
        page = self._fetcher.fetch(self._url + url, {"data": json.dumps(data)}, timeout)
        return json.loads(page)["response"]


class _UnixSocketFetcher:
    """One request over the socket file that the URL names. Holds nothing open: workers fork."""

    def fetch(self, full_url: str, body: dict[str, str], timeout: float) -> str:
        parts = urlsplit(full_url)
        connection = _UnixConnection(unquote(parts.netloc), timeout)
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", parts.path, urlencode(body), headers)
            response = connection.getresponse()
            if response.status != 200:
                raise HTTPException(f"HTTP {response.status} {response.reason}")
            return response.read().decode("utf-8")
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing is kept."""


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


# What a luigid that is away, or another program at its address, comes to.
_FAULTS = (URLError, OSError, HTTPException, ValueError, KeyError, TypeError)
