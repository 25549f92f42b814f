"""`python -m tests.fleet_worker HOME DATABASE-URL JOURNAL`: a worker of a simulated fleet, as a process that may be stopped and killed.

Before each call that changes something on a node it writes a line into JOURNAL: monotonic time, pid, call, machine.
"""

from __future__ import annotations

import base64
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from garage.config import Config
from garage.core.types import NodeAccess
from garage.db.session import Database
from garage.services.context import Context
from garage.services.fleet import PREFIX4
from garage.services.vault import Vault
from garage.worker.backends import open_backend
from garage.worker.main import run
from garage.worker.shop import Backend

EFFECTS = {"define", "start", "resume", "suspend", "shutdown", "destroy", "undefine", "write_file", "execute",
           "forget_console", "make_disk", "write_seed", "copy_kernel", "remove"}  # fmt: skip


class Journal:
    """Something of a node's outside world, whose calls are written down when they begin."""

    def __init__(self, inner: object, path: Path) -> None:
        self._inner, self._path = inner, path

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._noting(name, found) if name in EFFECTS else found

    def _noting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **named: Any) -> Any:
            what = getattr(given[0], "machine_id", given[0])
            with self._path.open("a") as file:
                file.write(f"{time.monotonic():.3f} {os.getpid()} {name} {what}\n")
            return call(*given, **named)

        return noted


def fleet_context(home: Path, url: str) -> Context:
    config = Config(home=home, instance="tfl", hypervisor="fake://", database_url=url, site_ipv4=PREFIX4, site_ipv6="fd31:4:5::/48",
                    node="away", ram_reserve_mib=0, disk_reserve_mib=0)  # fmt: skip
    vault, key = Vault(base64.urlsafe_b64encode(bytes(32))), Ed25519PrivateKey.generate()
    return Context(Database(config.sqlalchemy_url), config, time.time, random.SystemRandom(), vault, key)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(message)s")
    home, url, journal = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])

    def journalled(access: NodeAccess, config: Config, notify: Callable[[], None]) -> Backend:
        made = open_backend(access, config, notify)
        hypervisor, disks = Journal(made.hypervisor, journal), Journal(made.disks, journal)
        return Backend(cast(Any, hypervisor), cast(Any, disks), made.prober, made.network_there)

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ctx = fleet_context(home, url)
    run(ctx, ctx.config, stop, open_backend=journalled)


if __name__ == "__main__":
    main()
