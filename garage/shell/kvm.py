"""Whether KVM really works: `/dev/kvm` may open on servers where guests hang on it, so a guest has to prove it."""

from __future__ import annotations

import functools
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


def has_flag(cpuinfo: str) -> bool:
    """`cpuinfo` (the text of /proc/cpuinfo) names vmx or svm among the flags."""
    lines = (line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags"))
    return any({"vmx", "svm"} & set(flags) for flags in lines)


def probe(accelerator: str) -> bool:
    """Whether a tiny guest runs to its end with QEMU's `accelerator`."""
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "guest"
        kernel.write_bytes(build(Kind.EXIT))
        machine = ["-machine", "pc", "-accel", accelerator, "-m", "32", "-nodefaults", "-no-user-config"]
        devices = ["-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", str(kernel)]
        try:
            return (
                run(["qemu-system-x86_64", *machine, *devices], timeout=PROBE_TIMEOUT, check=False).returncode == PROVED
            )
        except GarageError:
            return False
