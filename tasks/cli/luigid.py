"""`provenance luigid`: the scheduler, where only its owner reaches it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=Path("var/luigid"), show_default=True,
    help="Where its state and its socket lie; made private.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(1, 65535), default=None,
    help="Listen on this port of 127.0.0.1 instead of a socket: for a browser on this machine, and open to all of it.",
)  # fmt: skip
def luigid(folder: Path, port: int | None) -> None:
    """Run luigid, and print what runs take as --scheduler-url. Without --port only this account reaches it."""
    from tasks.luigi_support.luigid import serve  # Luigi and its web server are for this command alone

    serve(folder, port=port)
