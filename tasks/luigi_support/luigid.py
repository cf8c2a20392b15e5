"""luigid where only its owner reaches it: on a socket file in a folder of mode 0700, or on the loopback.

Luigi's own command listens on every interface, without a password, answers any page that a browser shows, and loads a
pickle, which is code, from wherever it is told. So:

1. The folder of state and socket is the owner's alone, whatever it was before; somebody else's state file is refused.
2. With no port there is only the socket. With one, 127.0.0.1 alone; every local account and program reaches that.
3. A request is refused unless its Host is this machine's own name for itself (a page whose name was made to point here
   sends another), and a call of the scheduler unless no other site made the browser send it.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import luigi.configuration
import luigi.scheduler
import luigi.server
import tornado.web

from tasks.core.errors import ParameterError, StateError

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_LONGEST_SOCKET = 107  # bytes of a path, https://man7.org/linux/man-pages/man7/unix.7.html


def serve(folder: Path, *, port: int | None) -> None:
    """Run luigid until it is told to end. Prints the URL for `--scheduler-url`.

    Raises StateError or ParameterError before it listens, where the folder is not the owner's or the address is taken.
    """
    os.umask(0o077)
    state = make_private(folder.absolute()) / "state.pickle"
    where = folder.absolute() / "luigid.sock"
    url = f"http://127.0.0.1:{port}" if port else f"http+unix://{quote(str(where), safe='')}"
    _refuse_address_in_use(port, where)
    config = luigi.configuration.get_config()  # type: ignore[no-untyped-call]
    config.set("scheduler", "state_path", str(state))
    config.set("scheduler", "retry_delay", "86400")  # a failed chunk is tried again by its worker, or by a new command
    luigi.server.app = _guarded_app
    logging.basicConfig(level=logging.WARNING)
    print(f"luigid: {url}", flush=True)
    luigi.server.run(  # type: ignore[no-untyped-call]
        api_port=port, address="127.0.0.1", unix_socket=None if port else str(where)
    )


def make_private(folder: Path) -> Path:
    """The folder with mode 0700, made where it is missing. Raises StateError where it cannot be the owner's alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, is_kind, kind in ((folder, stat.S_ISDIR, "folder"), (folder / "state.pickle", stat.S_ISREG, "file")):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if not is_kind(found.st_mode) or found.st_uid != os.geteuid() or (kind == "file" and found.st_mode & 0o022):
            raise StateError(
                f"expected a {kind} that only this account can write, for what luigid loads from it is "
                f"code; found {stat.filemode(found.st_mode)} of user {found.st_uid}",
                where=str(path),
                hint="Remove it, or name another --folder",
            )
        path.chmod(0o700 if kind == "folder" else 0o600)
    return folder


def _refuse_address_in_use(port: int | None, where: Path) -> None:
    if not port and len(os.fsencode(where)) > _LONGEST_SOCKET:
        raise ParameterError(
            f"too long for a socket (at most {_LONGEST_SOCKET} bytes)", where=str(where), hint="Name another --folder"
        )
    kind, address = (socket.AF_INET, ("127.0.0.1", port)) if port else (socket.AF_UNIX, str(where))
    with socket.socket(kind, socket.SOCK_STREAM) as attempt:
        if attempt.connect_ex(address) == 0:
            raise StateError(f"something listens at {address} already", hint="Use that luigid, or end it first")


_luigis_app = luigi.server.app


def _guarded_app(scheduler: luigi.scheduler.Scheduler) -> tornado.web.Application:
    """Step 3, before any handler of Luigi's sees a request."""
    application: tornado.web.Application = _luigis_app(scheduler)  # type: ignore[no-untyped-call]
    find = application.find_handler

    def find_guarded(request: Any, **options: Any) -> Any:
        if is_from_here(request.host_name, request.path, request.headers):
            return find(request, **options)
        return application.get_handler_delegate(request, tornado.web.ErrorHandler, {"status_code": 403})

    application.find_handler = find_guarded  # type: ignore[method-assign]
    return application


def is_from_here(host: str, path: str, headers: Any) -> bool:
    """Whether a request names this machine, and is not one that another site made a browser send."""
    if host not in _OWN_NAMES:
        return False
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).hostname not in _OWN_NAMES:
        return False
    return not path.startswith("/api/") or headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
