"""Where things are: the checkout, GARAGE_HOME and what lies in it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from garage_setup.problem import SetupError

DEFAULT_HOME = "/var/lib/garage"
DEFAULT_LISTEN = "127.0.0.1:8080"
CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "scripts"


@dataclass(frozen=True, slots=True)
class Place:
    """One garage on this server and the checkout that it is set up from."""

    home: Path
    environ: Mapping[str, str]

    @property
    def venv(self) -> Path:
        """A link to the environment in use, below `venvs`."""
        return self.home / "venv"

    @property
    def setup(self) -> Path:
        """What only set-up needs: stamps, lock, tools, caches. May be removed at any time."""
        return self.home / "setup"

    @property
    def log(self) -> Path:
        return self.home / "log" / "setup.log"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def service_env(self) -> Path:
        """The environment of the services, for systemd and for a shell."""
        return self.home / "service.env"

    @property
    def is_default(self) -> bool:
        return str(self.home) == DEFAULT_HOME

    def settings(self) -> dict[str, object]:
        """garage.toml as it stands; empty before the first `make up`."""
        return _read(self.home / "garage.toml")

    @property
    def listen(self) -> str:
        """ADDRESS:PORT of the web process, as asked for now or settled before."""
        return str(self.environ.get("GARAGE_LISTEN") or self.settings().get("listen") or DEFAULT_LISTEN)

    @property
    def instance(self) -> str:
        """Of the controller's server by garage.toml, of a node by what its controller gave netd."""
        return str((self.settings() or _read(self.home / "netd" / "netd.toml")).get("instance", ""))


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        text = f"{path} is not valid TOML: {error}"
        raise SetupError(text, hint="mend that line, then run it again") from None


def find(environ: Mapping[str, str] = os.environ) -> Place:
    """The garage that GARAGE_HOME names."""
    home = Path(os.path.abspath(environ.get("GARAGE_HOME") or DEFAULT_HOME))
    return Place(home, environ)
