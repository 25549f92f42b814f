"""Where a node's SSH answers, and its host key: texts that come from people and servers, checked before any program sees them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from dataclasses import dataclass

from garage.errors import N_, GarageError

DEFAULT_PORT = 22
LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*\.?\Z")
"""As in DNS (RFC 1123, and underscores, which some use). No hyphen begins one, so that none is taken for an option."""
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""The best first. DSA is none any more."""
MAX_KEY = 800
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
"""Of a terminal, and what turns the direction of writing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server's SSH; `host` is a name or an address without brackets."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        """As `node.address` has it."""
        host = f"[{self.host}]" if ":" in self.host and self.port != DEFAULT_PORT else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


def parse_target(text: str) -> Target:
    """`[root@]HOST[:PORT]`, HOST a name, an IPv4 or an IPv6 address (in brackets before a port). Raises `invalid_field`."""
    user, at, place = text.rpartition("@")
    if at and user != "root":
        raise _invalid(N_("a node is reached as root"), N_("write root@HOST"))
    host, port = _split(place)
    if not (_is_address(host) or (HOST.match(host) and not _is_number(host))):
        raise _invalid(
            N_("this is no name or address of a server"), N_("e.g. root@node2.example.org or root@192.0.2.7")
        )
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise _invalid(N_("a port is a number from 1 to 65535"), N_("write root@HOST:PORT"))
    return Target(host, int(port))


def _split(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, end, port = place[1:].partition("]")
        whole = _is_address(host) and end and (not port or port.startswith(":"))
        return (host, port[1:] or str(DEFAULT_PORT)) if whole else ("", "0")
    if place.count(":") == 1:
        host, _, port = place.partition(":")
        return host, port
    return place, str(DEFAULT_PORT)


def _is_address(host: str) -> bool:
    """Without a zone: %eth0 is another one at each server."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not (getattr(address, "scope_id", None) or address.is_multicast or address.is_unspecified)


def _is_number(host: str) -> bool:
    """What resolvers take for an IPv4 address in another writing: 0x7f.1, 2130706433."""
    return all(re.fullmatch(r"\d+|0[xX][0-9a-fA-F]*", label) for label in host.rstrip(".").split("."))


def _invalid(text: str, hint: str) -> GarageError:
    return GarageError("invalid_field", text, hint=hint, pointer="/target")


def parse_host_key(text: str) -> str:
    """ "TYPE BASE64" of a host key, checked to be what its type says. Raises `invalid_field`."""
    words = text.split()
    kind, data = (words[0], words[1]) if len(words) >= 2 else ("", "")
    try:
        blob = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    if kind not in KEY_TYPES or len(text) > MAX_KEY or blob[4 : 4 + int.from_bytes(blob[:4], "big")] != kind.encode():
        raise GarageError("invalid_field", N_("this is no SSH host key"), hint=N_("TYPE BASE64"), pointer="/host_key")
    return f"{kind} {data}"


def key_fingerprint(key: str) -> str:
    """`SHA256:…` as ssh-keygen -l prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def plain(text: str, limit: int = 300) -> str:
    """What another server said, fit to be shown: no control characters, the end of it when it is long."""
    said = CONTROL.sub(" ", text).strip()
    return said if len(said) <= limit else "…" + said[-limit:]
