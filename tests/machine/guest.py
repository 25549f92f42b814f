"""A guest on plain QEMU, without libvirt and without a bridge: QEMU's user network, a port of loopback forwarded to port 22.

    test ── 127.0.0.1:PORT ── QEMU (DHCP, restricted: nothing else answers) ── guest 10.0.2.15

Not one of its packets leaves QEMU but answers on that port. Its QEMU ends with the run of tests (tests/leftovers.py).

`python -m tests.machine.guest debian-12 [N]` measures N cold boots to the SSH banner of an image of the test cache.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from garage.core.seed import Identity, seed_files
from garage.core.sshkeys import make_host_key
from garage.shell.images import Manifest, load
from garage.shell.seed import write_seed
from tests.leftovers import Run

BOOT_SECONDS = 240.0
"""Longest cold boot that is waited for, on a busy server under TCG."""


@dataclass
class Guest:
    """A running guest. `banner` is how long port 22 took to answer, `cpu` what QEMU had used by then; both in seconds."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int
    host_key: str
    started: float = field(default_factory=time.monotonic)
    banner: float = 0.0
    cpu: float = 0.0

    def wait_for_banner(self, seconds: float = BOOT_SECONDS) -> float:
        while time.monotonic() < self.started + seconds:
            assert self.process.poll() is None, self.console()
            if _banner(self.port).startswith(b"SSH-2.0-"):
                self.banner, self.cpu = time.monotonic() - self.started, _cpu(self.process.pid)
                return self.banner
            time.sleep(0.05)
        raise AssertionError(f"no banner in {seconds:.0f} s\n{self.console()}")

    def console(self) -> str:
        path = self.folder / "console"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def ssh(self, command: str, *, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """`command` in the guest as its login user; the host key must be the seed's."""
        options = [
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            f"UserKnownHostsFile={self.folder}/known",
            "-o",
            "BatchMode=yes",
        ]
        options += ["-o", "ConnectTimeout=60", "-o", "IdentitiesOnly=yes", "-i", str(self.folder / "key"), "-F", "none"]
        argv = ["ssh", *options, "-p", str(self.port), "debian@127.0.0.1", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)

    def says(self, command: str, *, seconds: float = 120) -> str:
        """What `command` prints; it must succeed."""
        done = self.ssh(command, seconds=seconds)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{done.stdout}"
        return done.stdout.strip()

    def again(self, image: tuple[Path, Manifest]) -> Guest:
        """The same disk and seed once more, after `process` has ended."""
        store, manifest = image
        return start(self.folder, store / manifest.sha256, manifest.cmdline, self.host_key)


@contextlib.contextmanager
def guest(
    store: Path,
    manifest: Manifest,
    *,
    name: str = "vm7",
    user_data: str | None = None,
    disk_gib: int = 10,
    seeded: bool = True,
    options: Sequence[str] = (),
    words: str = "",
) -> Iterator[Guest]:
    """Boot an image on an overlay disk with a seed of its own; `options` go to QEMU, `words` to the kernel. Killed in the end."""
    with tempfile.TemporaryDirectory(prefix="garage-guest-") as place:
        folder = Path(place)
        host_key = _seed(folder, name, user_data)
        image = store / manifest.sha256
        overlay = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image / "disk.qcow2")]
        subprocess.run([*overlay, str(folder / "disk.qcow2"), f"{disk_gib}G"], check=True)
        made = start(folder, image, f"{manifest.cmdline} {words}".strip(), host_key, seeded=seeded, options=options)
        try:
            yield made
        finally:
            made.process.kill()
            made.process.wait()


def start(
    folder: Path, image: Path, cmdline: str, host_key: str, *, seeded: bool = True, options: Sequence[str] = ()
) -> Guest:
    """QEMU on the disk and seed in `folder`."""
    port = _free_port()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    argv = [
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
        "-machine",
        "q35",
        "-smp",
        "2",
        "-m",
        "1024",
    ]
    argv += ["-display", "none", "-nodefaults", "-no-user-config", "-serial", f"file:{folder}/console"]
    argv += ["-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd.img", "-append", cmdline]
    argv += [
        "-drive",
        f"file={folder}/disk.qcow2,if=none,id=root,cache=writeback",
        "-device",
        "virtio-blk-pci,drive=root",
    ]
    if seeded:
        argv += ["-drive", f"file={folder}/seed.iso,if=none,id=seed,format=raw,readonly=on"]
        argv += ["-device", "virtio-blk-pci,drive=seed"]
    argv += [
        "-netdev",
        f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device",
        "virtio-net-pci,netdev=net,romfile=",
    ]
    argv += ["-device", "virtio-rng-pci", "-device", "pvpanic", "-device", "virtio-serial", *_agent(folder), *options]
    return Guest(folder, subprocess.Popen(argv, stdin=subprocess.DEVNULL), port, host_key)


def _agent(folder: Path) -> list[str]:
    channel = f"socket,path={folder}/agent,server=on,wait=off,id=agent"
    return ["-chardev", channel, "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]


def _seed(folder: Path, name: str, user_data: str | None) -> str:
    """Seed disk and login key in `folder`; the host's public key."""
    private, public = make_host_key(os.urandom(32), name)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    key = (folder / "key.pub").read_text().strip()
    who = Identity(
        machine_id=os.urandom(8).hex(),
        hostname=name,
        fqdn=f"{name}.alice.home.garage.internal",
        host_key_private=private.decode(),
        host_key_public=public,
        authorized_keys=[key],
        ipv4="10.0.2.15",
        gateway="10.0.2.2",
        user_data=user_data,
    )
    write_seed(folder / "seed.iso", seed_files(who))
    return " ".join(public.split()[:2])


def _banner(port: int) -> bytes:
    """What port 22 says first; QEMU itself accepts the connection at once and closes it when the guest refuses."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
            return stream.recv(64)
    except OSError:
        return b""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(store: Path, name: str, count: int) -> None:
    """Print banner times and QEMU's processor seconds of `count` cold boots of the newest image `name`."""
    found = [load(path.parent) for path in store.glob("*/manifest.json")]
    manifest = max((one for one in found if one.name == name), key=lambda one: one.built_at)
    seconds = []
    for _ in range(count):
        with guest(store, manifest) as one:
            seconds.append(one.wait_for_banner())
            print(f"{name} {one.banner:.1f} s, {one.cpu:.1f} CPU s, load {os.getloadavg()[0]:.1f}", flush=True)
    print(
        f"{name} median {statistics.median(seconds):.1f} s (n={count}, min {min(seconds):.1f}, max {max(seconds):.1f})"
    )


if __name__ == "__main__":
    cache = Path(os.environ.get("GARAGE_TEST_CACHE", "/var/cache/garage-test"))
    run = Run()
    try:
        measure(cache / "images", sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
    finally:
        run.end()
