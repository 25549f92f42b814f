"""The SSH keys of this computer, and which of them the controller knows."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from garage.client.errors import ClientError, local_error
from garage.client.profiles import folder

if TYPE_CHECKING:
    from garage.client.api import Api

DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
"""What ssh(1) tries by itself, the best first."""
OWN = "id_ed25519"
KEYGEN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A public key of this computer; `path` is its private file where ssh would not find it by itself."""

    line: str
    path: Path | None = None

    @property
    def blob(self) -> str:
        return " ".join(self.line.split()[:2])


@dataclass(frozen=True, slots=True)
class Known:
    """A key that the controller knows; `added` just now, so that running machines have yet to learn it."""

    key: LocalKey
    added: bool
    made: bool = False


def own_key() -> Path:
    """The private key that `garage` makes for who has none."""
    return folder() / OWN


def local_keys() -> list[LocalKey]:
    """What ssh would offer: its default files, then our own file, then the agent's."""
    files = [LocalKey(line) for name in DEFAULTS if (line := _line(Path.home() / ".ssh" / f"{name}.pub"))]
    if line := _line(own_key().with_name(f"{OWN}.pub")):
        files.append(LocalKey(line, own_key()))
    return files + [LocalKey(line) for line in _agent_lines()]


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _agent_lines() -> list[str]:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    try:
        done = subprocess.run(["ssh-add", "-L"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in done.stdout.splitlines() if " " in line] if done.returncode == 0 else []


def ensure(api: Api) -> Known:
    """A key of this computer that the controller knows; registers the best one, or makes one, where there is none."""
    registered = {" ".join(item["public_key"].split()[:2]): item for item in api.get("/keys")["items"]}
    here = local_keys()
    for key in here:
        if key.blob in registered:
            return Known(key, added=False)
    made = not here
    key = here[0] if here else make()
    register(api, key.line, {item["name"] for item in registered.values()})
    return Known(key, added=True, made=made)


def register(api: Api, line: str, taken: set[str]) -> None:
    """Register under this computer's name, with a number where that is taken."""
    base = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:24]
    base = base if base[:1].isalpha() else f"key-{base}".rstrip("-")
    for name in (base, *(f"{base}-{number}" for number in range(2, 30))):
        if name in taken:
            continue
        with contextlib.suppress(_Taken):
            _post(api, name, line)
            return


class _Taken(Exception):
    pass


def _post(api: Api, name: str, line: str) -> None:
    try:
        api.post("/keys", {"name": name, "public_key": line})
    except ClientError as error:
        if error.code == "already_exists":
            raise _Taken from None
        raise


def make() -> LocalKey:
    """Make `~/.config/garage/id_ed25519` without a passphrase."""
    path = own_key()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    comment = f"{getpass.getuser()}@{socket.gethostname()}"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    try:
        subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=KEYGEN_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        hint = "install OpenSSH, or register a key: garage key add"
        raise local_error("tool_failed", "no SSH key could be made: {error}", hint=hint, error=str(error)) from None
    return LocalKey(_line(path.with_name(f"{OWN}.pub")), path)
