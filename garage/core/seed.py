"""A machine's seed: the disk from which it learns, at its first boot, who it is. Pure.

The ISO's root holds cloud-init's NoCloud files and `identity.tar`: files that our initrd unpacks over the root file system before
systemd starts, so that name, keys and network are there from the first moment and nothing has to wait for cloud-init.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shlex
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

LOGIN = "debian"
AUTHORIZED_KEYS = f"/etc/ssh/authorized_keys.d/{LOGIN}"
"""The garage's own keys file; the user's ~/.ssh/authorized_keys is never touched."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a machine is."""

    machine_id: str
    """Ours; the guest's /etc/machine-id is derived from it."""
    hostname: str
    fqdn: str
    host_key_private: str
    host_key_public: str
    authorized_keys: Sequence[str]
    ipv4: str = ""
    gateway: str = ""
    """Set by the initrd, so that SSH answers before the DHCP lease, which says the same, is there. Empty: wait for DHCP."""
    ipv6: str = ""
    gateway6: str = ""
    """The same of IPv6."""
    user_data: str | None = None
    own_mac: str = ""
    """Of a machine whose image is not ours: all that it knows of itself it has from cloud-init."""
    again: str = ""
    """Another word for each time that its disk became an older one: our initrd then gives it its identity, and who may log in, anew."""


def seed_files(who: Identity) -> dict[str, bytes]:
    """Name → content of the files on the seed disk."""
    return {
        "meta-data": _meta_data(who).encode(),
        "user-data": (who.user_data or "#cloud-config\n{}\n").encode(),
        "vendor-data": _vendor_data(who).encode(),
        "network-config": _network_config(who).encode(),
        "instance": f"{who.machine_id} {who.again}".strip().encode(),
        "ipv4": f"{who.ipv4} {who.gateway}\n".encode() if who.ipv4 else b"",
        "ipv6": f"{who.ipv6} {who.gateway6}\n".encode() if who.ipv6 else b"",
        "resolv.conf": _resolv_conf(who).encode(),
        "identity.tar": _tar(_identity(who)),
    }


@dataclass(frozen=True, slots=True)
class Place:
    """A pool machine's place in the network, all that it knows of the world."""

    ipv4: str
    gateway: str
    ipv6: str
    gateway6: str


def spare_files(machine_id: str, place: Place) -> dict[str, bytes]:
    """The seed of a pool machine: an address, a machine-id of its own, and nothing that is secret or anybody's. Without a host key its
    SSH does not start."""
    files = {
        "etc/hostname": (0o644, "spare\n"),
        "etc/hosts": (0o644, "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"),
        "etc/machine-id": (0o444, f"{guest_machine_id(machine_id)}\n"),
        "etc/cloud/cloud-init.disabled": (0o644, "no user-data was given\n"),
    }
    return {
        "meta-data": json.dumps({"instance-id": machine_id}).encode(),
        "user-data": b"#cloud-config\n{}\n",
        "instance": f"{machine_id} spare".encode(),
        "ipv4": f"{place.ipv4} {place.gateway}\n".encode(),
        "ipv6": f"{place.ipv6} {place.gateway6}\n".encode(),
        "resolv.conf": f"nameserver {place.gateway}\n".encode(),
        "identity.tar": _tar(files),
    }


INSTANCE = "var/lib/garage/instance"
SEED_FOLDER = "var/lib/cloud/seed/nocloud"
"""Where cloud-init looks for a seed besides the disk, whose content a running machine cannot be given anew."""
WAIT = "/run/garage-ssh.d/wait.conf"
"""A FIFO that the image's sshd_config includes: sshd, started already, stops there before it loads a key and listens."""
TAKE = ". /dev/stdin"
"""What a taken machine runs, with `take_input` as its standard input. Nothing of anybody's is in it: the agent logs it."""
IDENTIFY = f"""set -e
{{writes}}
{{before}}: >{WAIT}
set +e
date -s @{{now:.3f}} >/dev/null; sleep 1
rm -rf {WAIT.rpartition("/")[0]}; resolvectl domain eth0 {{search}}; sync
{{after}}"""
"""Emulated, each program that starts costs a tenth of a second: until sshd may go on there are the shell's own words only, and for the
second in which somebody comes in it has the processor for itself."""
USER_DATA_BEFORE = "rm -f /etc/cloud/cloud-init.disabled /run/cloud-init/disabled; : >/run/cloud-init/enabled\n"
"""Before a login is possible, so that `cloud-init status --wait` waits."""
USER_DATA_AFTER = """tries=0; until [ -e /run/sshd.pid ] || [ $tries -gt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
systemctl --no-block start cloud-init.target"""
"""cloud-init's own units, once sshd listens."""
NO_SEED_DISK = "datasource: {NoCloud: {fs_label: null}}\n"
"""cloud-init's configuration: the disk still holds the seed of a machine that is nobody's."""
WARM_UP = f"""exec 9>/run/garage-warm-up; flock 9; [ -p {WAIT} ] && exit 0
case $(systemctl is-system-running --wait) in running|degraded) ;; *) exit 1;; esac
mkdir -p /run/rehearsal /run/cloud-init /etc/ssh/authorized_keys.d /{SEED_FOLDER}; cd /run/rehearsal || exit 1
ssh-keygen -q -t ed25519 -N '' -f key </dev/null
/usr/sbin/sshd -h /run/rehearsal/key -p 2222 -o ListenAddress=127.0.0.1 -o PidFile=/run/rehearsal/pid \\
  -o AuthorizedKeysFile=/run/rehearsal/key.pub -o StrictModes=no
ssh -q -p 2222 -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {LOGIN}@127.0.0.1 true
kill "$(cat pid)"
date -s @"$(date +%s)" >/dev/null; resolvectl domain >/dev/null
cd /; rm -rf /run/rehearsal; : >/var/log/lastlog; : >/var/log/wtmp; sync
mkdir -p -m 0700 {WAIT.rpartition("/")[0]} && mkfifo -m 0600 {WAIT} && systemctl --no-block start ssh.service
tries=0; until grep -q -e fifo -e partner /proc/"$(systemctl show -p MainPID --value ssh.service)"/wchan || [ $tries -gt 50 ]; do
  sleep 0.1; tries=$((tries + 1))
done; true"""
"""What a pool machine runs before it is paused: 0 when all has started. First a login is rehearsed, with keys that are thrown away and a
port that only the machine itself reaches, so that what a taken one needs first is in its memory (and, emulated, translated). Then sshd
itself is started, up to the FIFO."""


