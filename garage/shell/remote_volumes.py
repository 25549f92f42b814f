"""The files of a node's volumes over SSH: as `LocalVolumes`, by small scripts that may be run again."""

from __future__ import annotations

from pathlib import Path

from garage.errors import N_, GarageError
from garage.shell.disk_files import MACHINE_ID, checked, disk_is_full
from garage.shell.node_shell import NodeShell, quoted

TIMEOUT = 90.0
"""Seconds: of a sync on a slow disk."""
FULL = ("No space left on device", "Disk quota exceeded", "File too large")
FOLDER = """umask 077; mkdir -p -m 711 {home}; mkdir -p -m 711 {folder}; [ -e {target} ] || : >>{target}
"""
AT_LEAST = """[ "$(stat -c %s {target})" -ge {size} ] || truncate -s {size} {target}
sync {target} {folder}
"""
REMOVE = "rm -rf {folder}\n"


class RemoteVolumes:
    """`core.hypervisor_types.VolumeFiles` on a node."""

    def __init__(self, shell: NodeShell, home: Path) -> None:
        self._shell, self._home = shell, home / "volumes"

    def make(self, volume: str, size_gib: int) -> None:
        self._run(FOLDER + AT_LEAST, volume, size_gib)

    def grow(self, volume: str, size_gib: int) -> None:
        self._run(AT_LEAST, volume, size_gib)

    def remove(self, volume: str) -> None:
        self._run(REMOVE, volume)

    def path(self, volume: str) -> Path:
        return self._home / checked(MACHINE_ID, volume) / "disk.raw"

    def _run(self, script: str, volume: str, size_gib: int = 0) -> None:
        target = self.path(volume)
        places = {"home": quoted(self._home), "folder": quoted(target.parent), "target": quoted(target)}
        answer = self._shell.ask(script.format(**places, size=int(size_gib) << 30), timeout=TIMEOUT, check=False)
        if any(sign in answer.stderr for sign in FULL):
            raise disk_is_full()
        if answer.returncode:
            text, reason = N_("{tool} failed ({status}): {reason}"), answer.stderr[-2000:].strip()
            raise GarageError("tool_failed", text, tool=self._shell.name, status=answer.returncode, reason=reason)
