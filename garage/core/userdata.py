"""What people may give a machine at its first boot, checked before anything is made."""

from __future__ import annotations

from typing import Any

import yaml

from garage.errors import N_, GarageError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 50
HEADERS = (
    "#!",
    "#cloud-config-archive",
    "#include",
    "#cloud-boothook",
    "## template:",
    "Content-Type: multipart/",
    "MIME-Version:",
)
"""First lines that cloud-init knows besides #cloud-config (cloud-init's documentation, "User-data formats")."""


def is_cloud_config(text: str) -> bool:
    return text.split("\n", 1)[0].strip() == "#cloud-config"


def check_user_data(text: str) -> str:
    """`text` if cloud-init can read it; raises `invalid_field` with the line of a YAML error."""
    if len(text.encode()) > MAX_BYTES:
        raise _bad(N_("user-data is larger than {limit} bytes"), limit=MAX_BYTES)
    if "\0" in text:
        raise _bad(N_("user-data holds a NUL character"))
    first = text.split("\n", 1)[0]
    if is_cloud_config(text):
        _check_yaml(text)
    elif not first.startswith(HEADERS):
        raise _bad(N_("cloud-init does not know user-data that begins with “{first}”"), first=first[:40])
    return text


def _check_yaml(text: str) -> None:
    """Read its structure only: building the values lets 300 bytes of merge keys fill the memory."""
    try:
        _check_events(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        _check_keys(root)
    except yaml.YAMLError as error:
        raise _not_yaml(getattr(error, "problem_mark", None), str(getattr(error, "problem", error))) from None
    if root is not None and not _is_mapping(root):
        raise _bad(N_("#cloud-config must hold “key: value” lines"))


def _check_events(text: str) -> None:
    """Bounded depth, before libyaml composes by recursion and overflows the stack; and no tags but YAML's own."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag = getattr(event, "tag", None)
        if depth > MAX_DEPTH:
            raise _not_yaml(event.start_mark, "nested too deeply")
        if tag and tag != "!" and tag not in yaml.SafeLoader.yaml_constructors:
            raise _not_yaml(event.start_mark, f"unknown tag {tag}")


def _check_keys(root: yaml.Node | None) -> None:
    """Keys are scalars: a forgotten template such as {{ name }} would be one that is not."""
    waiting, seen = [root] if root else [], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if not _is_mapping(node):
            waiting += node.value
            continue
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _not_yaml(key.start_mark, "found unhashable key")
            waiting.append(value)


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)


def _not_yaml(mark: Any, problem: str) -> GarageError:
    line = mark.line + 1 if mark else 1
    return _bad(N_("user-data is not valid YAML in line {line}: {problem}"), line=line, problem=problem[:120])


def _bad(text: str, **params: object) -> GarageError:
    hint = N_("begin with #cloud-config and YAML, or with #!/bin/sh and a script")
    return GarageError("invalid_field", text, hint=hint, pointer="/user_data", **params)
