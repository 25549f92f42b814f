"""Which installation this is: told to the registry, which so finds a server whose files were copied to another one."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")


def installation(folder: Path, machine_id: Path = MACHINE_ID) -> str:
    """The same as long as `folder` stays where it is, another one for any copy of it; "" without it. Nothing can be learnt from it:
    machine-id(5) is not to be shown as it is."""
    with contextlib.suppress(OSError):
        seen, machine = folder.stat(), machine_id.read_bytes() if machine_id.exists() else b""
        return hashlib.sha256(b"garage installation %b %d %d" % (machine, seen.st_dev, seen.st_ino)).hexdigest()[:32]
    return ""
