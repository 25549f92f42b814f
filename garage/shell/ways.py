"""The ways to nodes: a node's libvirt as a URI with the controller's own keys in it, its shell, its address as another node sees it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from garage.core.ssh_target import parse_target
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.host import Host, LocalHost, RemoteHost
from garage.shell.node_shell import KEY, NodeShell

PKI = Path("keys", "pki")
"""Below GARAGE_HOME: cacert.pem, clientcert.pem, clientkey.pem (libvirt's names for what `pkipath` holds)."""
TLS_PORT = 16514
REACHED = 4.0
"""Seconds until a TCP connection stands."""


class Ways:
    """Of one controller. One shell per node, opened when first asked for."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._shells: dict[NodeAccess, NodeShell] = {}

    def shell(self, node: NodeAccess) -> NodeShell:
        with self._lock:
            if node not in self._shells:
                self._shells[node] = NodeShell(node, self._home / KEY)
            return self._shells[node]

    def host(self, node: NodeAccess) -> Host:
        return RemoteHost(self.shell(node), self._home / "console") if node.address else LocalHost()

    def uri(self, node: NodeAccess) -> str:
        """What libvirt opens. No setting of root's own is in it: no ~/.ssh, no ~/.pki. `hypervisor_away` where nothing answers."""
        given = urlsplit(node.hypervisor)
        if given.scheme == "qemu+ssh":
            query = {"command": str(self.shell(node).wrapper()), "proxy": "native", "no_tty": "1"}
            return f"qemu+ssh://root@{_bracketed(parse_target(node.address).host)}/system?{urlencode(query, quote_via=quote)}"
        if given.scheme == "qemu+tls":
            host, port = given.hostname or parse_target(node.address).host, given.port or TLS_PORT
            _look(node.name, host, port)
            return f"qemu+tls://{_bracketed(host)}:{port}/system?{urlencode({'pkipath': str(self._home / PKI)}, quote_via=quote)}"
        return node.hypervisor

    def address(self, node: NodeAccess, *, seen_from: NodeAccess) -> str:
        """Where QEMU of `seen_from` reaches the server of `node`."""
        if node.address:
            return parse_target(node.address).host
        if not seen_from.address:
            raise GarageError("config", N_("{node} has no address"), node=node.name)
        other = parse_target(seen_from.address)
        family, kind, proto, _, where = socket.getaddrinfo(other.host, other.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.connect(where)  # sends nothing: only the route is looked up
            return str(probe.getsockname()[0])

    def close(self) -> None:
        with self._lock:
            shells, self._shells = list(self._shells.values()), {}
        for shell in shells:
            shell.close()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _look(name: str, host: str, port: int) -> None:
    """libvirt waits minutes for a server that drops packets, and a thread with it."""
    try:
        socket.create_connection((host, port), REACHED).close()
    except OSError as error:
        raise GarageError(
            "hypervisor_away", N_("libvirt does not answer: {reason}"), reason=f"{name}: {error}"[:300]
        ) from None
