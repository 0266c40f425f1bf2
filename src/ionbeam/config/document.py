"""A YAML text as plain values, with the line of every key and environment variables filled in."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ionbeam.errors import ConfigInvalid

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys and positions, outermost first."""

_TAG = "tag:yaml.org,2002:"
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}")


def dotted(path: KeyPath) -> str:
    """``("scheduler", "windows", 0)`` as ``scheduler.windows[0]``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


@dataclass(frozen=True)
class Document:
    """What a file says."""

    values: dict[str, Any]
    """Keys as text; keys without a value are left out, as if they were not there."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    """The line each key stands on, from 1."""
    written: dict[KeyPath, str] = field(default_factory=dict)
    """Values as the file writes them (YAML reads ``1:30`` as 90), variables filled in."""
    remarks: tuple[str, ...] = ()

    def where(self, path: KeyPath) -> str:
        """``key (line n)``, with the line of the nearest key that has one."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{dotted(path)} (line {self.lines[path[:length]]})"
        return dotted(path)


def parse(text: str, name: str, environment: Mapping[str, str] = os.environ) -> Document:
    """Read one YAML document.

    `ConfigInvalid` names ``name`` and the line when the text is no YAML, is no mapping, gives one
    key two values, or asks for an environment variable that is not set and has no default.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None or root.tag == f"{_TAG}null":
            return Document({})
        if not isinstance(root, yaml.MappingNode):
            raise ConfigInvalid(f"{name} must hold keys and values, such as 'data_dir: ./ionbeam-data'")
        reader = _Reader(loader, name, environment)
        values: dict[str, Any] = {}
        reader.fill(values, root, ())
        return Document(values, reader.lines, reader.written, tuple(reader.remarks))
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


class _Reader:
    """Turns nodes into values and remembers where they stood."""

    def __init__(self, loader: yaml.SafeLoader, name: str, environment: Mapping[str, str]) -> None:
        self._loader = loader
        self._name = name
        self._environment = environment
        self.lines: dict[KeyPath, int] = {}
        self.written: dict[KeyPath, str] = {}
        self.remarks: list[str] = []

    def fill(self, target: dict[str, Any], node: yaml.MappingNode, path: KeyPath) -> None:
        """Add a node's keys; a block given twice is merged, as examples are often pasted together."""
        for key_node, value_node in self._pairs(node):
            key = str(key_node.value)
            here = (*path, key)
            line = key_node.start_mark.line + 1
            first = self.lines.setdefault(here, line)
            known = target.get(key)
            if isinstance(known, dict) and isinstance(value_node, yaml.MappingNode):
                self.remarks.append(f"{dotted(here)} stands on lines {first} and {line}; both are used")
                self.fill(known, value_node, here)
            elif known is not None:
                raise ConfigInvalid(
                    f"{self._name}: {dotted(here)} is given twice, on lines {first} and {line}; keep one"
                )
            else:
                value = self._value(value_node, here)
                if value is not None:
                    target[key] = value

    def _pairs(self, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """A block's keys and values; where it merges another (``<<``), its own keys win."""
        own = [pair for pair in node.value if pair[0].tag != f"{_TAG}merge"]
        if len(own) < len(node.value):
            self._loader.flatten_mapping(node)
            named = {key.value for key, _ in own}
            inherited = {k.value: (k, v) for k, v in node.value[: len(node.value) - len(own)]}
            node.value = [pair for name, pair in inherited.items() if name not in named] + own
        return list(node.value)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.CollectionNode) and node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self._loader.construct_undefined(node)
        if isinstance(node, yaml.MappingNode):
            block: dict[str, Any] = {}
            self.fill(block, node, path)
            return block
        if isinstance(node, yaml.SequenceNode):
            self.lines.update({(*path, i): item.start_mark.line + 1 for i, item in enumerate(node.value)})
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        value = self._loader.construct_object(node)
        if isinstance(value, str):
            value = self._interpolated(value, path)
        self.written[path] = value if isinstance(value, str) else str(node.value)
        return value

    def _interpolated(self, text: str, path: KeyPath) -> str:
        def replacement(match: re.Match[str]) -> str:
            name, default = match["name"], match["default"]
            value = self._environment.get(name, default)
            if value is None:
                raise ConfigInvalid(
                    f"{self._name}: {dotted(path)} (line {self.lines[path]}) needs the environment variable "
                    f"{name}, which is not set; set it or write ${{{name}:default}}"
                )
            return value

        return _VARIABLE.sub(replacement, text)
