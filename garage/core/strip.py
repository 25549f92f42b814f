"""What takes a machine's identity off its disk: a guest of two scripts on top of our initrd. Pure.

    our kernel ── initrd.img + this archive ── /strip ── mounts the disk's root ── chroot ── /…/strip-root deletes, fstrim ── power off

The disk is a stranger's, and so is every path on it. No kernel but the throw-away guest's ever reads its file systems, and nothing is
deleted but from within its own root, so that a link leads nowhere else.
"""

from __future__ import annotations

import re

from garage.errors import N_, GarageError

FOLDER = "garage-strip"
DONE = "done"
APPLETS = (
    *("sh", "rm", "mount", "umount", "find", "truncate", "sed", "dd", "stat", "blockdev", "fstrim", "cut", "grep", "sync"),
    *("mkdir", "cat", "cp", "ln", "sleep", "insmod", "mktemp", "rmdir", "chroot", "poweroff", "test", "basename", "echo", "tac"),
)  # fmt: skip
"""Of busybox, that our initrd holds."""

INIT = """#!/bin/busybox sh
# The first process of a guest whose one purpose is to take a machine's identity off the disk /dev/vda. /dev/vdb: a garage's own image,
# whose kernel this is, for modules that the initrd lacks.
export PATH=/bin
busybox mount -t devtmpfs dev /dev; busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys
for applet in APPLETS; do [ -e /bin/$applet ] || busybox ln -s busybox /bin/$applet; done
end() { echo; echo "FOLDER: $*"; sync; poweroff -f; sleep 100; }
while read -r module; do insmod "/modules/$module"; done </modules/order
tries=0
until [ -b /dev/vda ]; do tries=$((tries + 1)); [ $tries -gt 200 ] && end no-disk; sleep 0.05; done
mkdir -p /root /tool
root() {  # mounts the file system that has a system on it
  for disk in /dev/vda /dev/vda[0-9]*; do
    [ -b $disk ] && mount -t "$1" -o rw,noatime,nosuid,nodev $disk /root 2>/dev/null || continue
    [ -e /root/etc/passwd ] && return 0
    umount /root
  done
  return 1
}
if [ -b /dev/vda1 ] && mount -t ext4 -o ro /dev/vdb /tool; then
  mount -o bind /dev /tool/dev; mount -o bind /proc /tool/proc; mount -o bind /sys /tool/sys
  chroot /tool /sbin/modprobe -q -a xfs btrfs
  umount /tool/sys /tool/proc /tool/dev /tool
fi 2>/dev/null
root ext4 || root xfs || root btrfs || end no-system
place=$(mktemp -d /root/.FOLDER-XXXXXX) || end read-only
name=$(basename "$place")
mount -t tmpfs tmpfs "$place" && cp /bin/busybox /strip-root "$place/" || end no-room
for applet in APPLETS; do ln -s busybox "$place/$applet"; done
for folder in dev proc; do [ -d /root/$folder ] && [ ! -L /root/$folder ] && mount -o bind /$folder /root/$folder; done
said=$(PATH="/$name" chroot /root "/$name/sh" "/$name/strip-root" 2>/dev/null)
said=${said##*VERDICT }
[ "$said" = DONE ] || end ${said:-crashed}
umount "$place"; rmdir "$place"
for folder in proc dev; do umount /root/$folder 2>/dev/null; done
sync  # before that a journal still holds what was freed
cut -d ' ' -f 2 /proc/mounts | grep '^/root' | tac >/mounts
while read -r folder; do fstrim "$folder" || end no-trim; done </mounts
while read -r folder; do umount "$folder" || mount -o remount,ro "$folder"; done </mounts
end DONE
"""

