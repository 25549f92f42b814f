"""Whether a server can become a node, from what a script says of it: each fault by name, and how to mend it, before anything changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from garage.core.ssh_target import plain
from garage.errors import N_, fill

SYSTEMS = ("debian-12", "debian-13", "ubuntu-24.04")
"""As in scripts/node-setup."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
KERNEL = (5, 10)
"""nftables' sets with intervals and counters in `inet` tables, WireGuard since 5.6; the oldest known system has 6.1."""
MIN_MEMORY, GOOD_MEMORY = 2048, 8192
"""MiB."""
MIN_DISK, GOOD_DISK = 12.0, 50.0
"""GiB: an image, its copy while it comes, a machine's disk."""
CLOCK_ERROR, CLOCK_WARN = 30.0, 2.0
"""Seconds: the registry takes no join with more than 60, and names, leases and logs of all nodes are compared."""
MAX_LINES, MAX_VALUE = 100, 200
KEY = re.compile(r"[a-z_]{1,32}")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the controller compares a server with."""

    arch: str
    """As uname -m says it."""
    instance: str
    machine_id: str
    """The controller's own server's."""
    authority: str
    """SHA-256 of the garage's CA certificate file."""
    url: str


@dataclass(frozen=True, slots=True)
class Finding:
    """`level`: "error" (it cannot become a node so) or "warning". Text and hint are templates, as in GarageError."""

    level: str
    what: str
    text: str
    hint: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        return fill(self.text, self.params)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("level", "what", "text", "hint", "params")}


@dataclass(frozen=True, slots=True)
class Server:
    """What it said of itself. Memory in MiB, disk in GiB."""

    uid: int
    system: str
    system_name: str
    arch: str
    kernel: str
    vcpus: int
    memory_mib: int
    disk_free_gib: float
    disk_total_gib: float
    flag: bool
    kvm: bool
    tun: bool
    clock_off: float
    """Seconds by which its clock is ahead."""
    reaches: bool
    """The controller's URL, by TCP."""
    machine_id: str
    garage: bool
    """It has a controller of its own."""
    instance: str
    """Of the garage that leads it already; empty: none does."""
    authority: str
    """SHA-256 of the CA that its libvirt believes; empty: none."""

    @property
    def virtualisation(self) -> str:
        return "kvm" if self.flag and self.kvm else "tcg"


def parse(text: str, clock_off: float) -> Server:
    """Of KEY=VALUE lines; what is missing or nonsense is as if it said the worst."""
    said: dict[str, str] = {}
    for line in text.splitlines()[:MAX_LINES]:
        key, _, value = line.partition("=")
        if KEY.fullmatch(key):
            said[key] = plain(value, MAX_VALUE)
    return Server(
        uid=_number(said, "uid", 1),
        system=said.get("system", ""),
        system_name=said.get("system_name", ""),
        arch=said.get("arch", ""),
        kernel=said.get("kernel", ""),
        vcpus=_number(said, "vcpus", 0),
        memory_mib=_number(said, "memory_mib", 0),
        disk_free_gib=round(_number(said, "disk_free_mib", 0) / 1024, 1),
        disk_total_gib=round(_number(said, "disk_total_mib", 0) / 1024, 1),
        flag=said.get("flag") == "yes",
        kvm=said.get("kvm") == "yes",
        tun=said.get("tun") == "yes",
        clock_off=clock_off,
        reaches=said.get("reaches") == "yes",
        machine_id=said.get("machine_id", ""),
        garage=said.get("garage") == "yes",
        instance=said.get("instance", ""),
        authority=said.get("authority", ""),
    )


def _number(said: Mapping[str, str], key: str, worst: int) -> int:
    text = said.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else worst


def findings(server: Server, wish: Wish) -> list[Finding]:
    """Errors first; none at all where everything is as it should be."""
    found = [*_identity(server, wish), *_software(server, wish), *_size(server), *_surroundings(server, wish)]
    return sorted(found, key=lambda one: one.level != "error")


