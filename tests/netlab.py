"""Network namespaces for tests: a node between its machines and a world that ends at the namespaces' walls.

    guest1 ── tap1 ─┐                       ┌── office 192.168.77.7
    guest2 ── tap2 ─┤ bridge  NODE  up0 ────┤ UPLINK (router)
    …               ┘        192.0.2.2      ├── internet 9.9.9.9, 2a0f:1::9
                             2a0f:2::2      └── 192.0.2.1, 192.0.2.77 (a neighbour of the node),
                                                2a0f:2::1, 169.254.169.254 (metadata, as a cloud has it)

Nothing here has a way out: no namespace is connected to the server's own. Names carry the pid, by which tests/leftovers.py finds and
removes what a killed run left.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

PREFIX = "gt"
OFFICE, NEIGHBOUR, INTERNET, INTERNET6 = "192.168.77.7", "192.0.2.77", "9.9.9.9", "2a0f:1::9"
NODE_UPLINK, NODE_UPLINK6 = "192.0.2.2", "2a0f:2::2"
ROUTER, ROUTER6, METADATA = "192.0.2.1", "2a0f:2::1", "169.254.169.254"


def sh(command: str, *, check: bool = True, input: str | None = None) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, input=input, timeout=60)
    if check and done.returncode:
        raise AssertionError(f"$ {command}\n{done.stdout}{done.stderr}")
    return done.stdout


def namespaces_of(pid: int) -> list[str]:
    """Those that this process made, whether or not it lives."""
    places = Path("/run/netns")
    return sorted(path.name for path in places.glob(f"{PREFIX}{pid}-*")) if places.is_dir() else []


def delete(name: str) -> None:
    """Remove a namespace with the processes in it: only ours can be in it."""
    for pid in sh(f"ip netns pids {name}", check=False).split():
        sh(f"kill -9 {pid}", check=False)
    sh(f"ip netns delete {name}", check=False)


class NetLab:
    """Build with `NetLab()`, use, `close()`."""

    def __init__(self) -> None:
        self._made: list[str] = []
        self.node, self.uplink, self.office, self.internet = (
            self.add(n) for n in ("node", "uplink", "office", "internet")
        )
        self._wire()

    def add(self, role: str) -> str:
        """A new namespace; its full name."""
        name = f"{PREFIX}{os.getpid()}-{role}"
        sh(f"ip netns add {name}")
        sh(f"ip -n {name} link set lo up")
        quiet = "net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"  # link-local addresses work at once
        sh(f"ip netns exec {name} sysctl -qw {quiet}")
        self._made.append(name)
        return name

    def _wire(self) -> None:
        self._pair(self.node, "up0", self.uplink, "node0")
        self._pair(self.uplink, "off0", self.office, "eth0")
        self._pair(self.uplink, "net0", self.internet, "eth0")
        for place, device, *addresses in (
            (self.node, "up0", f"{NODE_UPLINK}/24", f"{NODE_UPLINK6}/64"),
            (self.uplink, "node0", f"{ROUTER}/24", f"{NEIGHBOUR}/24", f"{METADATA}/32", f"{ROUTER6}/64"),
            (self.uplink, "off0", "192.168.77.1/24"),
            (self.uplink, "net0", "9.9.9.1/24", "2a0f:1::1/64"),
            (self.office, "eth0", f"{OFFICE}/24"),
            (self.internet, "eth0", f"{INTERNET}/24", f"{INTERNET6}/64"),
        ):
            for address in addresses:
                sh(f"ip -n {place} addr add {address} dev {device} {'nodad' if ':' in address else ''}")
        self.exec(self.uplink, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        for place, via in ((self.node, ROUTER), (self.office, "192.168.77.1"), (self.internet, "9.9.9.1")):
            sh(f"ip -n {place} route add default via {via}")
        for place, via in ((self.node, ROUTER6), (self.internet, "2a0f:1::1")):
            sh(f"ip -n {place} route add default via {via}")
        # the uplink knows the way to the machines: what is refused is refused by a rule, not for want of a route
        sh(f"ip -n {self.uplink} route add 10.0.0.0/8 via {NODE_UPLINK}")
        sh(f"ip -n {self.uplink} route add fd00::/8 via {NODE_UPLINK6}")

    def _pair(self, one: str, device: str, other: str, other_device: str) -> None:
        sh(f"ip -n {one} link add {device} type veth peer name {other_device} netns {other}")
        for place, name in ((one, device), (other, other_device)):
            sh(f"ip -n {place} link set {name} up")

    def exec(self, place: str, command: str, *, check: bool = True) -> str:
        return sh(f"ip netns exec {place} {command}", check=check)

    def python(self, place: str, code: str, *, check: bool = True) -> str:
        """Run Python in a namespace; what it prints."""
        argv = ["ip", "netns", "exec", place, sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        if check and done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def popen(self, place: str, argv: list[str], **more: Any) -> subprocess.Popen[str]:
        """A process in a namespace; ends with it."""
        return subprocess.Popen(["ip", "netns", "exec", place, *argv], text=True, **more)

    def guest(self, number: int, *, bridge: str, tap: str, mac: str) -> str:
        """A namespace that stands for a machine: its device eth0 has `mac`, its peer `tap` is a port of the node's bridge."""
        place = self.add(f"guest{number}")
        self._pair(self.node, tap, place, "eth0")
        sh(f"ip -n {place} link set eth0 down")
        sh(f"ip -n {place} link set eth0 address {mac} up")
        sh(f"ip -n {self.node} link set {tap} master {bridge}")
        return place

    def addresses(self, place: str, ipv4: str, ipv6: str, gateway4: str, gateway6: str) -> None:
        """Set a guest's addresses by hand, as DHCP would."""
        for command in (
            f"addr add {ipv4}/32 dev eth0",
            f"addr add {ipv6}/128 dev eth0 nodad",
            f"route replace {gateway4} dev eth0",
            f"route replace default via {gateway4}",
            f"route replace {gateway6} dev eth0",
            f"route replace default via {gateway6}",  # an advertisement may have come first
        ):
            sh(f"ip -n {place} {command}")

    def close(self) -> None:
        for name in reversed(self._made):
            delete(name)
