"""Two nodes that are not this server (tests/servers.py), reached as a worker reaches nodes: SSH keys, certificates, libvirt over both.

The thread that opens it, and all that it starts, live in the nodes' network as long as it is open.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import ipaddress
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from garage.core import names
from garage.core.tiny_guest import Kind, build
from garage.core.types import NodeAccess
from garage.shell.hypervisor import LibvirtHypervisor
from garage.shell.node_shell import KEY
from garage.shell.remote_disks import RemoteDisks
from garage.shell.seed import write_seed
from garage.shell.ways import PKI, Ways
from tests.realms import IMAGE
from tests.servers import HOME, Server, Servers

INSTANCE = "trm"
CLONE_NEWNET = 0x40000000
PLACES = {
    "/etc/pki/CA": {"cacert.pem": "ca"},
    "/etc/pki/libvirt": {"servercert.pem": "crt"},
    "/etc/pki/libvirt/private": {"serverkey.pem": "key"},
    "/etc/pki/qemu": {
        "ca-cert.pem": "ca", "server-cert.pem": "crt", "server-key.pem": "key", "client-cert.pem": "crt", "client-key.pem": "key",
    },
}  # fmt: skip
"""Where libvirt and QEMU look for their certificates."""


@dataclass
class RemoteLab:
    """`home`: the controller's."""

    servers: Servers
    home: Path
    _open: list[LibvirtHypervisor] = field(default_factory=list)

    def node(self, name: str, scheme: str = "qemu+ssh") -> NodeAccess:
        server = self.servers[name]
        return NodeAccess(name, f"{scheme}://{server.address}/system", server.address, server.host_key)

    def ways(self) -> Ways:
        return Ways(self.home)

    def hypervisor(self, name: str, scheme: str = "qemu+ssh") -> LibvirtHypervisor:
        made = LibvirtHypervisor(self.node(name, scheme), instance=INSTANCE, home=HOME, ways=self.ways())
        self._open.append(made)
        return made

    def disks(self, name: str) -> RemoteDisks:
        return RemoteDisks(self.ways().shell(self.node(name)), HOME, write_seed)

    def image(self, name: str, kind: Kind = Kind.SIT) -> None:
        """A tiny guest's, on the node."""
        folder = self.servers[name].home / "images" / IMAGE
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "disk.qcow2").exists():
            disk = str(folder / "disk.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
        (folder / "vmlinuz").write_bytes(build(kind, b"\x1b[32mtiny guest\x1b[0m is up"))

    def files(self, name: str, machine_id: str) -> None:
        """What a machine needs on the node before it runs there or arrives there."""
        disks = self.disks(name)
        disks.make_disk(machine_id, IMAGE, 1)
        disks.write_seed(machine_id, {"meta-data": b"x"})
        disks.copy_kernel(machine_id, IMAGE)

    def clear(self) -> None:
        """No machine is left on any node."""
        for made in self._open:
            made.close()
        self._open.clear()
        for server in self.servers.servers.values():
            server.run(
                "for name in $(virsh -q list --all --name); do virsh -q destroy $name; virsh -q undefine $name; done"
                " >/dev/null 2>&1; rm -rf /var/lib/garage/machines/* /var/lib/garage/console/*",
                check=False,
            )


@contextlib.contextmanager
def remote_lab(home: Path, store: Path | None = None) -> Iterator[RemoteLab]:
    """`store`: images that both nodes have, in the place of tiny guests."""
    with Servers("one", "two", store=store) as servers, _in_network(servers):
        lab = RemoteLab(servers, home)
        _make_keys(lab)
        for name, server in servers.servers.items():
            _equip(lab, server)
            if store is None:
                lab.image(name)
        yield lab
        lab.clear()


@contextlib.contextmanager
def _in_network(servers: Servers) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    theirs = os.open(servers.network, os.O_RDONLY)
    try:
        assert libc.setns(theirs, CLONE_NEWNET) == 0
        yield
    finally:
        assert libc.setns(ours, CLONE_NEWNET) == 0
        os.close(ours)
        os.close(theirs)


def _equip(lab: RemoteLab, server: Server) -> None:
    """As a node that was added."""
    key = (lab.home / f"{KEY}.pub").read_text()
    server.run("mkdir -p -m 700 /root/.ssh; cat >/root/.ssh/authorized_keys", input=key)
    for folder, files in PLACES.items():
        for file, kind in files.items():
            data = (lab.home / "ca" / ("ca.crt" if kind == "ca" else f"{server.name}.{kind}")).read_text()
            server.run(f"mkdir -p {folder}; cat >{folder}/{file}", input=data)
    server.run("chown -R libvirt-qemu: /etc/pki/qemu; echo listen_tls = 1 >>/etc/libvirt/libvirtd.conf")
    bridge = names.bridge(INSTANCE)
    server.run(f"ip link add {bridge} type bridge; ip link set {bridge} up; mkdir -p -m 711 {HOME}/machines")
    server.run("virtlogd -d; libvirtd -d --listen")
    server.run("for _ in $(seq 100); do virsh -q uri >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1")


def _make_keys(lab: RemoteLab) -> None:
    (lab.home / "keys").mkdir()
    (lab.home / "ca").mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(lab.home / KEY)], check=True)
    authority = Authority()
    (lab.home / "ca" / "ca.crt").write_bytes(authority.certificate)
    for name, server in lab.servers.servers.items():
        _write_pair(lab.home / "ca", name, authority.issue(name, server.address))
    folder = lab.home / PKI
    folder.mkdir()
    certificate, key = authority.issue("controller")
    for file, data in (("cacert.pem", authority.certificate), ("clientcert.pem", certificate), ("clientkey.pem", key)):
        (folder / file).write_bytes(data)


def _write_pair(folder: Path, name: str, pair: tuple[bytes, bytes]) -> None:
    for ending, data in zip(("crt", "key"), pair, strict=True):
        (folder / f"{name}.{ending}").write_bytes(data)


class Authority:
    """Issues certificates that are gone with the test."""

    def __init__(self) -> None:
        self._key, self._name = ec.generate_private_key(ec.SECP256R1()), _name("an authority of a test")
        made = self._begin(self._name, self._key.public_key())
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, name: str, address: str = "") -> tuple[bytes, bytes]:
        """(certificate, key) of a server and client called `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [x509.DNSName(name), *([x509.IPAddress(_ip(address))] if address else [])]
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = self._begin(_name(name), key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName(known), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), pem

    def _begin(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
            now + datetime.timedelta(days=1)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)
