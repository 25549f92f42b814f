"""The values that checked user-data stands for, made within bounds, and where in the text each of them is. Pure."""

from __future__ import annotations

import math
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from garage.errors import N_, GarageError

MAX_VALUES = 20_000
"""64 KiB hold about so many; more come of aliases alone."""
MAX_DEPTH = 50
MERGE = "tag:yaml.org,2002:merge"
ODD = (ValueError, LookupError, AttributeError, TypeError, OverflowError, yaml.YAMLError)
"""What PyYAML's constructors raise of a scalar that does not fit its tag."""


def compose(text: str) -> yaml.Node | None:
    """The structure of checked user-data (`core.userdata`)."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.CSafeLoader)
    return node


def unfold(root: yaml.Node | None) -> Any:
    """What JSON could hold of it, aliases and merge keys written out; raises `invalid_field` where that is too much."""
    return _Unfolding().value(root, 0) if root is not None else {}


class _Unfolding:
    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._scalars = SafeConstructor()

    def value(self, node: yaml.Node, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise GarageError(
                "invalid_field",
                N_("the aliases in user-data make more than {limit} values, or an endless one"),
                hint=N_("write less of it by aliases"),
                pointer="/user_data",
                limit=MAX_VALUES,
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        own, merged = dict[str, Any](), dict[str, Any]()
        for key, value in node.value:
            made = self.value(value, depth + 1)
            if key.tag != MERGE:
                own[str(key.value)] = made
                continue
            for each in made if isinstance(made, list) else [made]:
                merged = (each if isinstance(each, dict) else {}) | merged
        return merged | own

    def _scalar(self, node: yaml.Node) -> Any:
        """As cloud-init's YAML reads it; dates and bytes as texts, which they are where cloud-init uses them."""
        try:
            made = self._scalars.construct_object(node)
        except ODD:
            return str(node.value)
        if isinstance(made, float) and not math.isfinite(made):
            return 0.0
        return made if made is None or isinstance(made, str | bool | int | float) else str(node.value)


def line_of(root: yaml.Node | None, path: list[str | int]) -> int:
    """The line (from 1) on which the value at `path` begins, or that of its key; of what came by a merge key that of its parent."""
    node, line = root, root.start_mark.line if root is not None else 0
    for step in path:
        found = _child(node, step)
        if found is None:
            break
        place, node = found
        line = place.start_mark.line
    return line + 1


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """(what is looked at for the line, the value)"""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in reversed(node.value) if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None
