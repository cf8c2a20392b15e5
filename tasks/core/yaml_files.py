"""YAML of bounded cost: no aliases, nothing deeper than any key of ours, no number that is a page long.

Nine levels of aliases are a few hundred bytes, and never end ("billion laughs"). What these files have to say needs
none of YAML's cleverness, so it is refused with its key and its line.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from tasks.core.terminal import without_keys

LONGEST: Final = 256 << 10
"""Bytes of the longest file that is read."""

_DEEPEST: Final = 12
_LONGEST_NUMBER: Final = 100  # characters; the largest number that any key takes has 19
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class UnreadError(ValueError):
    """A text that is not read as YAML: `line` counts from 1, None where it is not known; `reason` is for people."""

    def __init__(self, line: int | None, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason

    def at(self, path: str) -> str:
        """`<path> line 3: <reason>`"""
        return f"{path} line {self.line}: {self.reason}" if self.line else f"{path}: {self.reason}"


class _Loader(yaml.SafeLoader):
    """Composes nodes only as far as the bounds above allow."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        name = f"{without_keys(str(index.value))[:60]}: " if isinstance(index, yaml.ScalarNode) else ""
        if self.check_event(yaml.AliasEvent):
            raise UnreadError(line, f"{name}an alias (*), and none is followed: write the value itself")
        if self.depth >= _DEEPEST:
            raise UnreadError(line, f"{name}nested deeper than any key")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(parent, yaml.MappingNode) and index is None and not isinstance(node, yaml.ScalarNode):
            raise UnreadError(line, "a key that is no text")
        if isinstance(node, yaml.ScalarNode):
            refuse_long_number(node.tag, node.value, line, name)
        return node


def refuse_long_number(tag: str, text: str, line: int | None, name: str) -> None:
    """Raise UnreadError for a number so long that it costs time to read, and no key takes it."""
    if tag in _NUMBERS and len(text) > _LONGEST_NUMBER:
        raise UnreadError(line, f"{name}a number of {len(text):,} characters, expected at most {_LONGEST_NUMBER}")


def compose(text: str) -> yaml.Node | None:
    """The one document of a text as nodes, None where there is none. Raises UnreadError; shows nothing of the text."""
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
        raise UnreadError(mark.line + 1 if mark else None, f"not YAML: {without_keys(str(reason))}") from None
    finally:
        loader.dispose()


def construct(node: yaml.Node) -> Any:
    """The plain values of nodes. Raises UnreadError for what YAML's own readers of dates, numbers and tags refuse."""
    if isinstance(node, yaml.MappingNode):
        return {construct(key): construct(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [construct(child) for child in node.value]
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, OverflowError):
        raise UnreadError(node.start_mark.line + 1, "a value that cannot be read: put it in quotes") from None
