"""A node's per-machine files over SSH: as `LocalDisks`, by small scripts that are whole or did nothing.

Scripts of one machine run one after another (a lock on its folder), because one whose worker was killed may still be running when the next
worker begins; and a disk never takes the place of one that is there, since that may be its QEMU's.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from garage.core.hypervisor_types import DiskSpace
from garage.errors import N_, GarageError
from garage.shell.disk_files import MACHINE_ID, SHA256, checked, disk_is_full, not_here
from garage.shell.disks import BOOT, SeedWriter
from garage.shell.node_shell import NodeShell, quoted
from garage.shell.remote_snapshots import RemoteSnapshots
from garage.shell.remote_volumes import RemoteVolumes

TIMEOUT = 90.0
"""Seconds: of `qemu-img` and a sync on a slow disk."""
LOOK_AGAIN = 30.0
"""Seconds for which a look at all machines' files is believed; own effects are seen at once."""
FULL = ("No space left on device", "Disk quota exceeded")
NOT_HERE = 44
"""Exit code of our scripts: the image is not on the node. 45: the folder was removed meanwhile."""
IN_FOLDER = """mkdir -p -m 711 {machines}; mkdir -p -m 711 {folder}
exec 9<{folder}; flock -w 60 9; [ {folder} -ef /proc/self/fd/9 ] || exit 45
rm -rf {target}.*.part {folder}/.seed-*; trap 'rm -f {target}.$$.part' EXIT
"""
MAKE_DISK = """[ -e {image} ] || exit 44
[ "$(head -c 4 {image} | od -An -tx1 | tr -d ' ')" = 514649fb ]
size=$(od -An -tu8 --endian=big -j24 -N8 {image} | tr -d ' ')
[ "$size" -ge {size} ] || size={size}
qemu-img create -q -f qcow2 -F qcow2 -b {image} {target}.$$.part "$size"
sync {target}.$$.part; [ -e {target} ] || mv -T {target}.$$.part {target}; sync {folder}
"""
GROW_DISK = """size=$(od -An -tu8 --endian=big -j24 -N8 {target} | tr -d ' ')
[ "$size" -ge {size} ] && exit 0
qemu-img resize -q -f qcow2 {target} {size}; sync {target}
"""
WRITE = """umask 077; cat >{target}.$$.part; sync {target}.$$.part; mv -fT {target}.$$.part {target}; sync {folder}
"""
COPY = """[ -e {source} ] || exit 44
cp -T {source} {target}.$$.part; chmod 444 {target}.$$.part; mv -fT {target}.$$.part {target}
"""
REMOVE = """[ -d {folder} ] || exit 0
exec 9<{folder}; flock -w 60 9; rm -rf {folder}
"""
LIST = """cd {machines} 2>/dev/null || exit 0
for file in */disk.qcow2 */seed.iso; do [ ! -e "$file" ] || echo "$file"; done
"""
SPACE = "stat -f -c '%a %b %S' {home}\n"


@dataclass(slots=True)
class _Known:
    """Which machines have a file, as seen at `at` and changed by ourselves since."""

    at: float
    disks: set[str]
    seeds: set[str]


