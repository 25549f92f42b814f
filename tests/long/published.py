"""A disk as Debian publishes them for clouds: GPT, GRUB for BIOS and for UEFI on the same disk, a kernel of its own, cloud-init, and
nothing of a garage's: no user, no host key, no agent.

    LBA 0   GRUB's boot sector, beside the protective table
    14      BIOS boot partition: GRUB's core, which the boot sector loads by its address
    15      EFI system partition: EFI/BOOT/BOOTX64.EFI, where firmware looks by itself (UEFI specification 2.10, 3.5.1.1)
    1       the root, ext4, the last, so that it can grow

Debian's own packages put together without a mount or a loop device: a published one would have to be fetched.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from garage.core.recipe import parse_recipe
from garage.core.seed import LOGIN
from garage.shell.mirrors import server_mirror
from garage.shell.rootfs import make_rootfs
from garage.shell.run import run
from tests.machine.conftest import IMAGES

RECIPE = """
base = "debian-12-plain"
name = "published"
title = "Stands in for a published image"
packages = ["grub-efi-amd64-bin", "grub-pc-bin", "grub-common", "cloud-guest-utils", "fdisk", "dosfstools", "mtools"]
without = ["qemu-guest-agent", "qemu-guest-agent.service"]
[files]
"/etc/default/locale" = "LANG=C.UTF-8"
"""
SECTOR, MIB = 512, 1 << 20
CORE_AT, ESP_AT, ROOT_AT = 1 * MIB, 4 * MIB, 68 * MIB
ROOT_BYTES = 2 << 30
TABLE = f"""label: gpt
unit: sectors
disk14: start={CORE_AT // SECTOR}, size={(ESP_AT - CORE_AT) // SECTOR}, type=21686148-6449-6E6F-744E-656564454649
disk15: start={ESP_AT // SECTOR}, size={(ROOT_AT - ESP_AT) // SECTOR}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
disk1: start={ROOT_AT // SECTOR}, size={ROOT_BYTES // SECTOR}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
"""
"""Numbers and kinds as on Debian's genericcloud image."""
EARLY = """search --no-floppy --label root --set=root
set prefix=($root)/boot/grub
"""
MENU = """set timeout=0
menuentry Debian {{
  search --no-floppy --label root --set=root
  linux /boot/{kernel} root=LABEL=root ro console=ttyS0
  initrd /boot/{initrd}
}}
"""
MODULES = "part_gpt ext2 fat normal configfile linux search search_label echo test gzio"
LOADERS = f"""set -e
cd /tmp/made
truncate -s {ROOT_AT + ROOT_BYTES + MIB} disk
sfdisk -q disk <table
grub-mkimage -O i386-pc -o core -c early -p /boot/grub biosdisk {MODULES}
grub-mkimage -O x86_64-efi -o BOOTX64.EFI -c early -p /boot/grub {MODULES}
mkfs.vfat -C esp {(ROOT_AT - ESP_AT) // 1024} >&2
mmd -i esp ::EFI ::EFI/BOOT
mcopy -i esp BOOTX64.EFI ::EFI/BOOT/
cp /usr/lib/grub/i386-pc/boot.img boot
"""
CORE_SECTOR_AT = 0x5C
"""In boot.img (GRUB's grub-core/boot/i386/pc/boot.S): 64 bits, the sector of the core's first."""
REST_SECTOR_AT = 500
"""In the core's first sector (diskboot.S): 64 bits, where its second is."""
CODE_BYTES = 440
"""Of the boot sector; behind it is the table."""


@contextmanager
def published(work: Path) -> Iterator[Path]:
    """The disk as a compressed qcow2 file."""
    work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="published-", dir=work) as place:
        Path(place).chmod(0o755)
        yield _made(Path(place))


def _made(work: Path) -> Path:
    recipe = parse_recipe(RECIPE, (IMAGES / "debian-12-plain.toml").read_text())
    root = make_rootfs(recipe, server_mirror(os.environ), work)
    run(["chroot", str(root), "userdel", "--remove", LOGIN], timeout=60, check=False)  # says that it had no mail
    raw = _with_loaders(root, work)
    features = "^metadata_csum_seed,^orphan_file"  # GRUB of Debian 12 reads neither
    where = ["-E", f"offset={ROOT_AT}", "-L", "root", "-O", features, "-d", str(root)]
    run(["mke2fs", "-q", "-F", "-t", "ext4", *where, str(raw), f"{ROOT_BYTES >> 10}k"], timeout=900)
    shutil.rmtree(root)
    disk = work / "published.qcow2"
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", str(raw), str(disk)], timeout=900)
    raw.unlink()
    return disk


def _with_loaders(root: Path, work: Path) -> Path:
    """The whole disk but its root file system, by the tree's own programs; in the tree GRUB's menu."""
    newest = {name: sorted((root / "boot").glob(f"{name}-*"))[-1].name for name in ("vmlinuz", "initrd.img")}
    (root / "boot/grub").mkdir(exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(MENU.format(kernel=newest["vmlinuz"], initrd=newest["initrd.img"]))
    (root / "etc/fstab").write_text("LABEL=root / ext4 rw,discard,errors=remount-ro 0 1\n")
    made = root / "tmp/made"
    made.mkdir()
    (made / "table").write_text(TABLE)
    (made / "early").write_text(EARLY)
    path = {"TMPDIR": "/tmp", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    run(["chroot", str(root), "sh", "-c", LOADERS], timeout=600, env=path)
    raw = work / "published.raw"
    shutil.move(made / "disk", raw)
    with raw.open("r+b") as disk:
        _write(disk.fileno(), 0, _boot_sector((made / "boot").read_bytes()))
        _write(disk.fileno(), CORE_AT, _core((made / "core").read_bytes()))
        _write(disk.fileno(), ESP_AT, (made / "esp").read_bytes())
    shutil.rmtree(made)
    return raw


def _boot_sector(boot: bytes) -> bytes:
    return _patched(boot, CORE_SECTOR_AT, CORE_AT // SECTOR)[:CODE_BYTES]


def _core(core: bytes) -> bytes:
    assert len(core) <= ESP_AT - CORE_AT
    return _patched(core, REST_SECTOR_AT, CORE_AT // SECTOR + 1)


def _patched(data: bytes, place: int, sector: int) -> bytes:
    return data[:place] + struct.pack("<Q", sector) + data[place + 8 :]


def _write(file: int, place: int, data: bytes) -> None:
    assert os.pwrite(file, data, place) == len(data)
