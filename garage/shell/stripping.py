"""The throw-away guest that takes a machine's identity off its disk (`core.strip`): QEMU as nobody, without network, within limits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from garage.core import strip
from garage.errors import N_, GarageError
from garage.shell import kvm
from garage.shell.images import load
from garage.shell.overlays import Overlay
from garage.shell.sandbox import Limits, run_confined
from garage.shell.workplace import MARGIN, Told, opened, size_of

MEMORY_MIB = 256
LIMITS = Limits(memory=3 << 30, processor=600, wall=600.0)
"""Emulated it takes 7 s where nothing else runs (docs/decisions/0405-save-as-image.md)."""
SAID = 1 << 16
"""Bytes of its console's end that are read."""
SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
RECIPE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the garage's own images: its kernel and initrd, and its disk for more modules."""

    folder: Path


def tool_of(store: Path, base: str) -> Tool:
    """The image below if the garage has built it, else the newest that it has."""
    found = [path.parent for path in store.glob("*/manifest.json") if not path.parent.name.startswith(".")]
    ours = [
        folder
        for folder in found
        if (manifest := load(folder)).initrd == "garage" and RECIPE.fullmatch(manifest.recipe)
    ]
    if not ours:
        raise GarageError(
            "unavailable",
            N_("taking a machine's identity off its disk needs an image that the garage has built"),
            hint=N_("an admin can build one: “make up” on the server, or garage image build"),
        )
    return Tool(max(ours, key=lambda folder: (folder.name == base, load(folder).built_at)))


def stripped(overlay: Overlay, tool: Tool, place: Path, told: Told) -> None:
    """Raises `image_refused` where the identity cannot be taken off, `tool_failed` or `timeout`."""
    initrd, console = place / "initrd.img", place / "console"
    initrd.write_bytes((tool.folder / "initrd.img").read_bytes() + strip.archive())
    initrd.chmod(0o444)
    limits = Limits(LIMITS.memory, overlay.size + MARGIN, LIMITS.processor, LIMITS.wall)
    run_confined(argv(overlay, tool, initrd, console), place, limits, lambda: told("strip", 0, 0))
    strip.judge(_said(console))


def argv(overlay: Overlay, tool: Tool, initrd: Path, console: Path) -> list[str]:
    """A guest without network, without anything but its two disks and a console that is a file."""
    accel, cpu = ("kvm", "host") if kvm.works() else ("tcg,tb-size=64", "max")
    root = overlay.node() | {"node-name": "root", "discard": "unmap", "detect-zeroes": "unmap"}
    below = {"driver": "file", "filename": str(tool.folder / "disk.qcow2"), "read-only": True}
    more = {"driver": "qcow2", "node-name": "tool", "read-only": True, "file": below, "backing": None}
    words = ["qemu-system-x86_64", "-accel", accel, "-cpu", cpu, "-machine", "pc", "-smp", "1", "-m", str(MEMORY_MIB)]
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot", "-sandbox", SANDBOX]
    words += ["-chardev", f"file,id=said,path={console.name}", "-serial", "chardev:said"]
    words += ["-kernel", str(tool.folder / "vmlinuz"), "-initrd", str(initrd), "-append", strip.CMDLINE]
    for node in (root, more):
        words += ["-blockdev", json.dumps(node), "-device", f"virtio-blk-pci,drive={node['node-name']}"]
    return words


def _said(console: Path) -> str:
    """A guest without a word has no file; one that broke out of its QEMU may have put a link there."""
    if not console.exists():
        return ""
    with opened(console) as file:
        file.seek(max(0, size_of(console) - SAID))
        return file.read().decode("utf-8", "replace")
