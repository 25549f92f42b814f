"""An identity is taken off a disk as other distributions lay it out: partitions, a home of its own, swap, links that lead elsewhere."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from garage.errors import GarageError
from garage.shell.images import Manifest
from garage.shell.overlays import Overlay, flattened, with_fine_layer
from garage.shell.stripping import stripped, tool_of
from garage.shell.workplace import workplace

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]
MIB = 1 << 20
SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"
HOME = "6b5b3a0e-0000-4000-8000-00000000beef"


def test_everything_by_which_it_is_known_goes_and_the_rest_stays(
    image_store: tuple[Path, Manifest], tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(disk(tmp_path, f"UUID={HOME} /home ext4 defaults 0 2\n/dev/vda3 none swap sw 0 0\n"))
    assert raw.read_bytes().count(SECRET) >= 5, "the control"
    left = taken_off(raw, image_store, tmp_path).read_bytes()
    assert SECRET not in left, "not in a free block either"
    root, home, swap = left[MIB : 33 * MIB], left[33 * MIB : 49 * MIB], left[49 * MIB :]
    assert shown(tmp_path, root, "/opt/kept") == "kept\n"
    assert shown(tmp_path, home, "/alice/kept") == "kept\n"
    assert shown(tmp_path, root, "/data/log/syslog") == ""
    assert shown(tmp_path, root, "/etc/hosts") == "127.0.0.1 localhost\n"
    assert swap[4086:4096] == b"SWAPSPACE2"
    assert not swap[4096:].strip(b"\0")


def test_what_cannot_be_looked_at_is_refused(image_store: tuple[Path, Manifest], tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(disk(tmp_path, ""))
    with pytest.raises(GarageError) as error:
        taken_off(raw, image_store, tmp_path)
    assert (error.value.code, error.value.params["why"]) == ("image_refused", "hidden")


def taken_off(raw: Path, image_store: tuple[Path, Manifest], tmp_path: Path) -> Path:
    """The raw disk afterwards."""
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    image, size = tmp_path / "image.qcow2", raw.stat().st_size
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    with workplace(tmp_path / "place") as place:
        overlay = Overlay(place / "overlay.qcow2", image, size, 1)
        below = ["-F", "qcow2", "-b", image]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *below, overlay.path], check=True)
        overlay.path.chmod(0o666)
        overlay = with_fine_layer(overlay, place)
        stripped(overlay, tool_of(*here(image_store)), place, lambda *_: None)
        made = flattened(overlay, place, 0, lambda *_: None)
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", made, tmp_path / "after"], check=True)
    return tmp_path / "after"


def here(image_store: tuple[Path, Manifest]) -> tuple[Path, str]:
    return image_store[0], image_store[1].sha256


def disk(tmp_path: Path, fstab: str) -> bytes:
    """A partition table with a root (32 MiB), a home (16) and swap (2), of which each holds secrets."""
    secret = SECRET.decode() + "\n"
    root = tree(
        tmp_path / "root",
        {
            "etc/passwd": "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nd:x:9:9::/srv/d:/bin/sh\n",
            "etc/fstab": fstab,
            "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 old.example old\n",
            "etc/ssh/ssh_host_rsa_key": secret,
            "root/.ssh/id_ed25519": secret,
            "srv/d/.ssh/id_rsa": secret,
            "data/log/syslog": secret,
            "opt/kept": "kept\n",
            **{f"{folder}/empty": "" for folder in ("dev", "proc", "home", "tmp")},
        },
        "32M",
    )
    home = tree(tmp_path / "home", {"alice/.ssh/id_ed25519": secret, "alice/kept": "kept\n"}, "16M", "-U", HOME)
    swap = bytearray(2 * MIB)
    swap[4086:4096], swap[1 << 20 : (1 << 20) + len(SECRET)] = b"SWAPSPACE2", SECRET
    swap[4096 : 4096 + len(SECRET)] = swap[-len(SECRET) :] = SECRET
    table, start = b"", 2048
    for kind, part in ((0x83, root), (0x83, home), (0x82, swap)):
        table += struct.pack("<B3xB3xII", 0, kind, start, len(part) // 512)
        start += len(part) // 512
    head = bytearray(MIB)
    head[446 : 446 + len(table)], head[510:512] = table, b"\x55\xaa"
    return bytes(head) + root + home + bytes(swap)


def tree(folder: Path, files: dict[str, str], size: str, *options: str) -> bytes:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if (folder / "data").exists():
        (folder / "var").mkdir()
        (folder / "var/log").symlink_to("/data/log")
    made = folder.with_suffix(".ext4")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", *options, "-d", folder, made, size], check=True)
    return made.read_bytes()


def shown(tmp_path: Path, part: bytes, path: str) -> str:
    (tmp_path / "part").write_bytes(part)
    done = subprocess.run(
        ["debugfs", "-R", f"cat {path}", tmp_path / "part"], check=True, capture_output=True, text=True
    )
    return done.stdout
