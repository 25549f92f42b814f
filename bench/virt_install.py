"""The baseline of `machine.*_to_ssh`: `virt-install --import --cloud-init` with the same packages, vCPUs and memory, untuned.

Its guest is reached through QEMU's user network, whose DHCP answers at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from bench.running import ROOT
from bench.workplace import Workplace
from garage.core.recipe import parse_recipe
from garage.shell.images import Manifest, build
from garage.shell.mirrors import server_mirror

NAME = "virt-install --import --cloud-init, untuned image"
RECIPE = ROOT / "images" / "debian-12-plain.toml"
PATIENCE = 600.0
VCPUS, MEMORY_MIB = 2, 2048
USER_DATA = "#cloud-config\nssh_pwauth: false\n"
VIRSH = ("virsh", "-q", "-c", "qemu:///system")


@dataclass(frozen=True)
class Baseline:
    """Builds the untuned image once; `seconds` measures a machine that boots it."""

    place: Workplace
    image: Manifest
    virt: str
    """virt-install's word for KVM or TCG; of itself it trusts the mere presence of /dev/kvm."""

    def seconds(self) -> float:
        """virt-install's call until the banner; the domain is removed after that."""
        name, port = f"bench-{uuid.uuid4().hex[:8]}", _free_port()
        folder = self.place.folder / "guest"
        folder.mkdir(mode=0o755)
        seed = folder / "user-data"
        seed.write_text(USER_DATA)
        try:
            with self.place.noted("domain", name, remove_domain):
                return self._boot(name, folder / "disk.qcow2", seed, port)
        finally:
            shutil.rmtree(folder)

    def _boot(self, name: str, disk: Path, seed: Path, port: int) -> float:
        files = self.place.folder / "images" / self.image.sha256
        began = time.monotonic()
        backing = ("-b", str(files / "disk.qcow2"), "-F", "qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(disk), "10G"], check=True)
        argv = [*_argv(name, files, self.image, disk, seed, port), "--virt-type", self.virt]
        subprocess.run(argv, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL)
        _wait_for_banner(port, began)
        return time.monotonic() - began


def baseline(place: Workplace, *, kvm: bool) -> Baseline:
    """With the image built in `place`."""
    recipe, mirror = parse_recipe(RECIPE.read_text()), server_mirror(os.environ)
    store, work = place.folder / "images", place.folder / "work"
    image = build(recipe, store=store, mirror=mirror, work=work, progress=lambda *_: None)
    return Baseline(place, image, "kvm" if kvm else "qemu")


def remove_domain(name: str) -> None:
    """Also where it was never defined."""
    for words in (["destroy", name], ["undefine", name]):
        subprocess.run([*VIRSH, *words], check=False, capture_output=True)


def _argv(name: str, files: Path, image: Manifest, disk: Path, seed: Path, port: int) -> list[str]:
    boot = f"kernel={files / 'vmlinuz'},initrd={files / 'initrd.img'},kernel_args={image.cmdline}"
    net = f"-netdev user,id=bench,hostfwd=tcp:127.0.0.1:{port}-:22 -device virtio-net-pci,netdev=bench,addr=0x1d"
    return [
        *("virt-install", "--connect", "qemu:///system", "--name", name, "--import"),
        *("--noautoconsole", "--graphics", "none", "--network", "none", "--rng", "/dev/urandom"),
        *("--memory", str(MEMORY_MIB), "--vcpus", str(VCPUS), "--machine", "pc", "--osinfo", "detect=on,require=off"),
        *("--disk", f"path={disk},format=qcow2,bus=virtio", "--boot", boot),
        *("--cloud-init", f"user-data={seed}", f"--qemu-commandline={net}"),
    ]


def _wait_for_banner(port: int, began: float) -> None:
    while time.monotonic() - began < PATIENCE:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(2)
            if connection.recv(16).startswith(b"SSH-2.0"):
                return
        time.sleep(0.05)
    raise RuntimeError("virt-install's machine did not answer")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
