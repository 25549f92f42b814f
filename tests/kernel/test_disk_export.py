"""A machine's disk becomes one file that stands alone, made as nobody, whatever its header says of what lies below."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from garage.errors import GarageError
from garage.shell.disk_export import ExportOrder, export_disk
from garage.shell.disk_sources import on_this_server
from tests.kernel.test_image_import import home  # noqa: F401  (a fixture)

pytestmark = pytest.mark.kernel
ID, BASE = "0123456789abcdef0123", "ab" * 32


@pytest.fixture
def disk(home: Path) -> Path:  # noqa: F811  (pytest names fixtures by arguments)
    """8 MiB over an image of 4; 64 KiB of its own at 1 MiB."""
    image = home / "images" / BASE
    image.mkdir(parents=True)
    (home / "raw").write_bytes(b"base" * (1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", home / "raw", image / "disk.qcow2"], check=True)
    (home / "raw").unlink()
    made = home / "disk.qcow2"
    below = ["-F", "qcow2", "-b", image / "disk.qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, made, "8M"], check=True)
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 0x41 1M 64k", made], check=True, stdout=subprocess.DEVNULL
    )
    made.chmod(0o600)
    return made


def exported(home: Path, disk: Path) -> tuple[int, str]:  # noqa: F811
    order = ExportOrder(ID, on_this_server(disk), BASE, lambda: None)
    return export_disk(order, home=home, folder=home / "downloads", told=lambda *_: None, reserve=0)


def test_it_stands_alone_and_holds_what_the_machine_saw(home: Path, disk: Path) -> None:  # noqa: F811
    size, sha256 = exported(home, disk)
    file = home / "downloads" / f"{ID}.qcow2"
    assert (size, sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o640, os.geteuid())
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, home / "raw"], check=True)
    wanted = bytearray(b"base" * (1 << 20) + bytes(4 << 20))
    wanted[1 << 20 : (1 << 20) + (64 << 10)] = b"A" * (64 << 10)
    assert (home / "raw").read_bytes() == wanted
    assert list((home / "work").iterdir()) == []


def test_the_file_that_its_header_names_is_never_read(home: Path, disk: Path) -> None:  # noqa: F811
    """As a guest that broke out of its QEMU could write it."""
    secret = home / "secret"
    secret.write_bytes(b"root's secret..." * 4096 * 64)
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", secret, disk], check=True)
    exported(home, disk)
    file = home / "downloads" / f"{ID}.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", file, home / "raw"], check=True)
    assert (home / "raw").read_bytes().startswith(b"basebase")
    header = bytearray(disk.read_bytes())
    header[79] |= 4  # incompatible: the data lie in another file
    disk.write_bytes(header)
    with pytest.raises(GarageError) as error:
        exported(home, disk)
    assert error.value.params["why"] == "data_file"
    assert list((home / "work").iterdir()) == []
