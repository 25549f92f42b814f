"""A line of the laboratory: carries packets between two TUN devices of different namespaces, late, slowly or not at all.

`python -m netd.lab.forward FOLDER LINE NEAR FAR`: NEAR and FAR are namespaces in which a persistent TUN device LINE exists.
FOLDER/LINE.json holds the impairment, FOLDER/LINE.pid this process; over the UNIX socket FOLDER/LINE.sock a datagram `reload`
is answered, when the file is in force, with the counters of both directions, and `counters` at once. One process per line,
small imports: twelve of them start on two cores while their addresses are set.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

from netd.lab.impair import Pipe
from netd.lab.model import Impairment

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x4000_0000
BATCH = 64
"""Packets read from one side before the other side has its turn."""
LARGEST = 65_536


def attach(namespace: str, device: str) -> int:
    """A descriptor of the TUN device; this process stays in the namespace."""
    place = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(place, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"can't enter {namespace}")
    os.close(place)
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return tun


class Direction:
    """Packets from one descriptor to the other, through a Pipe."""

    def __init__(self, source: int, sink: int, pipe: Pipe) -> None:
        self.source, self.sink, self.pipe = source, sink, pipe
        self.waiting: deque[tuple[float, bytes]] = deque()

    def read(self) -> None:
        """Take what is there; a packet that need not wait goes on at once."""
        offer, waiting, source, sink, clock = self.pipe.offer, self.waiting, self.source, self.sink, time.monotonic
        for _ in range(BATCH):
            try:
                packet = os.read(source, LARGEST)
            except BlockingIOError:
                return
            now = clock()
            due = offer(now, len(packet))
            if due is None:
                continue
            if due <= now and not waiting:
                _write(sink, packet)
            else:
                waiting.append((due, packet))

    def flush(self) -> float | None:
        """Send what is due; the time of the next one."""
        waiting, now = self.waiting, time.monotonic()
        while waiting and waiting[0][0] <= now:
            _write(self.sink, waiting.popleft()[1])
        return waiting[0][0] if waiting else None


def _write(sink: int, packet: bytes) -> None:
    with contextlib.suppress(OSError):  # the device is down or its peer gone: a cut cable loses packets too
        os.write(sink, packet)


class Forwarder:
    def __init__(self, folder: Path, line: str, near: str, far: str) -> None:
        self.file = folder / f"{line}.json"
        self.control = _listen(folder / f"{line}.sock")
        one, other = attach(near, line), attach(far, line)
        chance = random.Random().random  # noqa: S311 (a line's weather is no secret)
        self.directions = [
            Direction(source, sink, Pipe(self._wanted(), chance)) for source, sink in ((one, other), (other, one))
        ]

    def _wanted(self) -> Impairment:
        return Impairment(**json.loads(self.file.read_text()))

    def run(self) -> None:
        """Until SIGTERM."""
        sources = {direction.source: direction for direction in self.directions}
        watched = [*sources, self.control.fileno()]
        while True:
            due = [when for direction in self.directions if (when := direction.flush()) is not None]
            pause = max(0.0, min(due) - time.monotonic()) if due else None
            for ready in select.select(watched, (), (), pause)[0]:
                if ready in sources:
                    sources[ready].read()
                else:
                    self._answer()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):  # whoever asks and leaves gets no answer
            word, asker = self.control.recvfrom(64)
            if word == b"reload":
                for direction in self.directions:
                    direction.pipe.change(self._wanted())
            self.control.sendto(json.dumps(self._counters()).encode(), asker)

    def _counters(self) -> dict[str, dict[str, int]]:
        sides = zip(("out", "in"), self.directions, strict=True)
        return {side: {**asdict(way.pipe.counters), "waiting": len(way.waiting)} for side, way in sides}


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(str(path))
    return control


def main() -> None:
    folder, line, near, far = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    path = Path(folder) / f"{line}.pid"
    path.write_text(str(os.getpid()))
    gc.disable()  # nothing here makes cycles; a collection would be jitter that no topology asked for
    with contextlib.suppress(OSError):
        os.nice(-10)  # a busy server is not a bad line
    Forwarder(Path(folder), line, near, far).run()


if __name__ == "__main__":
    main()