def _identity(server: Server, wish: Wish) -> Iterator[Finding]:
    if server.uid != 0:
        yield _error(
            "root", N_("the login is not root's"), N_("let root in with the controller's key: garage node key")
        )
    if server.garage:
        text = N_("this server has a garage of its own")
        yield _error("garage", text, N_("a server is led by one garage; there, “make purge” removes its own"))
    if server.machine_id == wish.machine_id or not server.machine_id:
        text = N_("this is the controller's own server, or a copy of it")
        hint = N_("a copied server gets an id of its own by: rm /etc/machine-id; systemd-machine-id-setup; reboot")
        yield _error("machine_id", text, hint)
    if server.instance not in ("", wish.instance):
        text, hint = N_("another garage leads this server"), N_("remove it there first: garage node remove NAME")
        yield _error("led", text, hint)
    if server.authority not in ("", wish.authority):
        text = N_("libvirt on this server believes another certificate authority, /etc/pki/CA/cacert.pem")
        yield _error(
            "authority", text, N_("move /etc/pki/CA, /etc/pki/libvirt and /etc/pki/qemu away if nothing needs them")
        )


def _software(server: Server, wish: Wish) -> Iterator[Finding]:
    if server.system not in SYSTEMS:
        text = N_("this is {name}; Debian 12, Debian 13 and Ubuntu 24.04 are known")
        yield _error("system", text, N_("install one of these"), name=server.system_name or server.system or "?")
    if server.arch not in ARCHITECTURES or server.arch != wish.arch:
        text = N_("its processor is {arch}, the controller's is {wanted}: images would not boot")
        yield _error("arch", text, N_("a garage has nodes of one kind"), arch=server.arch or "?", wanted=wish.arch)
    if _version(server.kernel) < KERNEL:
        text = N_("its kernel is {kernel}; {wanted} is the oldest that will do")
        hint = N_("install the distribution's current kernel and boot it")
        yield _error("kernel", text, hint, kernel=server.kernel or "?", wanted=".".join(map(str, KERNEL)))
    if not server.tun:
        text, hint = N_("/dev/net/tun is missing"), N_("modprobe tun; in a container, let it have the device")
        yield _error("tun", text, hint)


def _size(server: Server) -> Iterator[Finding]:
    memory, disk = server.memory_mib, server.disk_free_gib
    if server.vcpus < 1:
        yield _error("cpu", N_("it does not say how many processors it has"), N_("is nproc there?"))
    if memory < GOOD_MEMORY:
        text = N_("{memory} MiB of RAM: {wanted} MiB are the least, {good} MiB make sense")
        hint = N_("give it more memory, or use it for few small machines")
        values: dict[str, Any] = {"memory": memory, "wanted": MIN_MEMORY, "good": GOOD_MEMORY}
        yield Finding("error" if memory < MIN_MEMORY else "warning", "memory", text, hint, values)
    if disk < GOOD_DISK:
        text = N_("{disk} GiB of disk are free: {wanted} GiB are the least, {good} GiB make sense")
        hint = N_("free some, or mount a larger disk at the garage's folder")
        values = {"disk": f"{disk:.0f}", "wanted": f"{MIN_DISK:.0f}", "good": f"{GOOD_DISK:.0f}"}
        yield Finding("error" if disk < MIN_DISK else "warning", "disk", text, hint, values)


def _surroundings(server: Server, wish: Wish) -> Iterator[Finding]:
    if not (server.flag and server.kvm):
        text = N_("its processor offers no virtualisation: machines are emulated, about ten times slower")
        yield _warning(
            "kvm", text, N_("switch on VT-x or AMD-V in its firmware; in a guest, allow nested virtualisation")
        )
    if abs(server.clock_off) > CLOCK_WARN:
        text = N_("its clock is {seconds} s away from the controller's")
        hint = N_("set it by NTP: apt-get install systemd-timesyncd, or chrony")
        level = "error" if abs(server.clock_off) > CLOCK_ERROR else "warning"
        yield Finding(level, "clock", text, hint, {"seconds": f"{server.clock_off:+.1f}"})
    if not server.reaches:
        text = N_("the controller, {url}, cannot be reached from there")
        hint = N_(
            "let it through in firewalls on the way; “public_url” in garage.toml names another address for others"
        )
        yield _error("controller", text, hint, url=wish.url)


def _version(kernel: str) -> tuple[int, ...]:
    found = re.match(r"(\d{1,4})\.(\d{1,4})", kernel)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _error(what: str, text: str, hint: str, **params: Any) -> Finding:
    return Finding("error", what, text, hint, params)


def _warning(what: str, text: str, hint: str, **params: Any) -> Finding:
    return Finding("warning", what, text, hint, params)
