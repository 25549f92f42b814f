"""Where keys of WebAuthn hold: the name that browsers bind them to, or why there is none."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = "localhost"


@dataclass(frozen=True, slots=True)
class Place:
    """A relying party (WebAuthn level 2, section 5.1.2): `id` is a host's name, `origin` what a page's address begins with."""

    id: str
    origin: str


def place(url: str) -> Place | str:
    """Of a garage that people reach by `url`, or why browsers refuse it there: "address" (an IP address is no relying party), "plain"
    (no TLS). A server that listens on its own loopback address alone is `localhost` to browsers, too."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    if _address(host):
        loopback = parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
        return Place(LOOPBACK, f"http://{LOOPBACK}{port}") if loopback else "address"
    if parts.scheme == "https" or host == LOOPBACK:
        default = {"https": ":443", "http": ":80"}[parts.scheme]
        return Place(host, f"{parts.scheme}://{host}{'' if port == default else port}")
    return "plain"


def _address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