SPARES_OWN = ("etc/machine-id", "etc/cloud/cloud-init.disabled")
"""Files of `_identity` that are in a pool machine already, with the same content."""


def take_input(who: Identity, entropy: bytes, now: float) -> bytes:
    """A script that makes a pool machine somebody's; `now`: seconds since 1970 (the clock of a paused guest stood still). The instance
    file, the last, tells our initrd that the identity is there."""
    files = {path: file for path, file in _identity(who).items() if path not in SPARES_OWN}
    if who.user_data is not None:
        files["etc/cloud/cloud.cfg.d/95-garage-seed.cfg"] = (0o644, NO_SEED_DISK)
        files[f"{SEED_FOLDER}/meta-data"] = (0o644, _meta_data(who))
        files[f"{SEED_FOLDER}/user-data"] = (0o600, who.user_data)
    files |= {INSTANCE: (0o644, who.machine_id)}
    writes = [f"printf %s {base64.b64encode(entropy).decode()} >/dev/urandom", *map(_write, files, files.values())]
    writes.append(f"printf %s {shlex.quote(who.hostname)} >/proc/sys/kernel/hostname")
    early, late = (USER_DATA_BEFORE, USER_DATA_AFTER) if who.user_data is not None else ("", "")
    search = shlex.quote(who.fqdn.partition(".")[2])
    text = IDENTIFY.format(writes="\n".join(writes), before=early, now=now, search=search, after=late)
    return text.encode()


def _write(path: str, file: tuple[int, str]) -> str:
    """Its words are the shell's own. What exists keeps its mode; nothing secret does."""
    mode, text = file
    return f"umask {0o666 & ~mode:03o}; printf %s {shlex.quote(text)} >/{path}"


def authorized_keys_text(keys: Sequence[str]) -> str:
    """The content of AUTHORIZED_KEYS."""
    return "".join(f"{key}\n" for key in keys)


def _identity(who: Identity) -> dict[str, tuple[int, str]]:
    """Path → (mode, text)."""
    files = {
        "etc/hostname": (0o644, f"{who.hostname}\n"),
        "etc/hosts": (
            0o644,
            f"127.0.0.1 localhost\n127.0.1.1 {who.fqdn} {who.hostname}\n::1 localhost ip6-localhost\n",
        ),
        "etc/machine-id": (0o444, f"{guest_machine_id(who.machine_id)}\n"),
        "etc/ssh/ssh_host_ed25519_key": (0o600, who.host_key_private),
        "etc/ssh/ssh_host_ed25519_key.pub": (0o644, f"{who.host_key_public}\n"),
        AUTHORIZED_KEYS.lstrip("/"): (0o644, authorized_keys_text(who.authorized_keys)),
    }
    if who.user_data is None:  # cloud-init has nothing to do: its generator sees this file and stays out of the boot
        files["etc/cloud/cloud-init.disabled"] = (0o644, "no user-data was given\n")
    return files


def guest_machine_id(machine_id: str) -> str:
    """/etc/machine-id: 32 hexadecimal digits (machine-id(5)), never two alike."""
    return hashlib.sha256(f"garage machine-id {machine_id}".encode()).hexdigest()[:32]


def _meta_data(who: Identity) -> str:
    return json.dumps({"instance-id": who.machine_id, "local-hostname": who.hostname})


def _resolv_conf(who: Identity) -> str:
    """Of the first seconds: the node answers for names, as DHCP says later."""
    server = f"nameserver {who.gateway}\n" if who.gateway else ""
    return f"{server}search {who.fqdn.partition('.')[2]}\n"


def _network_config(who: Identity) -> str:
    """Our images configure the network by themselves."""
    if not who.own_mac:
        return "version: 2\nethernets: {}\n"
    card = {"match": {"macaddress": who.own_mac}, "dhcp4": True, "dhcp6": True}
    return json.dumps({"version": 2, "ethernets": {"garage": card}}) + "\n"


def _vendor_data(who: Identity) -> str:
    """What an image without our initrd needs (user-data wins over it): the same identity through cloud-init."""
    config: dict[str, object] = {
        "hostname": who.hostname,
        "fqdn": who.fqdn,
        "ssh_deletekeys": False,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": who.host_key_private, "ed25519_public": who.host_key_public},
        "ssh_authorized_keys": list(who.authorized_keys),
    }
    if who.own_mac:  # whatever the image calls its user: the garage's people log in as LOGIN
        user = {"name": LOGIN, "sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/bash", "lock_passwd": True}
        config["users"] = ["default", user | {"ssh_authorized_keys": list(who.authorized_keys)}]
        config["growpart"] = {"mode": "auto"}
    return "#cloud-config\n" + json.dumps(config)


def _tar(files: dict[str, tuple[int, str]]) -> bytes:
    """A plain ustar archive, root's, without times: the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, (mode, text) in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            data = text.encode()
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
