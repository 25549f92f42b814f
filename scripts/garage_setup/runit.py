"""Supervision without systemd: Debian's runit, one `runsvdir` per garage, logs by svlogd."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from garage_setup.files import write
from garage_setup.place import Place
from garage_setup.problem import SetupError
from garage_setup.services import SERVICES, Service

STOP_SECONDS = 15
RUN = """#!/bin/sh
# written by make up
exec 2>&1
set -a
. {home}/service.env
set +a
cd /
exec chpst -u {user} {home}/venv/bin/{command}
"""
LOG = """#!/bin/sh
# written by make up
exec svlogd -tt {home}/log/{name}
"""
SV_ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Runit:
    """The Supervisor of servers without systemd."""

    def __init__(self, place: Place, services: tuple[Service, ...] = SERVICES) -> None:
        self._place, self._services = place, services
        self._folder = place.home / "sv"
        self._pid_file = place.run / "runsvdir.pid"

    def files(self) -> dict[Path, str]:
        return {path: text for service in self._services for path, text in self._files(service).items()}

    def _files(self, service: Service) -> dict[Path, str]:
        home, folder = str(self._place.home), self._folder / service.name
        command = service.command.replace("@HOME@", home)
        run = RUN.format(home=home, user=service.user, command=command)
        return {folder / "log" / "run": LOG.format(home=home, name=service.name), folder / "run": run}

    def install(self) -> None:
        for service in self._services:
            (self._place.home / "log" / service.name).mkdir(parents=True, exist_ok=True)
        for path, text in self.files().items():
            write(path, text, 0o755)

    def running(self) -> dict[str, int]:
        return {service.name: pid for service in self._services if (pid := self._pid(service.name))}

    def _pid(self, name: str) -> int:
        """runsv writes it; a number that is no living child of the service's command does not count."""
        mark = b"GARAGE_HOME=" + os.fsencode(self._place.home)
        try:
            pid = int((self._folder / name / "supervise" / "pid").read_text())
            return pid if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") else 0
        except (OSError, ValueError):
            return 0

    def start(self, *names: str) -> None:
        self._runsvdir()
        for name in names:
            self._wait_for_runsv(name)
            self._sv("up", name)

    def stop(self, *names: str) -> None:
        for name in [name for name in names if self._has_runsv(name)]:
            self._sv("-w", str(STOP_SECONDS), "force-stop", name)

    def remove(self) -> None:
        pid = self._runsvdir_pid()
        if pid:
            os.kill(pid, signal.SIGHUP)  # runsvdir then ends its runsv, which end svlogd
        for service in self._services:
            if not pid and self._has_runsv(service.name):
                self._sv("exit", service.name)
        self._wait(lambda: not any(self._has_runsv(service.name) for service in self._services), "runit does not end")
        self._pid_file.unlink(missing_ok=True)

    def _runsvdir(self) -> None:
        """Start it unless it runs; it writes its own pid, so that none is unknown."""
        if self._runsvdir_pid():
            return
        script = 'echo $$ >"$0"; exec runsvdir -P "$1"'
        subprocess.Popen(
            ["/bin/sh", "-c", script, str(self._pid_file), str(self._folder)],
            env=SV_ENVIRON, cwd="/", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _runsvdir_pid(self) -> int:
        try:
            pid = int(self._pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return 0
        return pid if b"runsvdir" in words and os.fsencode(self._folder) in words else 0

    def _has_runsv(self, name: str) -> bool:
        """A runsv reads the control pipe as long as it lives."""
        try:
            os.close(os.open(self._folder / name / "supervise" / "ok", os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def _wait_for_runsv(self, name: str) -> None:
        self._wait(lambda: self._has_runsv(name), f"runit does not take up {name}")

    def _wait(self, condition: Callable[[], bool], trouble: str) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise SetupError(trouble, hint=f"sv status {self._folder}/*")
            time.sleep(0.05)

    def _sv(self, *words: str) -> None:
        subprocess.run(
            ["sv", *words[:-1], str(self._folder / words[-1])],
            env=SV_ENVIRON,
            cwd="/",
            capture_output=True,
            check=False,
        )
