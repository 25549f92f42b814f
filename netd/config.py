"""netd's settings: one root-owned TOML file, read once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netd.core.lines import Line, parse_lines
from netd.errors import NetdError
from netd.shell import files

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PATHS = ("token_file", "controller_key", "state_dir", "office_file", "allow_file", "ca_file")


@dataclass(frozen=True, slots=True)
class Config:
    """What a node needs to know to be led by its controller."""

    node: str
    instance: str
    controller_url: str
    token_file: Path
    controller_key: Path
    """PEM of the Ed25519 key that signs this node's specs."""
    state_dir: Path
    office_file: Path
    allow_file: Path
    uplink_is_office: bool = True
    """Machines never reach the networks that this server itself stands in."""
    ca_file: Path | None = None
    """The certificate that an https:// controller must show."""
    peers: tuple[str, ...] = ()
    """Other nodes of this very site: the only ones that a registry may link with it as such."""
    line: tuple[Line, ...] = ()
    """Uplinks of which more is known than that they are there."""


def load(path: Path) -> Config:
    """The Config in `path`, which nobody but root may be able to write; raises NetdError("config")."""
    try:
        path.stat()
        values = tomllib.loads(files.read_trusted(path))
        return Config(**{key: _value(key, value) for key, value in values.items()})
    except OSError as error:
        raise NetdError("config", f"{path}: {error.strerror}", hint="make up writes it") from None
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise NetdError("config", f"{path}: {error}", hint="compare it with docs/netd.md") from None


def _value(key: str, value: object) -> Any:
    if key == "line":
        return parse_lines(value)
    if key == "peers":
        return _names(value)
    if not isinstance(value, bool if key == "uplink_is_office" else str):
        raise TypeError(f"{key} has the wrong type")
    return Path(str(value)) if key in PATHS else value


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and LABEL.fullmatch(name) for name in value):
        raise TypeError('peers is a list of nodes\' names, e.g. ["node2"]')
    return tuple(value)
