"""The server's own package mirror."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from garage.core.mirror import Mirror, choose_mirror
from garage.shell.run import run


def server_mirror(environ: Mapping[str, str]) -> Mirror:
    """Which mirror images of this server are built from."""
    etc = Path("/etc/apt")
    paths = [
        etc / "sources.list",
        *sorted((etc / "sources.list.d").glob("*.list")),
        *sorted((etc / "sources.list.d").glob("*.sources")),
    ]
    return choose_mirror(environ, _read(Path("/etc/os-release")), [_read(path) for path in paths], _apt_config())


def _apt_config() -> str:
    """Effective configuration of the server's apt; nothing where there is no apt."""
    if not shutil.which("apt-config"):
        return ""
    return run(["apt-config", "dump"], timeout=30, check=False).stdout


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
