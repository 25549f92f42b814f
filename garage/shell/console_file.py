"""Console logs: virtlogd writes them, the web process (group `garage`) reads them."""

from __future__ import annotations

import contextlib
import grp
import os
from pathlib import Path

from garage.core.console import MAX_BYTES

GROUP = "garage"
ROTATED = (".0", ".1", ".2", ".3", ".4")
"""virtlogd's older pieces (its max_backups is 3 unless the server's admin changed it)."""


def prepare(path: Path) -> None:
    """Make the log before virtlogd does: it keeps the mode of a file that is there."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
    try:
        _let_group_read(handle)
    finally:
        os.close(handle)


def keep_readable(path: Path) -> None:
    """After virtlogd rotated a log its new file is root's alone: let the group read it again."""
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o777 != 0o640:
            prepare(path)


def _let_group_read(handle: int) -> None:
    os.fchmod(handle, 0o640)
    with contextlib.suppress(KeyError, PermissionError):
        os.fchown(handle, -1, grp.getgrnam(GROUP).gr_gid)


def tail(path: Path) -> bytes:
    """The end of the log, at most MAX_BYTES; of the piece before as well when the log was just rotated. Empty without a log."""
    new = _end(path, MAX_BYTES)
    return new if len(new) > 2048 else _end(path.with_name(path.name + ".0"), MAX_BYTES - len(new)) + new


def _end(path: Path, limit: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as file:
        file.seek(max(0, os.fstat(handle).st_size - limit))
        return file.read(limit)


def replace(path: Path, data: bytes) -> None:
    """Keep `data` as the log: of a machine on another server."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)
    with os.fdopen(handle, "wb") as file:
        _let_group_read(handle)
        file.write(data)
    draft.rename(path)


def remove(path: Path) -> None:
    for name in (path.name, *(path.name + suffix for suffix in ROTATED)):
        path.with_name(name).unlink(missing_ok=True)
