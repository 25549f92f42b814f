"""`python -m tests.worker_process HOME INSTANCE`: the worker of a test's realm, as a process that may be killed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from garage.worker.main import run
from tests.realms import open_context


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    home, instance = Path(sys.argv[1]), sys.argv[2]
    note = home / f"worker.{os.getpid()}.pid"
    note.touch()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ctx = open_context(home, instance)
    run(ctx, ctx.config, stop)
    note.unlink()


if __name__ == "__main__":
    main()
