"""dnsmasq and chronyd: started in sessions of their own, so that they survive netd, and adopted again by pid file and command line."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from netd.errors import NetdError

NAMES = ("dns", "dhcp", "ntp")
"""Each has NAME.conf, NAME.pid and NAME.log in the state folder."""
STOP_SECONDS = 3.0
PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def pid(name: str, state: Path) -> int | None:
    """The pid of our `name`, None when it does not run: the pid file's process must have our configuration in its command line."""
    try:
        number = int((state / f"{name}.pid").read_text())
        command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return number if any(str(state / f"{name}.conf").encode() in word for word in command) else None


def running(state: Path) -> frozenset[str]:
    return frozenset(name for name in NAMES if pid(name, state))


def have_chrony() -> bool:
    return shutil.which("chronyd", path=PATH) is not None


def start(name: str, state: Path) -> None:
    """Stop ours if it runs, then start it; returns when it has written its pid file."""
    stop(name, state)
    with open(state / f"{name}.log", "ab") as log:
        subprocess.Popen(
            _argv(name, state), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=_env()
        )
    deadline = time.monotonic() + 5
    while pid(name, state) is None:
        if time.monotonic() > deadline:
            raise NetdError("tool", f"{name} does not start", hint=f"look at {state / f'{name}.log'}")
        time.sleep(0.003)


def _argv(name: str, state: Path) -> list[str]:
    config = state / f"{name}.conf"
    if name == "ntp":
        return ["chronyd", "-n", "-x", "-f", str(config)]  # as its package's own user
    return ["dnsmasq", "--keep-in-foreground", f"--conf-file={config}"]


def reload(name: str, state: Path) -> None:
    """Let it read its files again."""
    if number := pid(name, state):
        os.kill(number, signal.SIGHUP)


def stop(name: str, state: Path) -> None:
    """End ours; nobody else's process can match."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        while (process := pid(name, state)) is not None and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
            _reap()
            time.sleep(0.003)
    (state / f"{name}.pid").unlink(missing_ok=True)


def _reap() -> None:
    """Collect children of ours that have ended, so that they do not look alive."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _env() -> dict[str, str]:
    return {"PATH": PATH, "LC_ALL": "C"}
