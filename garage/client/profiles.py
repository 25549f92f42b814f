"""Which controller, and as whom: `~/.config/garage/config.toml`, the environment, or the server's own files."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from garage.client.errors import local_error

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  (an address to be replaced)


@dataclass(frozen=True, slots=True)
class Profile:
    """One controller. `certificate` is the PEM that alone is trusted; "" trusts the system's authorities."""

    name: str
    url: str
    token: str = ""
    user: str = ""
    token_name: str = ""
    certificate: str = ""

    @property
    def loopback(self) -> bool:
        return urlsplit(self.url).hostname in LOOPBACK


def folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CONFIG_HOME/garage`, by default `~/.config/garage` (XDG Base Directory Specification)."""
    base = environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "garage"


def check_url(text: str) -> str:
    """`text` as a base URL without a path; `https` where no scheme is given. Passwords travel in clear only on this computer."""
    url = urlsplit(text if "://" in text else f"https://{text}")
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.path.strip("/"):
        raise local_error(
            "invalid_field", "“{url}” is not a controller's address", hint="e.g. https://garage.example:8443", url=text
        )
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise local_error("forbidden", "{url} is not encrypted", hint="use https://", url=text)
    return f"{url.scheme}://{url.netloc}"


def read_all(path: Path) -> tuple[str, dict[str, Profile]]:
    """(the current profile's name, all profiles by name)."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return "", {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise local_error("config", "{path} cannot be read: {error}", path=str(path), error=str(error)) from None
    return str(data.get("current", "")), {
        name: _profile(name, value) for name, value in data.get("profiles", {}).items()
    }


def _profile(name: str, value: dict[str, Any]) -> Profile:
    return Profile(name, **{key: str(value.get(key, "")) for key in _FIELDS})


_FIELDS = ("url", "token", "user", "token_name", "certificate")


def write_all(path: Path, current: str, profiles: Mapping[str, Profile]) -> None:
    """Replace the file as a whole; nobody else can read it."""
    lines = [f"current = {_quoted(current)}"]
    for name, profile in profiles.items():
        lines += ["", f"[profiles.{_quoted(name)}]"]
        lines += [f"{key} = {_quoted(getattr(profile, key))}" for key in _FIELDS if getattr(profile, key)]
    write_private(path, "\n".join(lines) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write atomically with mode 0600, in a folder of mode 0700 if it has to be made."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def find(wanted: str | None, environ: Mapping[str, str] = os.environ) -> Profile:
    """The profile asked for, of the environment, the current one, or the server's own; raises `not_signed_in` without any."""
    current, saved = read_all(folder(environ) / "config.toml")
    if wanted:
        return _named(wanted, saved)
    if environ.get("GARAGE_URL"):
        return _of_environment(environ, saved)
    profile = saved.get(current) or _of_server(environ)
    if profile is None:
        hint = "garage login https://your-controller:8443"
        raise local_error("not_signed_in", "this computer knows no controller yet", hint=hint)
    return with_environment(profile, environ)


def _named(wanted: str, saved: Mapping[str, Profile]) -> Profile:
    if wanted in saved:
        return saved[wanted]
    raise local_error(
        "not_found", "there is no profile {name}", hint="there are: {have}", name=wanted, have=", ".join(saved) or "-"
    )


def _of_environment(environ: Mapping[str, str], saved: Mapping[str, Profile]) -> Profile:
    url = check_url(environ["GARAGE_URL"])
    known = next((profile for profile in saved.values() if profile.url == url), Profile(urlsplit(url).netloc, url))
    return with_environment(known, environ)


def with_environment(profile: Profile, environ: Mapping[str, str]) -> Profile:
    """GARAGE_TOKEN, GARAGE_TOKEN_FILE (a token), GARAGE_CA (a PEM file) and GARAGE_FINGERPRINT override what was saved."""
    token = environ.get("GARAGE_TOKEN", "")
    if not token and (path := environ.get("GARAGE_TOKEN_FILE")):
        token = _read(Path(path)).strip()
    if ca := environ.get("GARAGE_CA"):
        profile = replace(profile, certificate=_read(Path(ca)))
    if (wanted := environ.get("GARAGE_FINGERPRINT")) and profile.url.startswith("https"):
        profile = replace(profile, certificate=_with_fingerprint(profile.url, wanted))
    return replace(profile, token=token) if token else profile


def _with_fingerprint(url: str, wanted: str) -> str:
    """The certificate that the server shows, if it has this fingerprint; raises `forbidden` otherwise."""
    from garage.client import tls

    shown, _trusted = tls.offered(url)
    if tls.same_fingerprint(wanted, shown):
        return shown
    raise tls.other_fingerprint(shown)


def _of_server(environ: Mapping[str, str]) -> Profile | None:
    """On the server itself its admin needs no login: the token that set-up left, the address of garage.toml."""
    home = Path(environ.get("GARAGE_HOME", "/var/lib/garage"))
    try:
        token = (home / "admin.token").read_text().strip()
        listen = str(tomllib.loads((home / "garage.toml").read_text()).get("listen", "127.0.0.1:8080"))
    except (OSError, tomllib.TOMLDecodeError):
        return None
    host, _, port = environ.get("GARAGE_LISTEN", listen).rpartition(":")
    if host.strip("[]") in LOOPBACK:
        return Profile("local", f"http://{host}:{port}", token)
    return Profile(
        "local", f"https://{WILDCARDS.get(host, host)}:{port}", token, certificate=_read(home / "keys" / "tls.crt")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        reason = error.strerror or ""
        raise local_error("config", "{path} cannot be read: {error}", path=str(path), error=reason) from None
