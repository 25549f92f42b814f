"""`machine.cold_to_ssh`: from a request to the first SSH banner, beside `virt-install --import --cloud-init` in the same run.

The baseline boots the same packages without our tuning (images/debian-12-plain.toml), with the same vCPUs and memory; its guest is
reached through QEMU's user network, whose DHCP answers at once. Both are measured in turn, so that a busy server harms both alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.record import Figure, benchmark
from bench.running import ROOT, Running, running
from garage.core.recipe import parse_recipe
from garage.shell.images import Manifest, build
from garage.shell.mirrors import server_mirror

ROUNDS = int(os.environ.get("GARAGE_BENCH_ROUNDS", "3"))
PATIENCE = 600.0
VCPUS, MEMORY_MIB, SIZE = 2, 2048, "small"
USER_DATA = "#cloud-config\nssh_pwauth: false\n"


@benchmark("machine.cold_to_ssh")
def cold_to_ssh() -> Figure:
    """Median seconds of ours; the baseline's median beside it."""
    garage = running()
    store, plain = _plain_image(garage)
    virt = (
        "kvm" if _api(garage, "GET", "/nodes")["items"][0]["virtualisation"] == "kvm" else "qemu"
    )  # virt-install trusts /dev/kvm
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(_virt_install(store, plain, virt))
        ours.append(_our_machine(garage))
        print(f"  ours {ours[-1]:.1f} s, virt-install {theirs[-1]:.1f} s", file=sys.stderr, flush=True)
    value, baseline = statistics.median(ours), statistics.median(theirs)
    note = f"ours {_list(ours)}; baseline {_list(theirs)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    return Figure(
        "machine.cold_to_ssh",
        value,
        "s",
        ROUNDS,
        note,
        "virt-install --import --cloud-init, untuned image",
        baseline,
        baseline / value,
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _plain_image(garage: Running) -> tuple[Path, Manifest]:
    store = garage.home / "bench-images"
    recipe = parse_recipe((ROOT / "images" / "debian-12-plain.toml").read_text())
    work = garage.home / "bench-work"
    return store, build(recipe, store=store, mirror=server_mirror(os.environ), work=work, progress=lambda *_: None)


def _our_machine(garage: Running) -> float:
    """A request to the API until the controller's own probe of port 22 saw a banner; the machine is deleted after that."""
    name = f"bench-{uuid.uuid4().hex[:6]}"
    began = time.monotonic()
    made = _api(garage, "POST", "/machines", {"name": name, "size": SIZE})
    try:
        while (found := _api(garage, "GET", f"/machines/{made['id']}"))["state"] != "ready":
            if found["state"] == "failed" or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"{name}: {found['state']} {found['error']}")
            time.sleep(0.05)
        return time.monotonic() - began
    finally:
        _api(garage, "DELETE", f"/machines/{made['id']}")
        while _api(garage, "GET", f"/machines/{made['id']}")["state"] != "gone":
            time.sleep(0.2)


def _api(garage: Running, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    settings = (garage.home / "garage.toml").read_text()
    listen = next((line.split('"')[1] for line in settings.splitlines() if line.startswith("listen")), "127.0.0.1:8080")
    listen = garage.environ.get("GARAGE_LISTEN", listen)
    token = (garage.home / "admin.token").read_text().strip()
    request = urllib.request.Request(
        f"http://{listen}/api/v1{path}", method=method, data=json.dumps(body).encode() if body else None
    )
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def _virt_install(store: Path, image: Manifest, virt: str) -> float:
    """virt-install's call until the banner; the domain is removed after that."""
    name, port = f"bench-{uuid.uuid4().hex[:8]}", _free_port()
    with _folder() as folder:
        files = store / image.sha256
        overlay = folder / "disk.qcow2"
        seed = folder / "user-data"
        seed.write_text(USER_DATA)
        began = time.monotonic()
        subprocess.run(
            [
                "qemu-img",
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "qcow2",
                "-b",
                str(files / "disk.qcow2"),
                str(overlay),
                "10G",
            ],
            check=True,
        )
        try:
            subprocess.run(
                [*_virt_install_argv(name, files, image, overlay, seed, port), "--virt-type", virt],
                check=True,
                stdout=sys.stderr,
                stdin=subprocess.DEVNULL,
            )
            _wait_for_banner(port, began)
            return time.monotonic() - began
        finally:
            for words in (["destroy", name], ["undefine", name]):
                subprocess.run(["virsh", "-q", "-c", "qemu:///system", *words], check=False, stdout=sys.stderr)


def _virt_install_argv(name: str, files: Path, image: Manifest, overlay: Path, seed: Path, port: int) -> list[str]:
    boot = f"kernel={files / 'vmlinuz'},initrd={files / 'initrd.img'},kernel_args={image.cmdline}"
    net = f"-netdev user,id=bench,hostfwd=tcp:127.0.0.1:{port}-:22 -device virtio-net-pci,netdev=bench,addr=0x1d"
    return [
        *(
            "virt-install",
            "--connect",
            "qemu:///system",
            "--name",
            name,
            "--import",
            "--noautoconsole",
            "--graphics",
            "none",
        ),
        *("--memory", str(MEMORY_MIB), "--vcpus", str(VCPUS), "--machine", "pc", "--osinfo", "detect=on,require=off"),
        *(
            "--disk",
            f"path={overlay},format=qcow2,bus=virtio",
            "--boot",
            boot,
            "--network",
            "none",
            "--rng",
            "/dev/urandom",
        ),
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


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Where libvirt's QEMU may read."""
    path = Path(tempfile.mkdtemp(prefix="garage-bench-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
