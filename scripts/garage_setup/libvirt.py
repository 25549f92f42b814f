"""libvirt's daemon and this garage's domains, through virsh."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from garage_setup.place import SCRIPTS, Place

PID_FILES = (Path("/run/libvirtd.pid"), Path("/run/virtlogd.pid"))
DEFINITIONS = Path("/etc/libvirt/qemu")
VIRSH = ("virsh", "-q", "-c", "qemu:///system")


def virsh(*words: str) -> subprocess.CompletedProcess[str]:
    """One call, ten seconds at most; code 124 where libvirt is away."""
    try:
        return subprocess.run([*VIRSH, *words], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return subprocess.CompletedProcess(words, 124, "", "libvirt does not answer")


def answers() -> bool:
    return virsh("uri").returncode == 0


def domains(place: Place, *filters: str) -> list[str]:
    """Names of the domains that belong to this garage."""
    prefix = f"garage-{place.instance}-"
    names = virsh("list", "--name", *(filters or ("--all",))).stdout.split()
    return [name for name in names if place.instance and name.startswith(prefix)]


def remove_domains(place: Place) -> int:
    """Destroy and forget them; returns how many. Starts libvirt where only it can still forget some."""
    if not answers() and place.instance and list(DEFINITIONS.glob(f"garage-{place.instance}-*.xml")):
        start = (SCRIPTS / "node-setup", "--home", place.home, "--roles", "hypervisor")
        subprocess.run(start, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    names = domains(place)
    for name in names:
        virsh("destroy", name)
        virsh("undefine", name, "--managed-save", "--snapshots-metadata", "--checkpoints-metadata")
    return len(names)


def stop_ours(place: Place) -> bool:
    """Stop the daemons if set-up started them and no domain of anybody runs; True if it did."""
    marker = place.run / "libvirt-started"
    if not marker.exists() or virsh("list", "--name").stdout.split():
        return False
    for path in PID_FILES:
        end(path)
    marker.unlink()
    return True


def end(pid_file: Path, patience: float = 5.0) -> None:
    """Returns when it is gone. libvirt 11 takes half a minute where a thread of its start still waits; no domain depends on it here."""
    try:
        pid = int(pid_file.read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return
    if name != pid_file.stem:
        return
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
