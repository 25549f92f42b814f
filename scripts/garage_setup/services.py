"""Our three processes and what keeps them up: systemd where it runs, one runit `runsvdir` per garage elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from garage_setup.digests import of_files
from garage_setup.files import write
from garage_setup.place import Place
from garage_setup.problem import SetupError


@dataclass(frozen=True, slots=True)
class Service:
    """A process of ours: its name, its user, its command below the environment's `bin/`."""

    name: str
    user: str
    command: str


SERVICES = (
    Service("netd", "root", "netd run --config @HOME@/netd/netd.toml"),
    Service("web", "garage", "garage-server web"),
    Service("worker", "root", "garage-server worker"),
)
"""In the order in which they start; they stop the other way round."""
PASSED = ("GARAGE_DATABASE_URL",)
"""Variables of `make up` that its services keep; the address to listen on goes into garage.toml."""


class Supervisor(Protocol):
    """Keeps services up, also after a crash."""

    def files(self) -> dict[Path, str]:
        """What `install` writes: path → text."""

    def install(self) -> None:
        """Make its files; starts nothing."""

    def running(self) -> dict[str, int]:
        """service → process id, of those that run."""

    def start(self, *names: str) -> None:
        """Start what does not run; returns without waiting for it to answer."""

    def stop(self, *names: str) -> None:
        """Stop, and return when the processes are gone."""

    def remove(self) -> None:
        """Stop supervising; all services must be stopped."""


def supervisor(place: Place, services: tuple[Service, ...] = SERVICES) -> Supervisor:
    """The one that fits this server, of a controller's server or a node's."""
    from garage_setup.runit import Runit
    from garage_setup.systemd import Systemd, is_systemd

    return Systemd(place, services) if is_systemd() else Runit(place, services)


def service_environment(place: Place) -> bool:
    """Write service.env: GARAGE_HOME, and what `make up` was told that is not in garage.toml. True if it changed."""
    values = {
        **_kept(place.service_env),
        "GARAGE_HOME": str(place.home),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    values |= {key: place.environ[key] for key in PASSED if place.environ.get(key)}
    return write(
        place.service_env, "".join(f"{key}={_quote(key, value)}\n" for key, value in sorted(values.items())), 0o600
    )


def read_environment(path: Path) -> dict[str, str]:
    """service.env as a dictionary; empty if there is none."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}


def _kept(path: Path) -> Mapping[str, str]:
    return {key: value for key, value in read_environment(path).items() if key in PASSED}


def _quote(key: str, value: str) -> str:
    """In single quotes, which systemd and a shell read alike."""
    if "'" in value or "\n" in value or "\\" in value:
        text = f"{key} must not hold quotes, backslashes or line ends"
        raise SetupError(text, hint="in an address they are written %27, %5C and %0A")
    return f"'{value}'"


def wanted_state(place: Place, keeper: Supervisor) -> str:
    """What the running processes depend on: program, settings, environment, and the files of the supervisor."""
    netd = (place.home / "netd" / name for name in ("netd.toml", "token", "controller.crt"))
    paths = (place.home / "garage.toml", place.service_env, *netd)
    return of_files([path for path in paths if path.exists()], str(place.venv.resolve()), *keeper.files().values())
