"""A machine's seed: the disk from which it learns, at its first boot, who it is. Pure.

The ISO's root holds cloud-init's NoCloud files and `identity.tar`: files that our initrd unpacks over the root file system before
systemd starts, so that name, keys and network are there from the first moment and nothing has to wait for cloud-init.
"""

from __future__ import annotations

import hashlib
import io
import json
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


def seed_files(who: Identity) -> dict[str, bytes]:
    """Name → content of the files on the seed disk."""
    return {
        "meta-data": json.dumps({"instance-id": who.machine_id, "local-hostname": who.hostname}).encode(),
        "user-data": (who.user_data or "#cloud-config\n{}\n").encode(),
        "vendor-data": _vendor_data(who).encode(),
        "network-config": b"version: 2\nethernets: {}\n",
        "instance": who.machine_id.encode(),
        "ipv4": f"{who.ipv4} {who.gateway}\n".encode() if who.ipv4 else b"",
        "ipv6": f"{who.ipv6} {who.gateway6}\n".encode() if who.ipv6 else b"",
        "resolv.conf": _resolv_conf(who).encode(),
        "identity.tar": _tar(_identity(who)),
    }


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


def _resolv_conf(who: Identity) -> str:
    """Of the first seconds: the node answers for names, as DHCP says later."""
    server = f"nameserver {who.gateway}\n" if who.gateway else ""
    return f"{server}search {who.fqdn.partition('.')[2]}\n"


def _vendor_data(who: Identity) -> str:
    """What an image without our initrd needs (user-data wins over it): the same identity through cloud-init."""
    config = {
        "hostname": who.hostname,
        "fqdn": who.fqdn,
        "ssh_deletekeys": False,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": who.host_key_private, "ed25519_public": who.host_key_public},
        "ssh_authorized_keys": list(who.authorized_keys),
    }
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
