"""Files: whole or not at all, and the root-owned ones read with suspicion."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from netd.errors import NetdError

MAX_BYTES = 1 << 20


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace `path` atomically."""
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    temporary.rename(path)


def read(path: Path) -> str | None:
    """The file's text, None without one."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def read_trusted(path: Path) -> str:
    """A policy file's text, "" without one. One that others than its owner root could write is refused: it would weaken the floor."""
    try:
        with path.open() as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise NetdError(
                    "config", f"{path} is writable by others than root", hint=f"chown root {path}; chmod 644 {path}"
                )
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        return ""
