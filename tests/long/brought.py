"""A published image's whole way through a real garage, as a member takes it: uploaded, converted in the sandbox, booted by its own loader
through libvirt on netd's network, logged in to, saved as an image, and that booted again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from garage.shell.images import sha256_of
from tests.long.published import published
from tests.machine.garage_inside import GarageInside

FIRMWARE = {"bios": "test ! -e /sys/firmware/efi", "uefi": "test -e /sys/firmware/efi"}
"""By `--boot`: what is true in a guest that was started so."""
USER_DATA = "#!/bin/sh\nid -un > /var/tmp/ran\n"
GROWN_GIB = 4
"""The size tiny has 5; the disk that was brought has 2."""
KNOWN = ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub", "/var/lib/cloud/data/instance-id")
"""By which a machine is known: never the same in two."""
Say = Callable[[str], None]


def trial(store: Path, work: Path, say: Say) -> dict[str, Any]:
    """Figures by firmware; `store` has the garage's own image, which the saving needs. Raises AssertionError."""
    began = time.monotonic()
    with published(work) as disk, garage(store) as made:
        figures: dict[str, Any] = {"build_s": round(time.monotonic() - began), "mib": disk.stat().st_size >> 20}
        say(f"  a disk of {figures['mib']} MiB after {figures['build_s']} s")
        (made.home / "user-data").write_text(USER_DATA)
        for boot in FIRMWARE:
            figures[boot] = boots(made, disk, boot)
            say(f"  {boot}: {figures[boot]}")
        figures["saved"] = saved(made, "uefi")
        say(f"  saved: {figures['saved']}")
    return figures


class Slow(GarageInside):
    patience = 900.0


@contextmanager
def garage(store: Path) -> Iterator[GarageInside]:
    made = Slow(store, own_store=True)
    try:
        yield made
    finally:
        made.close()


def boots(made: GarageInside, disk: Path, boot: str) -> dict[str, int]:
    began = time.monotonic()
    made.garage("image", "import", f"published-{boot}", str(disk), "--sha256", sha256_of(disk), "--boot", boot)
    brought = time.monotonic()
    user_data = ("--user-data", str(made.home / "user-data"))
    made.garage("machine", "create", boot, "--image", f"published-{boot}", "--size", "tiny", *user_data)
    ready = time.monotonic()
    assert made.show(boot)["state"] == "ready"
    has_what_was_promised(made, boot)
    assert made.ssh(boot, f"sudo {FIRMWARE[boot]} && echo so") == "so\n"
    return {"import_s": round(brought - began), "ready_s": round(ready - brought)}


def has_what_was_promised(made: GarageInside, name: str) -> None:
    """cloud-init gives it name, host key (which the client compares), the user and their key; the disk grows; user-data has its way."""
    assert "done" in made.ssh(name, "cloud-init status --wait")
    said = made.ssh(name, "hostname; id -un; sudo -n id -un; cat /var/tmp/ran; df --output=size -BG / | tail -1")
    *who, size = said.split()
    assert who == [name, "debian", "root", "root"], said
    assert int(size.rstrip("G")) >= GROWN_GIB, said
    assert f"{made.show(name)['ipv4']}/32" in made.ssh(name, "ip -4 -br address")


def saved(made: GarageInside, name: str) -> dict[str, int]:
    """The image of a machine has its files and its loader, and nothing by which it is known."""
    made.ssh(name, "echo kept | sudo tee /opt/kept; sync")
    before = known(made, name)
    made.garage("machine", "stop", name)
    began = time.monotonic()
    made.garage("image", "save", name, "mine")
    done = time.monotonic()
    made.garage("machine", "delete", name, "--yes")
    made.garage("machine", "create", "again", "--image", "mine", "--size", "tiny")
    ready = time.monotonic()
    assert made.ssh("again", "cat /opt/kept; hostname") == "kept\nagain\n"
    after = known(made, "again")
    assert len(after) == len(before) == len(KNOWN), (before, after)
    assert not after & before, after & before
    return {"save_s": round(done - began), "ready_s": round(ready - done)}


def known(made: GarageInside, name: str) -> set[str]:
    """Not every file ends with its line."""
    return set(made.ssh(name, f"for file in {' '.join(KNOWN)}; do sudo cat $file; echo; done").split("\n")) - {""}
