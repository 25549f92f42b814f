"""Whether KVM really works: `/dev/kvm` may open on servers where guests hang on it, so a guest has to prove it."""

from __future__ import annotations

import functools
import os
import pwd
import tempfile
from pathlib import Path

from garage.core.tiny_guest import Kind, build
from garage.errors import GarageError
from garage.shell.run import run

PROBE_TIMEOUT = 5.0
PROVED = 33
"""isa-debug-exit ends QEMU with (value << 1) | 1; the guest writes 0x10."""


@functools.cache
def works(cpuinfo: Path = Path("/proc/cpuinfo"), device: Path = Path("/dev/kvm")) -> bool:
    """True when the processor has VMX or SVM and a guest ran on `/dev/kvm` within PROBE_TIMEOUT seconds. Asked once per process."""
    return has_flag(cpuinfo.read_text()) and device.exists() and probe("kvm")


def open_to_qemu(device: Path = Path("/dev/kvm"), udev: Path = Path("/run/udev"), user: str = "libvirt-qemu") -> bool:
    """Give a server without udev the mode that systemd's rules give `/dev/kvm` (0666), if `user` cannot open it; True when done.

    Otherwise libvirt, whose probe may open it when its guests may not, asks QEMU again what it can at every single call: 8-16 s.
    """
    try:
        state, account = device.stat(), pwd.getpwnam(user)
    except (OSError, KeyError):
        return False
    groups = os.getgrouplist(user, account.pw_gid)
    if udev.exists() or state.st_mode & 0o006 == 0o006 or (state.st_gid in groups and state.st_mode & 0o060 == 0o060):
        return False
    device.chmod(0o666)
    return True


def has_flag(cpuinfo: str) -> bool:
    """`cpuinfo` (the text of /proc/cpuinfo) names vmx or svm among the flags."""
    lines = (line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags"))
    return any({"vmx", "svm"} & set(flags) for flags in lines)


def probe(accelerator: str, seconds: float = PROBE_TIMEOUT) -> bool:
    """Whether a tiny guest runs to its end with QEMU's `accelerator` within `seconds`."""
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "guest"
        kernel.write_bytes(build(Kind.EXIT))
        machine = ["-machine", "pc", "-accel", accelerator, "-m", "32", "-nodefaults", "-no-user-config"]
        devices = ["-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", str(kernel)]
        try:
            return run(["qemu-system-x86_64", *machine, *devices], timeout=seconds, check=False).returncode == PROVED
        except GarageError:
            return False
