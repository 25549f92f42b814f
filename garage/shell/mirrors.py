"""The server's own package mirror."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from garage.core.mirror import Mirror, choose_mirror


def server_mirror(environ: Mapping[str, str]) -> Mirror:
    """Which mirror images of this server are built from."""
    etc = Path("/etc/apt")
    paths = [
        etc / "sources.list",
        *sorted((etc / "sources.list.d").glob("*.list")),
        *sorted((etc / "sources.list.d").glob("*.sources")),
    ]
    return choose_mirror(environ, _read(Path("/etc/os-release")), [_read(path) for path in paths])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
