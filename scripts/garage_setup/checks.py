"""What can be refused before any work: a garage's folder, its address, and what the environment says."""

from __future__ import annotations

import re
import socket

from garage_setup.place import CHECKOUT, DEFAULT_LISTEN, Place
from garage_setup.problem import SetupError
from garage_setup.services import supervisor

RECIPE = CHECKOUT / "images" / "debian-12.toml"
HOME = re.compile(r"(/[A-Za-z0-9._+-]+){2,}")
"""Units and scripts take it as it is; and a folder of the root folder is never removed."""
MIRROR = re.compile(r"(https?://|file:///)\S+")
DATABASE = re.compile(r"sqlite:////\S+|(postgresql(\+psycopg)?|postgres)://\S*/\S+")
"""Both may say more (`garage.db.session.parse_url`); which server answers is found out by `garage-server init`."""
OTHERS = frozenset({"lost+found"})
"""What a folder of its own may hold, where it is a disk of its own."""


def check(place: Place) -> None:
    """Raises SetupError."""
    if not RECIPE.exists():
        raise SetupError(f"{RECIPE} is missing", hint="is the checkout complete? git status")
    _check_home(place)
    _check_environment(place)
    _check_port(place)


def is_garage(place: Place) -> bool:
    """Whether set-up has ever begun there; only such a folder may be removed."""
    return (place.home / "garage.toml").exists() or (place.setup / "lock").exists()


def _check_home(place: Place) -> None:
    home = place.home
    if not HOME.fullmatch(str(home)):
        hint = "letters, digits and . _ + - only, and not directly below /: GARAGE_HOME=/srv/garage make up"
        raise SetupError(f"{home} cannot be a garage's folder", hint=hint)
    if home.exists() and not home.is_dir():
        raise SetupError(f"{home} is no folder", hint="GARAGE_HOME=/srv/garage make up")
    if home.exists() and not is_garage(place) and {path.name for path in home.iterdir()} - OTHERS:
        hint = "a garage needs a folder of its own, which `make purge` may remove: GARAGE_HOME=/srv/garage make up"
        raise SetupError(f"{home} holds other files", hint=hint)


def _check_environment(place: Place) -> None:
    """Never shows the database's address: a password may be in it."""
    if (mirror := place.environ.get("GARAGE_DEBIAN_MIRROR", "")) and not MIRROR.fullmatch(mirror):
        raise SetupError(
            f"GARAGE_DEBIAN_MIRROR={mirror} is no mirror's address", hint="e.g. http://deb.debian.org/debian"
        )
    if (url := place.environ.get("GARAGE_DATABASE_URL", "")) and not DATABASE.fullmatch(url):
        hint = "unset it, or give sqlite:////PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
        raise SetupError("GARAGE_DATABASE_URL names a database that cannot be used", hint=hint)


def _check_port(place: Place) -> None:
    """Is the address ours to listen on?"""
    listen = place.listen
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SetupError(f"GARAGE_LISTEN={listen} is not ADDRESS:PORT", hint="e.g. 127.0.0.1:8080")
    if listen == str(place.settings().get("listen") or DEFAULT_LISTEN) and "web" in supervisor(place).running():
        return
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise SetupError(
                f"{listen} cannot be listened on: {error.strerror}", hint="GARAGE_LISTEN=127.0.0.1:18080 make up"
            ) from None
