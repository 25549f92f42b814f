"""An image that somebody brought boots by its own loader, BIOS or UEFI: from the uploaded file to the first words on the console.

The loaders are a few bytes (tests/ownloader.py), so that the firmware is all that takes time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from garage.services import image_tasks, images, machines
from garage.services.image_tasks import NewImage
from garage.services.machines import NewMachine
from garage.worker.importing import Importer
from tests import ownloader
from tests.realms import Realm, libvirt_answers, realm

pytestmark = [
    pytest.mark.machine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not libvirt_answers(), reason="needs root and libvirt"),
]
BOOT_SECONDS = 240.0
DISKS: dict[str, Callable[[str], bytes]] = {"bios": ownloader.bios, "uefi": ownloader.uefi}


@pytest.fixture(scope="module")
def home() -> Iterator[Realm]:
    with realm() as made:
        made.home.chmod(0o755)
        yield made


def bring(home: Realm, boot: str, disk: bytes) -> None:
    """As a member does, and the worker after that."""
    wanted = NewImage(f"own-{boot}", hashlib.sha256(disk).hexdigest(), bytes=len(disk), format="raw", boot=boot)
    task = image_tasks.bring(home.ctx, home.caller, wanted)
    uploads = home.home / "uploads"
    uploads.mkdir(exist_ok=True)
    (uploads / task.id).write_bytes(disk)
    image_tasks.uploaded(home.ctx, task.id, len(disk))
    assert Importer(home.ctx, home.ctx.config).turn()
    assert image_tasks.get(home.ctx, home.caller, task.id).error is None


@pytest.mark.parametrize("boot", DISKS)
def test_it_boots_by_its_own_loader(home: Realm, boot: str) -> None:
    line = f"the own loader is up, by {boot}"
    bring(home, boot, DISKS[boot](line))
    made = machines.create(home.ctx, home.caller, NewMachine(name=boot, image=f"own-{boot}", size="tiny"))
    home.netd()
    worker = home.worker()
    try:
        assert home.wait(made.id, "booting", "failed", process=worker) == "booting"
        wait_for(home.home / "console" / f"{made.id}.log", line.encode())
        variables = {"nvram.fd"} if boot == "uefi" else set()
        assert set(home.files(made.id)) == {"disk.qcow2", "seed.iso"} | variables
        with pytest.raises(Exception, match="machines made of it"):
            images.delete(home.ctx, home.caller, f"own-{boot}")
        machines.delete(home.ctx, home.caller, made.id)
        assert home.wait(made.id, "gone", "failed", process=worker) == "gone"
        assert home.files(made.id) == []
        assert home.domains(made.id) == []
    finally:
        worker.terminate()
        worker.wait(timeout=60)
    images.delete(home.ctx, home.caller, f"own-{boot}")


def wait_for(console: Path, line: bytes) -> None:
    end = time.monotonic() + BOOT_SECONDS
    while line not in (said := console.read_bytes() if console.exists() else b""):
        assert time.monotonic() < end, said[-2000:]
        time.sleep(0.1)
