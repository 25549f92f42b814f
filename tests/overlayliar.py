"""A site that lies: joined honestly, then ExaBGP speaks BGP in the place of its FRR, and it filters nothing that it sends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from netd.core.overlay import interface
from netd.shell.routes import installed
from netd.wire import Link, LinkSpec, decode
from netd.wire.envelope import Envelope
from tests.overlaynet import OverlayNet

EXABGP = "/usr/sbin/exabgp"
SETTINGS = {
    "exabgp.daemon.user": "root",
    "exabgp.daemon.drop": "false",
    "exabgp.api.ack": "false",
    "exabgp.log.destination": "stdout",
    "exabgp.log.level": "INFO",
}
SENDER = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
for line in sys.stdin:
    packet = bytes.fromhex(line)
    s.sendto(packet, (sys.argv[1], 0x0800 if packet[0] >> 4 == 4 else 0x86DD))
"""


class Liar:
    """Takes a node over: its netd, FRR and packet filters end, its tunnels stay."""

    def __init__(self, net: OverlayNet, node: str) -> None:
        self.net, self.node = net, node
        self.instance = net.sites[node].network.instance
        sealed = (net.sites[node].state / "overlay" / "link.json").read_bytes()
        self.spec = decode(decode(sealed, Envelope).payload, LinkSpec)
        self.folder = net.folder / f"{node}-exabgp"
        self.folder.mkdir()
        self._words = self.folder / "words"
        self._words.touch()
        self._take_over()

    def link(self, site: str) -> Link:
        """Its link to a site."""
        return next(link for link in self.spec.links if link.peer_site == site)

    def device(self, site: str) -> str:
        return interface(self.instance, self.link(site).number)

    def say(self, *lines: str) -> None:
        """Commands of ExaBGP, e.g. "announce route 10.0.0.0/8 next-hop self as-path [ 65000 ]"; AS paths are sent as they are."""
        with self._words.open("a") as words:
            words.write("".join(f"{line}\n" for line in lines))

    def announce(self, prefix: str, path: Iterable[int] = (), more: str = "") -> None:
        """To all peers; `path` follows its own AS number."""
        numbers = " ".join(map(str, (self.spec.asn, *path)))
        self.say(f"announce route {prefix} next-hop self as-path [ {numbers} ] {more}".rstrip())

    def announce_own(self) -> None:
        network = self.net.sites[self.node].network
        for prefix in (network.ipv4, network.ipv6):
            self.announce(prefix)

    def send(self, site: str, packets: Iterable[bytes]) -> None:
        """IP packets, as they are, into the tunnel to a site."""
        argv = self.net.world.argv(self.node, [sys.executable, "-c", SENDER, self.device(site)])
        subprocess.run(argv, input="\n".join(packet.hex() for packet in packets), text=True, check=True, timeout=60)

    def _take_over(self) -> None:
        process = self.net.processes[self.node]
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        self._end_frr()
        self.net.run(self.node, ["nft", "flush", "ruleset"])
        config = self.folder / "exabgp.conf"
        config.write_text(self._config())
        with (self.folder / "exabgp.log").open("ab") as log:
            self.net.processes[self.node] = subprocess.Popen(
                self.net.world.argv(self.node, [EXABGP, str(config)]),
                **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log},  # type: ignore[call-overload]
                env={**os.environ, **SETTINGS},
            )

    def _end_frr(self) -> None:
        """Its routes stay as they are in the kernel: killed, not ended."""
        run = Path(f"/var/run/frr/garage_{self.instance}")
        numbers = [int((run / f"{name}.pid").read_text()) for name in reversed(installed())]
        for number in numbers:
            os.kill(number, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{number}/exe").exists() for number in numbers) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _config(self) -> str:
        text = f"process lies {{ run /usr/bin/tail -n +1 -f {self._words}; encoder text; }}\n"
        for link in self.spec.links:
            for family, own, peer in (("ipv4", link.ipv4, link.peer_ipv4), ("ipv6", link.ipv6, link.peer_ipv6)):
                text += f"""neighbor {peer} {{
  router-id 10.255.255.{link.number % 256};
  local-address {own};
  local-as {self.spec.asn};
  peer-as {link.peer_asn};
  hold-time 60;
  family {{ {family} unicast; }}
  api {{ processes [ lies ]; }}
}}
"""
        return text
