"""A garage that runs: the one in GARAGE_HOME, or one of our own for as long as the benchmarks run."""

from __future__ import annotations

import atexit
import functools
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from garage.client.api import Api
from garage.client.profiles import Profile
from garage.config import load

ROOT = Path(__file__).resolve().parents[1]
OWN_HOME = "/var/lib/garage-bench"


@dataclass(frozen=True, slots=True)
class Running:
    """A garage that is up."""

    home: Path
    environ: Mapping[str, str]

    def make(self, target: str) -> None:
        """Run a target of the Makefile for it; its output goes to standard error."""
        subprocess.run(
            ["make", target], cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=True
        )

    def api(self) -> Api:
        """As its admin; a garage with TLS is believed by its own certificate alone."""
        config = load(self.environ)
        certificate = (self.home / "keys" / "tls.crt").read_text() if config.tls else ""
        token = (self.home / "admin.token").read_text().strip()
        return Api(Profile("bench", config.url, token, certificate=certificate))

    def processes(self) -> dict[str, int]:
        """web, worker, netd → process id."""
        home = f"{self.home}/venv"
        commands = {"web": "garage-server web", "worker": "garage-server worker", "netd": "netd run"}
        return {name: _pid(home, words.split()) for name, words in commands.items()}


@functools.cache
def running() -> Running:
    """The garage in GARAGE_HOME if it is one that is up; otherwise one of our own, removed at the end."""
    home = Path(os.environ.get("GARAGE_HOME", "/var/lib/garage"))
    if (home / "admin.token").exists():
        found = Running(home, {**os.environ, "GARAGE_HOME": str(home)})
        found.make("up")
        return found
    environ = {**os.environ, "GARAGE_HOME": OWN_HOME, "GARAGE_LISTEN": f"127.0.0.1:{_free_port()}", "YES": "1"}
    own = Running(Path(OWN_HOME), environ)
    atexit.register(own.make, "purge")
    own.make("up")
    return own


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _pid(home: str, words: list[str]) -> int:
    """The process that runs one of our commands out of `home`; the last one, as supervisors run shells before."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_text().split("\0")
        except OSError:
            continue
        program = [index for index, word in enumerate(command) if word.endswith(f"/bin/{words[0]}")]
        if program and words[1] in command[program[0] :] and _is_ours(path.parent, home):
            found.append(int(path.parent.name))
    if not found:
        raise RuntimeError(f"{' '.join(words)} does not run in {home}")
    return max(found)


def _is_ours(process: Path, home: str) -> bool:
    return f"GARAGE_HOME={Path(home).parent}" in (process / "environ").read_text(errors="replace").split("\0")
