"""A garage of one's own for a while: a folder, a free port, real web and worker processes on simulated nodes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from garage import config as configuration
from garage.app import make_context
from garage.bootstrap import initialise
from garage.client.api import Api
from garage.client.profiles import Profile
from garage.core.consistency import NodeSeen, Row, Trouble, troubles
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.states import State
from garage.db.models import Machine
from garage.errors import N_, GarageError
from garage.services import checking, fleet, images

WORKERS = ("worker1", "worker2")
PATIENCE = 60.0
LOOK = 0.05
AGAIN = 1.0
QUOTA = {"machines": 500, "vcpus": 1000, "memory_mib": 1_000_000, "disk_gib": 10_000}


class Part:
    """A process that is started again as soon as it has died, as a supervisor would."""

    def __init__(self, name: str, argv: list[str], env: Mapping[str, str], log: Path) -> None:
        self.name, self._argv, self._env, self._log = name, argv, env, log
        self._end = threading.Event()
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name=f"keep-{name}", daemon=True)
        self._keeper.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._end.set()
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._keeper.join()  # it may have started one more at this moment, and ends it

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _keep(self) -> None:
        """runit's own rule: one that ended at once is not started again within a second."""
        began = time.monotonic()
        while self._process.wait() is not None and not self._end.wait(max(0.0, began + AGAIN - time.monotonic())):
            began, self._process = time.monotonic(), self._start()
            if self._end.is_set():
                self._process.terminate()


class Trial:
    """`with Trial(...) as trial`; nothing of it is left afterwards."""

    def __init__(self, *, nodes: int = 4, boot: float = 0.3, workers: Sequence[str] = WORKERS) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="garage-burn-in-"))
        self._workers = workers
        self._environ = {**os.environ, "GARAGE_HOME": str(self.home)}
        self._settings()
        initialise(self._environ, admin="admin", listen=None)
        self.ctx = make_context(configuration.load(self._environ))
        images.register(self.ctx, "debian-12", fleet.IMAGE, {"name": "debian-12", "cmdline": "simulated"})
        model = fleet.Model(behaviour=(("boot", str(boot)),), folder=str(self._folder))
        self.nodes = [self.ctx.config.node, *fleet.add_nodes(self.ctx, nodes - 1, model)]
        self.profile = Profile("burn-in", self.ctx.config.url, (self.home / "admin.token").read_text().strip())
        self._playing = threading.Event()
        self._netd = threading.Thread(target=self._play_netd, daemon=True)
        self.parts: dict[str, Part] = {}

    def __enter__(self) -> Self:
        self.parts = {name: self._part(name) for name in ("web", *self._workers)}
        self._netd.start()
        if not self.wait(self.answers):
            error = GarageError(
                "unavailable", N_("the trial's garage does not come up: see {log}"), log=str(self.home / "log")
            )
            self.__exit__(GarageError, error, None)  # Python does not, where entering fails
            raise error
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._playing.set()
        for part in self.parts.values():
            part.close()
        self._netd.join()
        self.ctx.db.close()
        if not isinstance(error, Exception):  # its logs and its database tell why
            shutil.rmtree(self.home)

    @property
    def _folder(self) -> Path:
        return self.home / "nodes"

    def _settings(self) -> None:
        self._folder.mkdir()
        (self.home / "log").mkdir()
        values = {
            "instance": "brn",
            "site_ipv4": fleet.PREFIX4,
            "site_ipv6": "fd00:b:1::/48",
            "listen": f"127.0.0.1:{_free_port()}",
            "second_factor": "optional",
        }
        values["hypervisor"] = fleet.Model(folder=str(self._folder)).uri("node1", 0)
        quota = "".join(f"{key} = {value}\n" for key, value in QUOTA.items())
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        (self.home / "garage.toml").write_text(f"{lines}stop_timeout = 3.0\n\n[quota]\n{quota}")

    def _part(self, name: str) -> Part:
        argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "garage.app", name.rstrip("12")]
        return Part(name, argv, self._environ, self.home / "log" / f"{name}.log")

    def _play_netd(self) -> None:
        while not self._playing.wait(0.2):
            with contextlib.suppress(GarageError):  # the database is busy, or being broken
                fleet.play_netd(self.ctx)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.ctx.config.url}/healthz", timeout=2.0, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def api(self) -> Api:
        return Api(self.profile)

    def rows(self) -> list[Row]:
        return checking.rows(self.ctx)

    def state(self, key: str) -> State:
        with self.ctx.db.read() as session:
            return State(session.get_one(Machine, key).state)

    def at_rest(self) -> bool:
        """Nothing is under way, and every node answers."""
        return all(row.at_rest and row.state is not State.UNREACHABLE for row in self.rows())

    def troubles(self) -> list[Trouble]:
        return [*troubles(self.rows(), self.seen()), *checking.over_quota(self.ctx)]

    def seen(self) -> dict[str, NodeSeen]:
        """Every node as its own file says."""
        return {name: _seen(self._folder / f"{name}.json") for name in self.nodes}

    def spoil(self, node: str, **faults: Any) -> Callable[[], None]:
        """Break a simulated node (fields of `fake_settings.Faults`); returns what mends it."""
        path = self._folder / f"{node}.json.faults"
        path.write_text(json.dumps(faults))
        return path.unlink

    @staticmethod
    def wait(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Until `true()`; False when it was not within `seconds`."""
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() >= end:
                return False
            time.sleep(LOOK)
        return True


def _seen(path: Path) -> NodeSeen:
    """A simulated node as its file has it; one that never had a machine has none."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    return NodeSeen(
        {key: _domain(*said) for key, said in kept.get("domains", {}).items()}, frozenset(kept.get("disks", ()))
    )


def _domain(power: str, reason: str, _started: float, stops_at: float | None, _memory: int) -> Domain:
    """One that was to stop by now has stopped, whether or not somebody looked."""
    stopped = stops_at is not None and time.monotonic() >= stops_at
    return Domain(Power.OFF, Reason.GUEST) if stopped else Domain(Power(power), Reason(reason))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
