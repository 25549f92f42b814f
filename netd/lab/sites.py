"""Sites of a laboratory: netd in a namespace, led by a small network of its own instead of a controller.

A laboratory shows links, routes and names between sites; it needs no machines of a controller. So each node gets a NodeSpec that is
signed with a key made here, put where netd keeps its last good one, and follows it as if its controller were away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from netd.wire import Bridge, MachineNet, NodeSpec, seal

NETD = (sys.executable, "-m", "netd.cli")
Enter = Callable[[Sequence[str]], list[str]]
"""Turns a command into one that runs inside a node's namespace."""


@dataclass(frozen=True, slots=True)
class Network:
    """A site's own: what its controller would have drawn."""

    instance: str
    ipv4: str
    ipv6: str
    site: str = "home"
    machines: tuple[MachineNet, ...] = ()

    def spec(self, node: str, version: int = 1) -> NodeSpec:
        base4, base6 = self.ipv4.split("/")[0].rsplit(".", 1)[0], self.ipv6.split("/")[0].rstrip(":")
        bridge = Bridge(
            name=f"gb{self.instance}",
            mac="52:67:00:00:00:00",
            ipv4=f"{base4}.1",
            ipv6=f"{base6}::1",
            site_ipv4=self.ipv4,
            site_ipv6=self.ipv6,
        )
        domain = f"{self.site}.garage.internal"
        return NodeSpec(
            node=node, instance=self.instance, version=version, bridge=bridge, domain=domain, machines=self.machines
        )


def peers_line(peers: Sequence[str]) -> str:
    """What netd.toml says of the other nodes of a site; nothing where there is one."""
    return f"peers = {json.dumps(list(peers))}\n" if peers else ""


@dataclass
class SiteNode:
    """One node: its files in `folder`, its commands through `enter`."""

    name: str
    network: Network
    folder: Path
    enter: Enter
    uplink_is_office: bool = True
    peers: tuple[str, ...] = ()
    """Other nodes of the same site."""
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def state(self) -> Path:
        return self.folder / "netd"

    @property
    def config(self) -> Path:
        return self.state / "netd.toml"

    def prepare(self, version: int = 1) -> None:
        """Write settings, key and the node's own network."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o711)
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.state / "controller.pub").write_bytes(public)
        (self.state / "token").write_text("no-controller")
        for name in ("office.networks", "allow.networks"):
            (self.folder / name).touch()
        values = {
            **{"node": self.name, "instance": self.network.instance, "controller_url": "http://127.0.0.1:9"},
            **{"token_file": self.state / "token", "controller_key": self.state / "controller.pub"},
            **{"state_dir": self.state, "office_file": self.folder / "office.networks"},
            "allow_file": self.folder / "allow.networks",
        }
        text = "".join(f"{key} = {json.dumps(str(value))}\n" for key, value in values.items())
        text += f"uplink_is_office = {str(self.uplink_is_office).lower()}\n{peers_line(self.peers)}"
        self.config.write_text(text)
        (self.state / "last-good.json").write_bytes(seal(self.network.spec(self.name, version), self.key))

    def netd(self, *words: str, input: str | None = None, check: bool = True, seconds: float = 60) -> str:
        """`netd WORDS` in the node; its standard output."""
        argv = self.enter([*NETD, *words, "--config", str(self.config)])
        done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=seconds, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: netd {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + ("" if check else done.stderr)

    def start(self) -> subprocess.Popen[bytes]:
        """`netd run` in a session of its own; its log is `netd.log`."""
        argv = self.enter([*NETD, "run", "--config", str(self.config)])
        with (self.folder / "netd.log").open("ab") as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ}
            )
