"""What reaches a place: UDP and TCP on one port, both IP versions, written down by its text."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PORT = 7777
PROGRAM = f"""
import selectors, socket
known = selectors.DefaultSelector()
for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        s = socket.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((host, {PORT}))
        if kind == socket.SOCK_STREAM:
            s.listen()
        known.register(s, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in known.select():
        if key.fileobj.type == socket.SOCK_DGRAM:
            print(key.fileobj.recv(2000).decode(errors="replace"), flush=True)
        else:
            key.fileobj.accept()[0].close()
            print("tcp", flush=True)
"""


class Sink:
    """Ends with the world: its process runs in one of its namespaces."""

    def __init__(self, inside: Callable[[Sequence[str]], list[str]], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(inside([sys.executable, "-c", PROGRAM]), stdout=out, stderr=out)
        self.has("ready", 20)

    def texts(self) -> list[str]:
        """All that arrived so far."""
        return self._log.read_text().splitlines()[1:]

    def has(self, text: str, seconds: float = 20.0) -> bool:
        """Whether it arrives in time."""
        deadline = time.monotonic() + seconds
        while text not in self._log.read_text().splitlines():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
