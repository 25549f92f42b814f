"""Forwarders and whatever else runs in a lab: started in sessions of their own, found again by pid and command line, ended by pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from netd.errors import NetdError
from netd.lab.lines import Forwarder

NETNS = Path("/run/netns")
PACKAGE = Path(__file__).parents[2]
START_SECONDS, ANSWER_SECONDS = 10.0, 5.0
STOP_SECONDS, KILL_SECONDS = 1.5, 60.0
"""Until who was asked to end is killed; and until who was killed is left alone: none lasts, but a busy server takes its time."""


def argv(folder: Path, forwarder: Forwarder) -> list[str]:
    names = [forwarder.line, forwarder.near, forwarder.far]
    return [sys.executable, "-m", "netd.lab.forward", str(folder), *names]


def start(folder: Path, forwarder: Forwarder) -> None:
    """Begin; `ask` waits until it carries."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PACKAGE), "LC_ALL": "C"}
    with open(folder / f"{forwarder.line}.log", "ab") as log:
        subprocess.Popen(
            argv(folder, forwarder),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env=environment,
        )


def alive(folder: Path, line: str) -> int | None:
    """The forwarder's pid; None: it does not run. Another process with a reused pid is not it."""
    try:
        pid = int((folder / f"{line}.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (OSError, ValueError):
        return None
    return pid if words[1:5] == ["-m", "netd.lab.forward", str(folder), line] else None


def ask(folder: Path, line: str, word: str, *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    """A forwarder's counters, after it has done `word` (see forward.py)."""
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind("")  # the kernel gives it a name of its own
        while True:
            asking.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                asking.sendto(word.encode(), str(folder / f"{line}.sock"))
                answer: dict[str, Any] = json.loads(asking.recv(4096))
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.005)  # it is starting
            except TimeoutError:
                break
            else:
                return answer
            if time.monotonic() > deadline:
                break
    raise NetdError("tool", f"the forwarder of {line} does not answer", hint=_last(folder / f"{line}.log"))


def _last(log: Path) -> str:
    with contextlib.suppress(OSError, IndexError):
        return log.read_text().strip().splitlines()[-1]
    return f"look at {log}"


def inside(namespaces: Iterable[str]) -> list[int]:
    """Processes whose network is one of the namespaces: only a lab's can be."""
    found = set()
    for name in namespaces:
        with contextlib.suppress(OSError):
            place = (NETNS / name).stat()
            found.add((place.st_dev, place.st_ino))
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and _network(pid) in found]


def _network(pid: int) -> tuple[int, int] | None:
    try:
        place = os.stat(f"/proc/{pid}/ns/net")
    except OSError:
        return None
    return place.st_dev, place.st_ino


def forwarders(folder: Path) -> list[int]:
    """Forwarders of this lab, also one whose builder was killed before it entered a namespace or wrote its pid."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                found += [int(entry.name)] if words[1:4] == ["-m", "netd.lab.forward", str(folder)] else []
    return found


def end(folder: Path, namespaces: list[str]) -> None:
    """End all of a lab's processes: asked first, then killed."""
    _end(lambda: {*inside(namespaces), *forwarders(folder)})


def end_inside(namespaces: list[str]) -> None:
    """The same for what runs in these namespaces."""
    _end(lambda: set(inside(namespaces)))


def _end(running: Callable[[], set[int]]) -> None:
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        deadline = time.monotonic() + seconds
        asked: set[int] = set()
        while left := running():
            for pid in left - asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            asked |= left
            _reap(left)
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)


def _reap(pids: Iterable[int]) -> None:
    """Collect those that are children of ours, and nobody else's: a zombie looks alive."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
