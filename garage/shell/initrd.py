"""Our initrd: busybox, a handful of modules and a script that gives the machine its identity before systemd starts."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Iterable
from pathlib import Path

from garage.core.initrd import load_order
from garage.shell.run import run

APPLETS = (
    "sh",
    "mount",
    "umount",
    "insmod",
    "tar",
    "cat",
    "cp",
    "mkdir",
    "sleep",
    "switch_root",
    "mv",
    "echo",
    "ip",
)

INIT = """#!/bin/sh
# Mounts the root, unpacks the identity from the seed disk once, and hands over.
export PATH=/bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs -o mode=0755,nosuid,nodev run /run
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
# by their places: a volume may have any label
until [ -b /dev/vda ]; do
  tries=$((tries + 1)); [ $tries -gt 200 ] && { echo "garage: there is no disk"; echo c >/proc/sysrq-trigger; }
  sleep 0.05
done
mount -t ext4 -o rw,noatime /dev/vda /root || { echo "garage: the root file system cannot be mounted"; echo c >/proc/sysrq-trigger; }
if [ -b /dev/vdb ] && mount -t iso9660 -o ro /dev/vdb /seed; then
  given=$(cat /seed/instance); have=$(cat /root/var/lib/garage/instance 2>/dev/null)
  # "ID spare": the seed with which a machine waited; taken and rebooted by its own hand, it is more than that by now
  if [ "$given" != "$have" ] && [ "$given" != "$have spare" ]; then
    tar -xf /seed/identity.tar -C /root && mkdir -p /root/var/lib/garage && cp /seed/instance /root/var/lib/garage/instance
  fi
  while read -r address gateway; do
    ip link set eth0 up; ip addr add "$address/32" dev eth0; ip route add "$gateway" dev eth0; ip route add default via "$gateway"
  done </seed/ipv4
  # until networkd and resolved are up, some seconds after SSH: who logs in at once has names and IPv6, too
  while read -r address gateway; do
    ip -6 addr add "$address/128" dev eth0; ip -6 route add "$gateway" dev eth0; ip -6 route add default via "$gateway" dev eth0
  done </seed/ipv6
  mkdir -p /run/systemd/resolve && cp /seed/resolv.conf /run/systemd/resolve/stub-resolv.conf
  umount /seed
else
  echo "garage: no seed disk; the machine has no identity and stays closed"
fi
for place in dev proc sys run; do mount -o move /$place /root/$place; done
exec switch_root /root /sbin/init "$@"
"""


def make_initrd(root: Path, release: str, modules: Iterable[str], work: Path, target: Path) -> None:
    """Write the initrd for kernel `release` of the file system `root` to `target`; not compressed, since unpacking costs the guest time."""
    tree = work / "initrd"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "dev", "proc", "sys", "run", "root", "seed", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    _modules(root / "lib/modules" / release, modules, tree / "modules")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = "".join(f"{path.relative_to(tree)}\n" for path in sorted(tree.rglob("*")))
    run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-D", str(tree), "-O", str(target)],
        input=names,
        timeout=60,
    )
    shutil.rmtree(tree)


def _modules(folder: Path, wanted: Iterable[str], target: Path) -> None:
    order = load_order((folder / "modules.dep").read_text(), (folder / "modules.builtin").read_text(), wanted)
    for path in order:
        data = (folder / path).read_bytes()
        name = Path(path).name
        (target / name.removesuffix(".xz")).write_bytes(lzma.decompress(data) if name.endswith(".xz") else data)
    (target / "order").write_text("".join(f"{Path(path).name.removesuffix('.xz')}\n" for path in order))
