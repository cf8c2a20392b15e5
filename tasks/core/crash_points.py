"""Named points in the life of a batch and a marker.

They do nothing. Tests replace `reach` to kill the process at one of them, which shows that a crash there loses
and repeats nothing.
"""

from __future__ import annotations


def reach(name: str) -> None:
    """The program has come to the point called `name`."""
