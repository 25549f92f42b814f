"""Small programs that run in a namespace: a TCP server, a sniffer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

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
