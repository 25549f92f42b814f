"""The files of a node's snapshots over SSH: as `LocalSnapshots`, by small scripts that are whole or did nothing.

Scripts of one machine run one after another (a lock on its folder), as those of `remote_disks`.
"""

from __future__ import annotations

from pathlib import Path

from garage.errors import N_, GarageError
from garage.shell.copies import COPIED, KEEP, SCRIPT, live_draft
from garage.shell.disk_files import MACHINE_ID, SHA256, checked, disk_is_full
from garage.shell.node_shell import NodeShell, quoted

FULL = ("No space left on device", "Disk quota exceeded")
LOCKED = """mkdir -p -m 711 {home}; mkdir -p -m 711 {folder}
exec 9<{folder}; flock -w 60 9; [ {folder} -ef /proc/self/fd/9 ] || exit 45
"""
IN_PLACE = "mkdir -p -m 711 {machines}; mkdir -p -m 711 {machine}\n"
"""A machine that is to be rebuilt has no folder."""
SIZE = "[ ! -e {target} ] || echo $(( $(stat -c %b {target}) * 512 ))\n"
COPY = SCRIPT.replace("{sparse}", "auto").replace("{size}", "0")
DRAFT = """rm -f {target}.*.part
size=$(od -An -tu8 --endian=big -j24 -N8 {disk} | tr -d ' ')
qemu-img create -q -f qcow2 -F qcow2 -b {image} {target}.live.part "$size"
"""
REMOVE = """[ -d {folder} ] || exit 0
exec 9<{folder}; flock -w 60 9; rm -f {target} {target}.*.part; rmdir {folder} 2>/dev/null || true
"""
REMOVE_ALL = """[ -d {folder} ] || exit 0
exec 9<{folder}; flock -w 60 9; rm -rf {folder}
"""


class RemoteSnapshots:
    """`core.hypervisor_types.SnapshotFiles` on a node."""

    def __init__(self, shell: NodeShell, home: Path) -> None:
        self._shell, self._home = shell, home / "snapshots"
        self._machines, self._images = home / "machines", home / "images"

    def size(self, machine_id: str, snapshot: str) -> int | None:
        said = self._run(SIZE, machine_id, snapshot)
        return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None

    def copy(self, machine_id: str, snapshot: str) -> None:
        source = quoted(self._disk(machine_id))
        self._run(LOCKED + COPY, machine_id, snapshot, source=source, mode="600")

    def draft(self, machine_id: str, snapshot: str, image_sha256: str) -> Path:
        image, disk = self._images / checked(SHA256, image_sha256) / "disk.qcow2", self._disk(machine_id)
        self._run(LOCKED + DRAFT, machine_id, snapshot, image=quoted(image), disk=quoted(disk))
        return live_draft(self.path(machine_id, snapshot))

    def keep(self, machine_id: str, snapshot: str) -> None:
        self._run(LOCKED + KEEP, machine_id, snapshot)

    def restore(self, machine_id: str, snapshot: str) -> None:
        disk, source = quoted(self._disk(machine_id)), quoted(self.path(machine_id, snapshot))
        made = IN_PLACE.format(machines=quoted(self._machines), machine=quoted(self._machines / machine_id))
        self._run(LOCKED + made + COPY, machine_id, snapshot, target=disk, source=source, mode="644")

    def remove(self, machine_id: str, snapshot: str) -> None:
        self._run(REMOVE, machine_id, snapshot)

    def remove_all(self, machine_id: str) -> None:
        self._run(REMOVE_ALL, machine_id, "0" * 20)

    def path(self, machine_id: str, snapshot: str) -> Path:
        return self._home / checked(MACHINE_ID, machine_id) / f"{checked(MACHINE_ID, snapshot)}.qcow2"

    def _disk(self, machine_id: str) -> Path:
        return self._machines / checked(MACHINE_ID, machine_id) / "disk.qcow2"

    def _run(self, script: str, machine_id: str, snapshot: str, **names: str) -> str:
        target = self.path(machine_id, snapshot)
        places = {"home": quoted(self._home), "folder": quoted(target.parent), "target": quoted(target)}
        answer = self._shell.ask(script.format(**(places | names)), timeout=COPIED, check=False)
        if any(sign in answer.stderr for sign in FULL):
            raise disk_is_full()
        if answer.returncode:
            text, reason = N_("{tool} failed ({status}): {reason}"), answer.stderr[-2000:].strip()
            raise GarageError("tool_failed", text, tool=self._shell.name, status=answer.returncode, reason=reason)
        return answer.stdout.strip()
