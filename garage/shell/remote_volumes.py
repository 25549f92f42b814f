"""The files of a node's volumes over SSH: as `LocalVolumes`, by small scripts that may be run again."""

from __future__ import annotations

from pathlib import Path

from garage.errors import N_, GarageError
from garage.shell.copies import KEEP, SCRIPT, live_draft, patience
from garage.shell.disk_files import MACHINE_ID, checked, disk_is_full
from garage.shell.node_shell import NodeShell, quoted
from garage.shell.volume_files import snapshot_beside

TIMEOUT = 90.0
"""Seconds: of a sync on a slow disk."""
FULL = ("No space left on device", "Disk quota exceeded", "File too large")
FOLDER = """umask 077; mkdir -p -m 711 {home}; mkdir -p -m 711 {folder}; [ -e {target} ] || : >>{target}
"""
AT_LEAST = """[ "$(stat -c %s {target})" -ge {size} ] || truncate -s {size} {target}
sync {target} {folder}
"""
REMOVE = "rm -rf {folder}\n"
BUSY = 46
"""Exit code of a script of ours: an earlier copy of the same volume still runs; without its draft it comes to nothing."""
LOCKED = """rm -f {target}.*.part
exec 9<{folder}; flock -w 60 9 || exit 46
"""
COPY = LOCKED + SCRIPT.replace("{sparse}", "always").replace("{mode}", "600")
DRAFT = """umask 077; truncate -s "$(stat -c %s {source})" {target}.live.part
"""
KEPT = "[ ! -e {target} ] || echo $(( $(stat -c %b {target}) * 512 ))\n"
SIZE = "stat -c %s {source}\n"
FORGET = "rm -f {target} {target}.*.part\n"


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

    def kept(self, volume: str, snapshot: str) -> int | None:
        return _number(self._run(KEPT, volume, target=self._beside(volume, snapshot)))

    def copy(self, volume: str, snapshot: str) -> None:
        self._copy(volume, self.path(volume), self._beside(volume, snapshot))

    def draft(self, volume: str, snapshot: str) -> Path:
        target = self._beside(volume, snapshot)
        self._run(LOCKED + DRAFT, volume, target=target, source=self.path(volume))
        return live_draft(target)

    def keep(self, volume: str, snapshot: str) -> None:
        self._run(KEEP, volume, target=self._beside(volume, snapshot))

    def restore(self, volume: str, snapshot: str, size_gib: int) -> None:
        self._copy(volume, self._beside(volume, snapshot), self.path(volume), size_gib)

    def forget(self, volume: str, snapshot: str) -> None:
        self._run(FORGET, volume, target=self._beside(volume, snapshot))

    def path(self, volume: str) -> Path:
        return self._home / checked(MACHINE_ID, volume) / "disk.raw"

    def _beside(self, volume: str, snapshot: str) -> Path:
        return snapshot_beside(self.path(volume), snapshot)

    def _copy(self, volume: str, source: Path, target: Path, size_gib: int = 0) -> None:
        size = _number(self._run(SIZE, volume, source=source)) or 0
        self._run(COPY, volume, size_gib, source=source, target=target, timeout=patience(size))

    def _run(self, script: str, volume: str, size_gib: int = 0, *, timeout: float = TIMEOUT, **names: Path) -> str:
        """What it says; `names`: of files, where it is not about the volume's own."""
        own = self.path(volume)
        paths = {"home": self._home, "folder": own.parent, "target": own} | names
        places = {name: quoted(path) for name, path in paths.items()}
        answer = self._shell.ask(script.format(**places, size=int(size_gib) << 30), timeout=timeout, check=False)
        if answer.returncode == BUSY:
            raise GarageError(
                "hypervisor_away",
                N_("{node} still copies the volume for an earlier worker"),
                hint=N_("nothing is lost; it is tried again"),
                node=self._shell.name,
            )
        if any(sign in answer.stderr for sign in FULL):
            raise disk_is_full()
        if answer.returncode:
            text, reason = N_("{tool} failed ({status}): {reason}"), answer.stderr[-2000:].strip()
            raise GarageError("tool_failed", text, tool=self._shell.name, status=answer.returncode, reason=reason)
        return answer.stdout.strip()


def _number(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None
