"""`make down` and `make purge`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from garage_setup import libvirt
from garage_setup.checks import is_garage
from garage_setup.command import end_leftovers
from garage_setup.exclusive import exclusive
from garage_setup.files import remove_tree
from garage_setup.place import Place
from garage_setup.problem import SetupError
from garage_setup.services import SERVICES, Supervisor, read_environment, supervisor

PARK_SECONDS = 60
COMMAND_LINK = Path("/usr/local/bin/garage")
QEMU_CERTIFICATES = Path("/etc/pki/qemu")


def down(place: Place) -> None:
    """Shut machines down so that they start again at the next `make up`; stop all of ours; keep all data."""
    if not (place.home / "garage.toml").exists():
        print(f"there is no garage in {place.home}")
        return
    with exclusive(place.setup / "lock", "make up or down"):
        end_leftovers(place.home)
        keeper = supervisor(place)
        keeper.stop("worker")
        _park(place)
        _stop(place, keeper)
    print(f"down; data stays in {place.home}. `make up` starts it again, with the machines that ran.")


def purge(place: Place) -> None:
    """Stop all, remove the domains of this garage and GARAGE_HOME with everything in it."""
    if not place.home.exists():
        print(f"there is nothing in {place.home}")
        return
    _check_is_garage(place)
    _confirm(place)
    with exclusive(place.setup / "lock", "make up or down"):
        end_leftovers(place.home)
        keeper = supervisor(place)
        keeper.stop("worker")
        gone = libvirt.remove_domains(place)
        _stop(place, keeper)
        if COMMAND_LINK.is_symlink() and COMMAND_LINK.readlink().is_relative_to(place.home):
            COMMAND_LINK.unlink()
        _forget_certificates(place)
        remove_tree(place.home)
    print(f"removed {gone} machines and {place.home}; Debian packages and the user “garage” stay")


def _forget_certificates(place: Place) -> None:
    """QEMU's, which the worker puts there when other servers become nodes; somebody else's stay."""
    ours, known = place.home / "keys" / "pki" / "cacert.pem", QEMU_CERTIFICATES / "ca-cert.pem"
    if ours.exists() and known.exists() and ours.read_bytes() == known.read_bytes():
        for name in ("ca-cert", "ca-crl", "server-cert", "server-key", "client-cert", "client-key"):
            (QEMU_CERTIFICATES / f"{name}.pem").unlink(missing_ok=True)


def _stop(place: Place, keeper: Supervisor) -> None:
    """Everything but machines."""
    keeper.stop(*[service.name for service in reversed(SERVICES)])
    if (place.venv / "bin" / "netd").exists() and (place.home / "netd" / "netd.toml").exists():
        _ours(place, "netd", "down", "--config", str(place.home / "netd" / "netd.toml"))
    keeper.remove()
    if libvirt.stop_ours(place):
        print("stopped libvirt, which `make up` had started")


def _park(place: Place) -> None:
    """Where libvirt does not run, no machine does."""
    if not libvirt.answers():
        return
    if libvirt.domains(place, "--state-running", "--state-paused"):
        print("shutting the machines down", flush=True)
    if (place.venv / "bin" / "garage-server").exists():
        _ours(place, "garage-server", "park", "--seconds", str(PARK_SECONDS))


def _ours(place: Place, program: str, *words: str) -> None:
    """One of our commands, with the services' environment. Trouble is told and does not keep the rest from stopping."""
    environ = {**os.environ, **read_environment(place.service_env), "GARAGE_HOME": str(place.home)}
    done = subprocess.run(
        [place.venv / "bin" / program, *words], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"warning: {program} {words[0]}: {done.stderr.strip()[-500:]}", file=sys.stderr)


def _check_is_garage(place: Place) -> None:
    """Never remove a folder that is something else."""
    if len(place.home.parts) < 3 or not is_garage(place):
        raise SetupError(f"{place.home} does not look like a garage", hint="check GARAGE_HOME")


def _confirm(place: Place) -> None:
    machines = len(libvirt.domains(place))
    if os.environ.get("YES") == "1":
        return
    if not sys.stdin.isatty():
        raise SetupError(f"this would remove {place.home} and {machines} machines", hint="say YES=1 make purge")
    if input(f"Remove {place.home} with {machines} machines and all their data? Type “yes”: ").strip() != "yes":
        raise SetupError("nothing removed", hint="type the whole word, or say YES=1 make purge")
