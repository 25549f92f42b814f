"""Controllers of simulated fleets as real processes, in a folder of their own: for what has to be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from garage import config as configuration
from garage.app import make_context
from garage.bootstrap import initialise
from garage.services import crew, fleet
from garage.services.context import Context

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = """instance = "bch"
site_ipv4 = "{prefix}"
site_ipv6 = "fd31:4:5::/48"
hypervisor = "fake://{home}/nodes/own.json?vcpus=64&memory_mib=131072&disk_gib=2000"
pool_ram_share = 0.0
ram_reserve_mib = 0
disk_reserve_mib = 0
"""
PATIENCE = 60.0


@dataclass
class Site:
    """One database, and as many homes as there are servers in the simulation."""

    folder: Path
    listen: str
    ctx: Context
    environ: Mapping[str, str]
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, what: str, home: str = "one") -> subprocess.Popen[bytes]:
        """`garage-server WHAT`. Workers with another home are on another server, as far as they can see."""
        there = self.folder / home
        if not there.exists():
            shutil.copytree(self.folder / "one", there, ignore=shutil.ignore_patterns("db", "run", "nodes"))
        log = self.stack.enter_context((self.folder / f"{what}.{home}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", "garage.app", what], cwd=ROOT, env={**self.environ, "GARAGE_HOME": str(there)}, stderr=log
        )  # fmt: skip
        self.stack.callback(kill, process)
        return process

    def owners(self) -> dict[str, int]:
        """Node → pid of the worker that owns it."""
        marks = crew.marks(self.ctx)
        return {name: int(owner.split("/")[2]) for name, (owner, _, _) in marks.items() if owner}

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.listen}/readyz", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def until(true: Callable[[], bool], seconds: float = PATIENCE, look: float = 0.01) -> None:
    """Asks every `look` seconds."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError("it takes too long")
        time.sleep(look)


@contextmanager
def site() -> Iterator[Site]:
    """Empty but for its own node, which is simulated; netd is played for all nodes."""
    with tempfile.TemporaryDirectory(prefix="garage-bench-") as name, socket.create_server(("127.0.0.1", 0)) as probe:
        folder, listen = Path(name), f"127.0.0.1:{probe.getsockname()[1]}"
        probe.close()
        home = folder / "one"
        home.mkdir(mode=0o755)
        (home / "garage.toml").write_text(SETTINGS.format(prefix=fleet.PREFIX4, home=home))
        environ = {**os.environ, "GARAGE_HOME": str(home), "GARAGE_DATABASE_URL": f"sqlite:///{home}/db/garage.db"}
        initialise(environ, admin="admin", listen=listen)
        ctx = make_context(configuration.load(environ))
        made = Site(folder, listen, ctx, environ)
        with made.stack, _netd(ctx):
            yield made
        ctx.db.close()


@contextmanager
def _netd(ctx: Context) -> Iterator[None]:
    """Five times a second every node's netd says that it has applied what there is; a real one is woken within 20 ms."""
    stop = threading.Event()

    def play() -> None:
        while not stop.wait(0.2):
            fleet.play_netd(ctx)

    thread = threading.Thread(target=play, daemon=True)
    fleet.play_netd(ctx)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
