"""Where the packages of an image come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PUBLIC = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Mirror:
    """A Debian mirror's URL and the keyring that its releases are checked with."""

    url: str
    keyring: str = KEYRING


def choose_mirror(environ: Mapping[str, str], os_release: str, sources: Iterable[str]) -> Mirror:
    """GARAGE_DEBIAN_MIRROR, else the server's own mirror if the server is a Debian, else the public one.

    `sources` are the texts of the server's sources.list and *.sources files.
    """
    if given := environ.get("GARAGE_DEBIAN_MIRROR"):
        return Mirror(given.rstrip("/"))
    if re.search(r'^ID="?debian"?$', os_release, re.MULTILINE):
        for text in sources:
            for url in _urls(text):
                if url.rstrip("/").endswith("/debian"):
                    return Mirror(url.rstrip("/"))
    return Mirror(PUBLIC)


def _urls(text: str) -> list[str]:
    """URLs of binary packages in one-line (`deb URL …`) and deb822 (`URIs: URL …`) form (sources.list(5))."""
    found = []
    for line in text.splitlines():
        if match := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(https?://\S+)", line):
            found.append(match[1])
        elif line.lower().startswith("uris:"):
            found += [word for word in line.split()[1:] if word.startswith(("http://", "https://"))]
    return found
