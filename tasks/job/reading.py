"""The nodes of a job file's YAML to plain values: variables replaced, each key with its line, no signing key shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tasks.core.errors import NOTHING_WRITTEN, JobFileError
from tasks.core.terminal import cut, holds_key
from tasks.core.yaml_files import UnreadError, refuse_long_number

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")
_PLACES = ("database", "state_dir")
_PERHAPS_A_KEY = (
    "64 hex digits, which may be a private key, where a name or a path belongs. They are not shown. Put a key into the "
    "environment or a file of mode 0600, and name it another way. Nothing was written."
)


@dataclass(frozen=True)
class Reading:
    """Nodes to plain values, with the line of every key, and the variables that were used for the places of things."""

    path: str
    environ: Mapping[str, str] = field(repr=False)
    lines: dict[str, int] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)

    def construct(self, node: yaml.Node, key: str = "") -> Any:
        """The value of a node, which stands at `key`."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.construct(child, f"{key}[{i}]") for i, child in enumerate(node.value)]
        return self._scalar(node, key)

    def _mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if holds_key(key_node.value):
                raise JobFileError(f"{self.path} line {line}: {key or 'a key'}: {_PERHAPS_A_KEY}")
            full = f"{key}.{key_node.value}" if key else key_node.value
            if key_node.value in found:
                raise JobFileError(
                    f"{full} is given twice (first on line {self.lines[full]})",
                    where=f"{self.path} line {line}",
                    written=NOTHING_WRITTEN,
                )
            self.lines[full] = line
            found[key_node.value] = self.construct(value_node, full)
        return found

    def _scalar(self, node: yaml.Node, key: str) -> Any:
        """One scalar. A text with a variable in it is typed after the replacement, if it was not quoted."""
        self._refuse_key(node.value, key)
        if not _VARIABLE.search(node.value):
            if "${" in node.value:
                raise self._refused(key, f"{node.value!r} is not ${{NAME}} or ${{NAME:-default}}. Nothing was written.")
            return self._build(node, key)
        text = _VARIABLE.sub(lambda match: self._replacement(match, key), node.value)
        self._refuse_key(text, key)
        if getattr(node, "style", None) in ("'", '"') or key in _PLACES:
            return text
        tag: str = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return self._build(yaml.ScalarNode(tag, text), key)

    def _replacement(self, match: re.Match[str], key: str) -> str:
        name, has_default, default = match.group(1), match.group(2), match.group(3)
        value = self.environ.get(name, "")
        if value or (name in self.environ and not has_default):
            if key in _PLACES:
                self.used[name] = value
            return value
        if has_default:
            return default
        raise JobFileError(
            f"{key} needs the environment variable {name}, which is not set",
            where=f"{self.path} line {self.lines.get(key, 1)}",
            hint=f"Set it, or write ${{{name}:-default}}",
            written=NOTHING_WRITTEN,
        )

    def _build(self, node: yaml.Node, key: str) -> Any:
        """The value of a scalar: YAML's own readers of dates, numbers and tags raise all sorts."""
        try:
            refuse_long_number(node.tag, node.value, None, "")
            return yaml.SafeLoader("").construct_object(node, deep=True)
        except UnreadError as error:
            raise self._refused(key, f"{error.reason}. Nothing was written.") from None
        except (yaml.YAMLError, ValueError, AttributeError, TypeError, OverflowError):
            secret = key.startswith(("signing", "sealing"))
            shown = "a value that is not shown" if secret else cut(node.value)
            raise self._refused(key, f"cannot read {shown} as YAML. Put it in quotes. Nothing was written.") from None

    def _refuse_key(self, text: str, key: str) -> None:
        if holds_key(text):
            raise self._refused(key, _PERHAPS_A_KEY)

    def _refused(self, key: str, words: str) -> JobFileError:
        return JobFileError(f"{self.path} line {self.lines.get(key.partition('[')[0], 1)}: {key}: {words}")
