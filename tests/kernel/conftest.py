"""A node under netd between two guests and a world of namespaces (drawn in tests/netlab.py)."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from netd.wire import Bridge, MachineNet, NodeSpec, seal
from tests.netlab import NetLab

BRIDGE = Bridge(
    name="gbtst",
    mac="52:67:00:00:00:00",
    ipv4="10.31.0.1",
    ipv6="fd31:4:5::1",
    site_ipv4="10.31.0.0/20",
    site_ipv6="fd31:4:5::/48",
)


def machine(number: int, name: str, project: str = "alice") -> MachineNet:
    return MachineNet(
        id=f"id{number}",
        tap=f"gttst{number}",
        mac=f"52:67:00:00:00:{number:02x}",
        ipv4=f"10.31.0.{15 + number}",
        ipv6=f"fd31:4:5::{15 + number:x}",
        name=name,
        project=project,
    )


ONE, TWO, THREE = machine(1, "one"), machine(2, "two"), machine(3, "three", "bob")


def spec(version: int, *machines: MachineNet, bridge: Bridge = BRIDGE) -> NodeSpec:
    return NodeSpec(
        node="node1", instance="tst", version=version, bridge=bridge, domain="home.garage.internal", machines=machines
    )


@dataclass
class NodeUnderTest:
    """netd's files, and `take` to apply a spec in the node's namespace."""

    lab: NetLab
    state: Path
    key: Ed25519PrivateKey
    config: Path

    def take(self, wanted: NodeSpec) -> list[str]:
        """Apply a spec as the daemon would; the changes made, or ["refused: CODE: TEXT"]."""
        sealed = self.state / "sealed.json"
        sealed.write_bytes(seal(wanted, self.key))
        return self.run("node.adopt(); changes = node.take(sealed)", sealed)

    def refresh(self) -> list[str]:
        return self.run("node.adopt(); changes = node.refresh()", None)

    def run(self, act: str, sealed: Path | None) -> list[str]:
        code = f"""
            import json, pathlib
            from netd import config
            from netd.node import Node
            from netd.wire import SpecError
            node = Node(config.load(pathlib.Path({str(self.config)!r})))
            sealed = pathlib.Path({str(sealed)!r}).read_bytes() if {sealed is not None} else None
            try:
                {act}
                print(json.dumps([str(change) for change in changes]))
            except SpecError as error:
                print(json.dumps(["refused: " + error.code + ": " + error.text]))
        """
        lines: list[str] = json.loads(self.lab.python(self.lab.node, code))
        return lines

    def netd(self, *words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "netd.cli", *words, "--config", str(self.config)]
        return self.lab.popen(self.lab.node, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def make_node(lab: NetLab, folder: Path, controller_url: str = "http://127.0.0.1:9") -> NodeUnderTest:
    state = folder / "netd"
    state.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    (state / "controller.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (state / "token").write_text("node-token")
    (folder / "office.networks").write_text("192.168.77.0/24  # the office\n")
    (folder / "allow.networks").write_text("192.168.77.7 tcp 8443  # a private mirror\n")
    values = {
        **{"node": "node1", "instance": "tst", "controller_url": controller_url, "token_file": state / "token"},
        **{"controller_key": state / "controller.pub", "state_dir": state},
        **{"office_file": folder / "office.networks", "allow_file": folder / "allow.networks"},
    }
    config = state / "netd.toml"
    config.write_text("".join(f"{k} = {json.dumps(str(v))}\n" for k, v in values.items()) + "uplink_is_office = true\n")
    return NodeUnderTest(lab, state, key, config)


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that dnsmasq's own user can enter; pytest's are closed to others again whenever another run begins."""
    with tempfile.TemporaryDirectory(prefix="garage-kernel-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def lab() -> Iterator[NetLab]:
    made = NetLab()
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(lab: NetLab, open_folder: Path) -> NodeUnderTest:
    """A node with two guests of the site; guest addresses are set by hand."""
    made = make_node(lab, open_folder)
    made.take(spec(1, ONE, TWO))
    for number, who in ((1, ONE), (2, TWO)):
        place = lab.guest(number, bridge="gbtst", tap=who.tap, mac=who.mac)
        lab.addresses(place, who.ipv4, who.ipv6, BRIDGE.ipv4, BRIDGE.ipv6)
    return made
