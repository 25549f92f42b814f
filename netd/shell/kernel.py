"""The kernel's side: links, addresses, routes, neighbours, sysctls. iproute2 is the gateway: pyroute2 costs 36 MB resident."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netd.core.plan import LAST, Change
from netd.shell.run import run

PROC, SYS = Path("/proc/sys"), Path("/sys/class/net")
LEAST_TRACKED = 65_536
"""What Linux makes its table of connections for, with 1 GiB or more; it is not made before the first rule needs it."""


def ip_json(*words: str) -> list[dict[str, Any]]:
    """What `ip -json …` prints; an absent device is an empty list."""
    text = run(["ip", "-json", *words], check=False).strip()
    return [row for row in json.loads(text) if row] if text else []


def bridge_link(name: str) -> tuple[str, bool]:
    """(MAC, up) of a bridge, ("", False) without one."""
    rows = ip_json("link", "show", "dev", name)
    return (rows[0]["address"], "UP" in rows[0]["flags"]) if rows else ("", False)


def addresses(name: str) -> frozenset[str]:
    rows = ip_json("addr", "show", "dev", name)
    return frozenset(f"{a['local']}/{a['prefixlen']}" for row in rows for a in row.get("addr_info", []))


def host_routes(name: str) -> frozenset[str]:
    """Unicast host routes over a device, both families."""
    rows = ip_json("-4", "route", "show", "dev", name) + ip_json("-6", "route", "show", "dev", name)
    return frozenset(row["dst"] for row in rows if _is_host(row["dst"]))


def _is_host(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_network(text).num_addresses == 1
    return False


def permanent_neighbours(name: str) -> frozenset[tuple[str, str]]:
    rows = ip_json("neigh", "show", "dev", name, "nud", "permanent")
    return frozenset(
        (row["dst"], row["lladdr"])
        for row in rows
        if "lladdr" in row and not ipaddress.ip_address(row["dst"]).is_multicast
    )


def tracked() -> int:
    """So many connections this server can keep in mind at once."""
    with contextlib.suppress(OSError, ValueError):
        return int((PROC / "net/netfilter/nf_conntrack_max").read_text())
    return LEAST_TRACKED


def connected_networks(*, bridge: str, links: str) -> list[str]:
    """The networks that this server stands in: those of every address on every device but our bridge, our links (whose names
    begin with `links`) and loopback."""
    found = []
    for row in ip_json("addr", "show"):
        if row["ifname"] not in (bridge, "lo") and not row["ifname"].startswith(links):
            found += [
                str(ipaddress.ip_interface(f"{a['local']}/{a['prefixlen']}").network) for a in row.get("addr_info", [])
            ]
    return [net for net in found if not ipaddress.ip_network(net).is_link_local]


def own_addresses(*, bridge: str, links: str) -> list[str]:
    """Global addresses by which others may reach this server, native IPv6 first; none of our bridge and links."""
    rows = [row for row in ip_json("addr", "show", "scope", "global") if row.get("ifname", "lo") not in (bridge, "lo")]
    found = [
        address["local"]
        for row in rows
        if not row["ifname"].startswith((links, "gb", "virbr", "docker", "br-"))
        for address in row.get("addr_info", [])
        if "local" in address  # ip prints an empty entry for what it leaves out
        and not (address.get("temporary") or address.get("deprecated") or address.get("tentative"))
    ]
    return sorted(found, key=lambda text: (":" not in text, ipaddress.ip_address(text).is_private, text))


def has_uplink(family: str) -> bool:
    """Whether there is a default route; `family`: "-4" or "-6"."""
    return bool(_default_devices(family))


def uplinks() -> frozenset[str]:
    """Devices with a default route, and network cards that are no bridge's port."""
    cards = {path.parent.name for path in SYS.glob("*/device") if not (path.parent / "master").exists()}
    return frozenset(cards | _default_devices("-4") | _default_devices("-6"))


def default_device() -> str | None:
    """The device of the default route that is taken first; IPv4's before IPv6's."""
    rows = ip_json("-4", "route", "show", "default") + ip_json("-6", "route", "show", "default")
    return next((str(row["dev"]) for row in sorted(rows, key=lambda row: row.get("metric", 0)) if "dev" in row), None)


def networks_of(device: str) -> tuple[str, ...]:
    """That it stands in, without other hosts' addresses of a way of two."""
    nets = {ipaddress.ip_interface(address).network for address in addresses(device)}
    return tuple(sorted(str(net) for net in nets if net.prefixlen < net.max_prefixlen and not net.is_link_local))


def _default_devices(family: str) -> set[str]:
    return {row["dev"] for row in ip_json(family, "route", "show", "default") if "dev" in row}


def unreachable() -> frozenset[str]:
    """Prefixes with an unreachable route of the main table."""
    rows = [row for family in ("-4", "-6") for row in ip_json(family, "route", "show", "type", "unreachable")]
    return frozenset(row["dst"] for row in rows)


def read_sysctls(keys: list[str]) -> dict[str, str]:
    """Values of those that exist, and accept_ra of every device; keys are paths below /proc/sys."""
    found = {}
    devices = [str(path.relative_to(PROC)) for path in (PROC / "net/ipv6/conf").glob("*/accept_ra")]
    for key in (*keys, *devices):
        with contextlib.suppress(OSError):
            found[key] = (PROC / key).read_text().strip()
    return found


def set_sysctl(text: str) -> None:
    key, _, value = text.partition("=")
    with contextlib.suppress(FileNotFoundError):  # a device that has just gone, or a kernel without IPv6
        (PROC / key).write_text(value)


def apply_ip(changes: list[Change]) -> None:
    """All lines in one `ip -batch`; -force does the others after one that fails, and tells."""
    run(["ip", "-force", "-batch", "-"], input="".join(f"{change.text}\n" for change in changes))


def delete_bridge(name: str) -> None:
    run(["ip", "link", "delete", name, "type", "bridge"], check=False)


def delete_unreachable(prefixes: Iterable[str]) -> None:
    for prefix in prefixes:
        family = "-6" if ":" in prefix else "-4"
        run(["ip", family, "route", "del", "unreachable", prefix, "metric", str(LAST)], check=False)
