"""A garage on the first of several lab servers (tests/servers.py): its controller listens where the others reach it.

It runs from this checkout's own environment; what goes to nodes, the kit, is built once for each state of the sources.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from garage_setup.build import Builder
from garage_setup.command import Runner
from garage_setup.kit import NAME, kit_digest, make_kit
from garage_setup.pythons import Environments

from tests.machine.conftest import CACHE, IMAGES, alone
from tests.machine.garage_inside import BIN, ROOT, Garage
from tests.servers import Servers

PORT = 8443


def kit() -> Path:
    """The folder as `make up` leaves it below GARAGE_HOME."""
    from tests.machine.setup_inside import supplies

    wheels, _ = supplies()
    place = CACHE / "kit" / kit_digest()
    with alone():
        if not (place / NAME / "digest").exists():
            shutil.rmtree(place.parent, ignore_errors=True)
            (place / "work").mkdir(parents=True)
            environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
            runner = Runner(place / "log", place, environ)
            tools = Path(sys.prefix)
            builder = Builder(runner, Environments(runner, tools, place / "cache"), tools, place / "work")
            make_kit(builder, place, lambda _: None)
    return place / NAME


class ServersGarage(Garage):
    """Start with `ServersGarage(lab, image store)`; `self.server` is the one that it runs on. `environ`: more of its environment."""

    def __init__(
        self, lab: Servers, first: str, settings: Mapping[str, Any], environ: Mapping[str, str] | None = None
    ) -> None:
        self.lab, self.server = lab, lab[first]
        self.home = self.server.home
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self.env = self.server.environment() | dict(environ or {})
        self._has_images = bool(self.server.run("ls /var/lib/garage/images 2>/dev/null", check=False))
        self.server.run(["useradd", "--system", "--no-create-home", "garage"], check=False)
        self.server.run("install -d -m 711 /var/lib/garage/netd /var/lib/garage/run")
        shutil.copytree(kit(), self.home / NAME)
        self.server.start_libvirt()
        self._initialise(settings | {"listen": f"{self.server.address}:{PORT}"})
        for part in ("netd", "web", "worker"):
            self.start(part)
        self.wait_ready()

    def _initialise(self, settings: Mapping[str, Any]) -> None:
        self.configure(settings)
        self.run([str(BIN / "garage-server"), "init"])
        if self._has_images:
            self.run([str(BIN / "garage-server"), "build-image", str(IMAGES / "debian-12.toml")])

    def _enter(self, argv: Any) -> list[str]:
        return self.server.enter(argv, str(ROOT))

    def wait_ready(self) -> None:
        """All parts; an image only where there is a store of them."""
        deadline = time.monotonic() + 90
        while not self._is_ready():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.3)

    def _is_ready(self) -> bool:
        said = self.garage("-o", "json", "status", check=False)
        parts = json.loads(said)["parts"] if said else {"": False}
        return all(well for part, well in parts.items() if part != "image" or self._has_images)

    def close(self) -> None:
        for process in self._parts.values():
            process.kill()
            process.wait()
