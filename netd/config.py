"""netd's settings: one root-owned TOML file, read once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netd.errors import NetdError


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


def load(path: Path) -> Config:
    """The Config in `path`; raises NetdError("config")."""
    try:
        values = tomllib.loads(path.read_text())
        paths = ("token_file", "controller_key", "state_dir", "office_file", "allow_file", "ca_file")
        resolved: dict[str, Any] = {key: Path(value) if key in paths else value for key, value in values.items()}
        return Config(**resolved)
    except OSError as error:
        raise NetdError("config", f"{path}: {error.strerror}", hint="make up writes it") from None
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise NetdError("config", f"{path}: {error}", hint="compare it with docs/netd.md") from None
