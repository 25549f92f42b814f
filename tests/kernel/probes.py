"""Small programs that run in a namespace: a TCP server, sniffers."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

SERVER = """
import socket, sys, threading
def serve(port):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    while True:
        c, _ = s.accept(); c.sendall(b"hello"); c.close()
for port in map(int, sys.argv[1:]):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
print("up", flush=True); threading.Event().wait()
"""

SNIFFER = """
import select, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((sys.argv[1], 0))
print("up", flush=True); seen = bytearray()
while sys.stdin not in (ready := select.select([s, sys.stdin], [], [])[0]):
    seen += s.recv(4000)
sys.stdout.buffer.write(seen); sys.stdout.flush()
"""
SETTLE = 0.4
"""Seconds that frames get to arrive; a control in the same run tells whether they were enough."""


def sniff_while(place: str, device: str, act: Callable[[], object]) -> bytes:
    """All frames that `device` in the namespace `place` saw while `act()` ran."""
    argv = ["ip", "netns", "exec", place, sys.executable, "-c", SNIFFER, device]
    sniffer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert sniffer.stdout is not None
    assert sniffer.stdout.readline() == b"up\n"
    act()
    time.sleep(SETTLE)
    seen, _ = sniffer.communicate()
    return seen


WATCHER = """
import select, socket, sys
places = [sys.stdin]
for device in sys.argv[1:]:
    places.append(s := socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))); s.bind((device, 0))
print("up", flush=True); seen = []
while sys.stdin not in (ready := select.select(places, [], [])[0]):
    for s in ready:
        frame, (device, _, kind, *_) = s.recvfrom(4000)
        seen.append(f"{device} {kind} {frame[:96].hex()}")
print("\\n".join(seen))
"""


class Packet(NamedTuple):
    """`proto` is a name, or a number; `sport` and `dport` of UDP and TCP, otherwise 0."""

    device: str
    outgoing: bool
    """Sent by the namespace that was watched, not received by it."""
    proto: str
    source: str
    target: str
    sport: int
    dport: int


class Watch:
    """Notes every frame that devices of a namespace send or receive, until `end()`."""

    def __init__(self, place: str, *devices: str) -> None:
        argv = ["ip", "netns", "exec", place, sys.executable, "-c", WATCHER, *devices]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n"
        self.begun = time.monotonic()

    def end(self) -> list[Packet]:
        time.sleep(SETTLE)
        said, _ = self._process.communicate()
        return [_packet(*line.split()) for line in said.splitlines()]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmp6"}
QUIET = frozenset({*range(130, 138), 143})
"""ICMPv6 by which a link's neighbours find each other (RFC 4861, RFC 2710, RFC 3810)."""


def _packet(device: str, kind: str, text: str) -> Packet:
    frame = bytes.fromhex(text)
    ethertype, body = int.from_bytes(frame[12:14]), frame[14:]
    if ethertype == 0x0800:
        proto, source, target, rest = body[9], body[12:16], body[16:20], body[(body[0] & 15) * 4 :]
        ends = socket.inet_ntop(socket.AF_INET, source), socket.inet_ntop(socket.AF_INET, target)
    elif ethertype == 0x86DD:
        proto, rest = body[6], body[40:]
        if proto == 0:  # hop-by-hop options, as MLD has them
            proto, rest = rest[0], rest[8 + rest[1] * 8 :]
        ends = socket.inet_ntop(socket.AF_INET6, body[8:24]), socket.inet_ntop(socket.AF_INET6, body[24:40])
    else:
        return Packet(device, kind == "4", "arp" if ethertype == 0x0806 else hex(ethertype), "", "", 0, 0)
    name = PROTOCOLS.get(proto, str(proto))
    if proto == 58 and rest[0] in QUIET:
        name = "nd"
    ports = (int.from_bytes(rest[:2]), int.from_bytes(rest[2:4])) if name in ("udp", "tcp") else (0, 0)
    return Packet(device, kind == "4", name, *ends, *ports)
