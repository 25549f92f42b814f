"""Supervision by systemd: one unit per process, enabled, so that they start again with the server."""

from __future__ import annotations

import subprocess
from pathlib import Path

from garage_setup.files import write
from garage_setup.place import SCRIPTS, Place
from garage_setup.problem import SetupError
from garage_setup.services import SERVICES, Service

UNITS = Path("/etc/systemd/system")


def is_systemd() -> bool:
    """As sd_booted(3) finds out."""
    return Path("/run/systemd/system").is_dir()


def unit_text(name: str, home: Path, instance: str) -> str:
    """The unit of a service, from its template in `scripts/units/`."""
    template = (SCRIPTS / "units" / f"{name}.service").read_text()
    return template.replace("@HOME@", str(home)).replace("@INSTANCE@", instance)


class Systemd:
    """The Supervisor of servers with systemd; units are called garage-INSTANCE-SERVICE."""

    def __init__(self, place: Place, services: tuple[Service, ...] = SERVICES) -> None:
        self._place, self._services = place, services

    def _unit(self, name: str) -> str:
        return f"garage-{self._place.instance}-{name}.service"

    def files(self) -> dict[Path, str]:
        names = [service.name for service in self._services]
        return {UNITS / self._unit(name): unit_text(name, self._place.home, self._place.instance) for name in names}

    def install(self) -> None:
        changed = [write(path, text) for path, text in self.files().items()]
        if any(changed):
            self._systemctl("daemon-reload")

    def running(self) -> dict[str, int]:
        names = [service.name for service in self._services]
        shown = self._systemctl("show", "--property=MainPID", "--value", *map(self._unit, names))
        return {name: int(pid) for name, pid in zip(names, shown.split(), strict=True) if int(pid)}

    def start(self, *names: str) -> None:
        self._systemctl("enable", "--quiet", "--now", *map(self._unit, names))

    def stop(self, *names: str) -> None:
        for name in names:
            if (UNITS / self._unit(name)).exists():
                self._systemctl("stop", self._unit(name))

    def remove(self) -> None:
        units = [self._unit(service.name) for service in self._services if (UNITS / self._unit(service.name)).exists()]
        if units:
            self._systemctl("disable", "--quiet", *units)
        for unit in units:
            (UNITS / unit).unlink()
        self._systemctl("daemon-reload")

    def _systemctl(self, *words: str) -> str:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(
                f"systemctl {' '.join(words)} failed",
                tail=done.stderr,
                hint=f"journalctl -u 'garage-{self._place.instance}-*'",
            )
        return done.stdout
