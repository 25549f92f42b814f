"""The difference between two sets of the registry's documents in words; nothing secret is said. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from netd.core.tunnel_plan import fingerprint
from netd.wire import Allotment, Link, LinkSpec, Table

Documents = tuple[LinkSpec | None, Table | None]
Shape = TypeVar("Shape", bound=msgspec.Struct)
Key = TypeVar("Key", int, str)


def differences(before: Documents, after: Documents) -> list[str]:
    """A line per link, site or setting that is new, gone or changed; versions alone are no difference."""
    return _spec(before[0], after[0]) + _table(before[1], after[1])


def _spec(before: LinkSpec | None, after: LinkSpec | None) -> list[str]:
    own = [] if before is None or after is None else _fields(before, after, ("asn", "bfd_ms", "want_key"))
    old, new = ({link.number: link for link in spec.links} if spec else {} for spec in (before, after))
    return own + _rows(old, new, lambda link: f"link {link.number} to {_peer(link)}", _endpoints)


def _peer(link: Link) -> str:
    return link.peer_site if link.peer_node == link.peer_site else f"{link.peer_node} of {link.peer_site}"


def _endpoints(link: Link) -> str:
    return f" at {', '.join(link.endpoints)}" if link.endpoints else ""


def _table(before: Table | None, after: Table | None) -> list[str]:
    own = [] if before is None or after is None else _fields(before, after, ("domain",))
    old, new = ({site.site: site for site in table.sites} if table else {} for table in (before, after))
    return own + _rows(old, new, lambda site: f"site {site.site}", _allotment)


def _allotment(site: Allotment) -> str:
    return f" with {site.ipv4}, {site.ipv6}, AS {site.asn}"


def _rows(
    old: Mapping[Key, Shape], new: Mapping[Key, Shape], name: Callable[[Shape], str], about: Callable[[Shape], str]
) -> list[str]:
    lines = [f"+ {name(new[key])}{about(new[key])}" for key in sorted(set(new) - set(old))]
    for key in sorted(set(new) & set(old)):
        fields = type(new[key]).__struct_fields__
        lines += [f"~ {name(new[key])}: {text}" for text in _fields(old[key], new[key], fields)]
    return lines + [f"- {name(old[key])}" for key in sorted(set(old) - set(new))]


def _fields(before: msgspec.Struct, after: msgspec.Struct, names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            found.append(f"{name} changes" if name == "psk" else f"{name} {_text(name, old)} → {_text(name, new)}")
    return found


def _text(name: str, value: object) -> str:
    if name == "peer_key":
        return fingerprint(str(value))
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
