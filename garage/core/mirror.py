"""Where the packages of an image come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

PUBLIC = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
OFF = (["no"], ["false"], ["without"], ["off"], ["disable"])
"""What apt takes for "no" (StringToBool in its strutl.cc)."""
FETCHING = re.compile(
    r"^Acquire::(Check-Valid-Until|Check-Date|https?::(Proxy|CaInfo|Verify-Peer|Verify-Host)(::[\w.:-]+)?) ",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A Debian mirror, its security updates ("" where there are none), the keyring that both are checked with, and the apt
    options (`Name "value";`) that this server needs to fetch from it."""

    url: str
    security: str = ""
    keyring: str = KEYRING
    apt_options: tuple[str, ...] = ()


def choose_mirror(environ: Mapping[str, str], os_release: str, sources: Iterable[str], apt_config: str = "") -> Mirror:
    """GARAGE_DEBIAN_MIRROR, else the server's own mirror if the server is a Debian, else the public one.

    `sources` are the texts of the server's sources.list and *.sources files, `apt_config` what `apt-config dump` prints.
    """
    options = fetching_options(apt_config)
    if given := environ.get("GARAGE_DEBIAN_MIRROR", "").rstrip("/"):
        return Mirror(given, _sibling(given), apt_options=options)
    debian = re.search(r'^ID="?debian"?$', os_release, re.MULTILINE)
    urls = [url.rstrip("/") for text in sources for url in _urls(text)] if debian else []
    url = next((url for url in urls if url.endswith("/debian")), PUBLIC)
    security = next((url for url in urls if url.endswith("/debian-security")), _sibling(url))
    return Mirror(url, security, apt_options=options)


def _sibling(url: str) -> str:
    """Where a mirror of the whole archive keeps the security updates."""
    return f"{url}-security" if url.endswith("/debian") else ""


def fetching_options(apt_config: str) -> tuple[str, ...]:
    """What of the server's apt configuration is about reaching a mirror: proxies, certificates, expired indexes of a snapshot.

    A build uses nothing else of it, and the guest gets none of it.
    """
    return tuple(line for line in apt_config.splitlines() if FETCHING.match(line) and not line.endswith(' "";'))


def _urls(text: str) -> Iterator[str]:
    """URLs of binary packages in one-line (`deb URL …`) and deb822 (`URIs: URL …`) form (sources.list(5))."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    for match in re.finditer(r"^deb\s+(?:\[[^]]*\]\s+)?(https?://\S+)", text, re.MULTILINE):
        yield match[1]
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(_fields(stanza))
        if "deb" in fields.get("types", []) and fields.get("enabled", []) not in OFF:
            yield from (word for word in fields.get("uris", []) if word.startswith(("http://", "https://")))


def _fields(stanza: str) -> Iterator[tuple[str, list[str]]]:
    """Name and words of each deb822 field; it goes on in the lines that begin with a blank."""
    for name, value in re.findall(r"^([\w-]+):(.*\n?(?:[ \t].*\n?)*)", stanza, re.MULTILINE):
        yield name.lower(), value.lower().split() if name.lower() == "enabled" else value.split()