ROOT = r"""# Within the machine's own root; the words are busybox's. What cannot be deleted is told: its identity would stay.
left= here=${0%/*}
gone() { rm -rf -- "$@" || left=1; }
empty() { [ ! -d "$1" ] || [ -L "$1" ] || find "$1" -xdev -mindepth 1 -maxdepth 1 -exec rm -rf '{}' + || left=1; }
verdict() { echo "VERDICT $1"; exit; }

mount -a -t ext4,ext3,ext2,xfs,btrfs
mkdir "$here/look"
for disk in /dev/vda /dev/vda[0-9]*; do
  [ -b $disk ] && ! grep -q "^$disk " /proc/mounts || continue
  dd if=$disk bs=1024 count=1 | grep -q -e LABELONE -e '^LUKS' && verdict hidden
  for kind in ext4 xfs btrfs; do mount -t $kind -o ro $disk "$here/look" && verdict hidden; done
done

gone /etc/ssh/ssh_host_* /etc/ssh/authorized_keys.d/* /etc/hostname /etc/udev/rules.d/70-persistent-net.rules
gone /var/lib/garage/* /etc/cloud/cloud-init.disabled /etc/cloud/cloud.cfg.d/95-garage-seed.cfg
gone /var/lib/cloud /etc/netplan/*cloud-init*.yaml /etc/network/interfaces.d/*cloud-init*
gone /etc/NetworkManager/system-connections/cloud-init-*
gone /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/urandom/random-seed /boot/loader/random-seed
gone /var/lib/dhcp/* /var/lib/dhclient/* /var/lib/dhcpcd/* /var/lib/NetworkManager/*
gone /var/lib/systemd/coredump/* /var/crash/* /var/log/journal/* /var/spool/cron/*/* /var/lib/systemd/timesync/* /var/lib/systemd/linger/*
empty /tmp; empty /var/tmp; empty /var/mail; empty /var/spool/mail
gone /etc/machine-id  # empty: made anew at the next boot, which is not the first (machine-id(5))
[ ! -d /etc ] || : >/etc/machine-id || left=1
[ -L /var/lib/dbus/machine-id ] || gone /var/lib/dbus/machine-id
[ ! -f /etc/hosts ] || sed -i '/^127\.0\.1\.1[[:space:]]/d' /etc/hosts || left=1
if [ -d /var/log ]; then
  find /var/log/ -xdev -type f '(' -name '*.gz' -o -name '*.xz' -o -name '*.old' -o -name '*.[0-9]' ')' -exec rm -f '{}' + || left=1
  find /var/log/ -xdev -type f -size +0 -exec truncate -s 0 '{}' + || left=1
fi

home() { case $1 in /|/dev|/proc|/sys|'') return;; esac
  [ -d "$1" ] || return
  gone "$1/.ssh" "$1"/.*_history "$1/.histfile" "$1/.zhistory" "$1/.local/share/fish/fish_history" \
  "$1/.lesshst" "$1/.viminfo" "$1/.wget-hsts"; }
cut -d : -f 6 /etc/passwd >"$here/homes"
while read -r folder; do home "$folder"; done <"$here/homes"
for folder in /root /home/*; do home "$folder"; done

zero() { dd if=/dev/zero of="$1" bs="$2" seek="$3" count="$4" conv=notrunc || left=1; }
blank() {  # swap held memory; its header, of a page, stays
  zero "$1" 4096 1 15
  zero "$1" 65536 1 $(($2 / 65536 - 1))
  zero "$1" 4096 $(($2 / 65536 * 16)) $(($2 % 65536 / 4096))
}
for disk in /dev/vda[0-9]*; do
  [ -b $disk ] && [ "$(dd if=$disk bs=1 skip=4086 count=10)" = SWAPSPACE2 ] && blank $disk "$(blockdev --getsize64 $disk)"
done
[ ! -f /etc/fstab ] || while read -r what _ kind _; do
  [ "$kind" = swap ] && [ -f "$what" ] && [ "$(stat -c %s "$what")" -gt 131072 ] && blank "$what" "$(stat -c %s "$what")"
done </etc/fstab
[ -z "$left" ] || verdict left
verdict DONE
"""
CMDLINE = "console=ttyS0 rdinit=/strip quiet loglevel=3 panic=-1 cryptomgr.notests no_timer_check"
_SAID = re.compile(rf"{FOLDER}: ([a-z-]{{1,20}})")
REFUSALS: dict[str, tuple[str, str]] = {
    "no-system": (
        N_("no system was found on the machine's disk"),
        N_("its root has to be ext4, xfs or btrfs, on a partition or the whole disk: not LVM, not encrypted"),
    ),
    "hidden": (
        N_("a part of the machine's disk cannot be looked at: LVM, encrypted, or not in its /etc/fstab"),
        N_("start the machine and add it there, or delete it"),
    ),
    "read-only": (
        N_("the machine's file system cannot be written to"),
        N_("start the machine: is its disk full, has it errors?"),
    ),
    "left": (
        N_("something by which the machine is known cannot be deleted from its disk"),
        N_("start the machine and look for files that are immutable: lsattr -R /etc /home /var"),
    ),
}
"""Why a disk is refused, and what helps; the key is the error's `why`."""


def texts() -> dict[str, str]:
    """Path → content of what is added to the initrd."""
    words = {"APPLETS": " ".join(APPLETS), "FOLDER": FOLDER, "DONE": DONE}
    return {"strip": _filled(INIT, words), "strip-root": _filled(ROOT, words)}


def _filled(text: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        text = re.sub(rf"\b{name}\b", word, text)
    return text


def archive() -> bytes:
    """A cpio archive of them as the kernel takes it (its documentation: early-userspace/buffer-format.rst); one may follow another."""
    entries = [_entry(number, name, text.encode()) for number, (name, text) in enumerate(texts().items(), 1)]
    return b"".join([*entries, _entry(0, "TRAILER!!!", b"", mode=0)])


def _entry(number: int, name: str, data: bytes, *, mode: int = 0o100755) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = "070701" + "".join(f"{field:08x}" for field in fields) + name + "\0"
    return _padded(head.encode()) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def judge(console: str) -> None:
    """Raises what the guest said went wrong; also when it said nothing. Its console is the stranger's, too."""
    said = _SAID.findall(console)
    why = said[-1] if said else "crashed"
    if why == DONE:
        return
    if why in REFUSALS:
        text, hint = REFUSALS[why]
        raise GarageError("image_refused", text, hint=hint, why=why)
    raise GarageError(
        "tool_failed",
        N_("taking the machine's identity off its disk has failed: {reason}"),
        hint=N_("start the machine: does its file system have errors?"),
        reason=why,
    )