class RemoteDisks:
    """`core.hypervisor_types.Disks` on a node, below the same `home` as here."""

    def __init__(
        self, shell: NodeShell, home: Path, write_seed: SeedWriter, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._shell, self._home, self._writer, self._monotonic = shell, home, write_seed, monotonic
        self._machines, self._images = home / "machines", home / "images"
        self.snapshots, self.volumes = RemoteSnapshots(shell, home), RemoteVolumes(shell, home)
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def present(self, machine_id: str) -> tuple[bool, bool]:
        checked(MACHINE_ID, machine_id)
        with self._lock:
            known = self._known
            if known is None or self._monotonic() - known.at > LOOK_AGAIN:
                known = self._known = self._look()
            return machine_id in known.disks, machine_id in known.seeds

    def make_disk(self, machine_id: str, image_sha256: str, size_gib: int) -> None:
        """An overlay of `size_gib`, or of the image's size where that is larger."""
        image = quoted(self.image_path(image_sha256) / "disk.qcow2")
        self._make(self.disk_path(machine_id), MAKE_DISK, image_sha256, image=image, size=str(int(size_gib) << 30))
        self._note(machine_id, disk=True)

    def grow_disk(self, machine_id: str, size_gib: int) -> None:
        """Of a disk that is large enough already nothing is changed."""
        self._make(self.disk_path(machine_id), GROW_DISK, size=str(int(size_gib) << 30))

    def write_seed(self, machine_id: str, files: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="garage-seed-") as folder:
            path = Path(folder, "seed.iso")
            self._writer(path, files)
            self._make(self.seed_path(machine_id), WRITE, input=path.read_bytes())
        self._note(machine_id, seed=True)

    def copy_kernel(self, machine_id: str, image_sha256: str) -> tuple[Path, Path | None]:
        image, folder = self.image_path(image_sha256), self._folder(machine_id)
        self._make(folder / BOOT[0], COPY, image_sha256, source=quoted(image / BOOT[0]))
        try:
            self._make(folder / BOOT[1], COPY, image_sha256, source=quoted(image / BOOT[1]))
        except GarageError as error:
            if error.code == "unavailable":
                return folder / BOOT[0], None
            raise
        return folder / BOOT[0], folder / BOOT[1]

    def remove(self, machine_id: str) -> None:
        self._run(REMOVE.format(folder=quoted(self._folder(machine_id))))
        with self._lock:
            if self._known:
                self._known.disks.discard(machine_id)
                self._known.seeds.discard(machine_id)

    def space(self) -> DiskSpace:
        said = self._shell.ask(SPACE.format(home=quoted(self._home))).stdout.split()
        if len(said) != 3 or not all(word.isascii() and word.isdigit() and len(word) < 20 for word in said):
            raise self._shell.nonsense()
        free, total, block = (int(word) for word in said)
        return DiskSpace(free * block, total * block)

    def disk_path(self, machine_id: str) -> Path:
        return self._folder(machine_id) / "disk.qcow2"

    def seed_path(self, machine_id: str) -> Path:
        return self._folder(machine_id) / "seed.iso"

    def image_path(self, image_sha256: str) -> Path:
        return self._images / checked(SHA256, image_sha256)

    def _folder(self, machine_id: str) -> Path:
        return self._machines / checked(MACHINE_ID, machine_id)

    def _make(self, target: Path, script: str, image: str = "", /, input: bytes = b"", **names: str) -> None:
        places = {"machines": self._machines, "folder": target.parent, "target": target}
        filled = {key: quoted(path) for key, path in places.items()} | names
        self._run((IN_FOLDER + script).format(**filled), image, input)

    def _run(self, script: str, image: str = "", input: bytes = b"") -> None:
        answer = self._shell.ask(script, input, TIMEOUT, check=False)
        if answer.returncode == NOT_HERE and image:
            raise not_here(image)
        if any(sign in answer.stderr for sign in FULL):
            raise disk_is_full()
        if answer.returncode:
            text, reason = N_("{tool} failed ({status}): {reason}"), answer.stderr[-2000:].strip()
            raise GarageError("tool_failed", text, tool=self._shell.name, status=answer.returncode, reason=reason)

    def _note(self, machine_id: str, *, disk: bool = False, seed: bool = False) -> None:
        with self._lock:
            if self._known and disk:
                self._known.disks.add(machine_id)
            if self._known and seed:
                self._known.seeds.add(machine_id)

    def _look(self) -> _Known:
        """One call for all machines."""
        began = self._monotonic()
        said = self._shell.ask(LIST.format(machines=quoted(self._machines))).stdout
        found = [line.partition("/")[::2] for line in said.splitlines()]
        return _Known(
            began,
            {owner for owner, file in found if file == "disk.qcow2" and MACHINE_ID.fullmatch(owner)},
            {owner for owner, file in found if file == "seed.iso" and MACHINE_ID.fullmatch(owner)},
        )
