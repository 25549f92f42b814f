"""What a spec's content must hold before it is applied: a signed spec may still be wrong."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from netd.core.floor import Floor
from netd.wire import MachineName, MachineNet, NodeSpec, SpecError

MACHINE_RANGE = ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")


def check(spec: NodeSpec, *, instance: str, in_force: int, floor: Floor) -> None:
    """Raises SpecError: "version" for an old one, "content" for a spec that contradicts itself, this node or its floor."""
    if spec.version < in_force:
        raise SpecError("version", f"version {spec.version} is older than {in_force}, which is in force")
    if spec.instance != instance:
        raise SpecError("content", f"the spec is for instance {spec.instance}, this is {instance}")
    if spec.bridge.name != f"gb{instance}":
        raise SpecError("content", f"the bridge {spec.bridge.name} is not of instance {instance}")
    prefixes = _prefixes(spec)
    _check_floor(prefixes, floor)
    _check_machines(spec)
    _check_names(spec, prefixes)


def _prefixes(spec: NodeSpec) -> tuple[ipaddress.IPv4Network, ipaddress.IPv6Network]:
    bridge = spec.bridge
    try:
        site4, site6 = ipaddress.IPv4Network(bridge.site_ipv4), ipaddress.IPv6Network(bridge.site_ipv6)
        inside = ipaddress.IPv4Address(bridge.ipv4) in site4 and ipaddress.IPv6Address(bridge.ipv6) in site6
    except ValueError as error:
        raise SpecError("content", str(error)) from None
    if not inside or not site4.subnet_of(MACHINE_RANGE[0]) or not site6.subnet_of(MACHINE_RANGE[1]):  # type: ignore[arg-type]
        raise SpecError(
            "content",
            f"{bridge.site_ipv4} and {bridge.site_ipv6} are no site's prefixes, or the gateway is outside of them",
        )
    return site4, site6


def _check_floor(prefixes: tuple[ipaddress.IPv4Network, ipaddress.IPv6Network], floor: Floor) -> None:
    for text in floor.networks:
        network = ipaddress.ip_network(text)
        if network.overlaps(prefixes[0] if network.version == 4 else prefixes[1]):
            raise SpecError("content", f"the site's prefix overlaps {text}, a network of this server or its office")


def _check_machines(spec: NodeSpec) -> None:
    machines = spec.machines
    for what, values in (
        ("MAC", [m.mac for m in machines]),
        ("tap", [m.tap for m in machines]),
        ("id", [m.id for m in machines]),
    ):
        _unique(what, values)
    for machine in machines:
        if not machine.tap.startswith(f"gt{spec.instance}"):
            raise SpecError("content", f"tap {machine.tap} is not of instance {spec.instance}")


def _check_names(spec: NodeSpec, prefixes: tuple[ipaddress.IPv4Network, ipaddress.IPv6Network]) -> None:
    """Of all machines that DNS answers for, those of other nodes included."""
    named: list[MachineNet | MachineName] = [*spec.machines, *spec.elsewhere]
    _unique("name", [f"{m.name}.{m.project}" for m in named])
    for machine in named:
        try:
            inside = (
                ipaddress.IPv4Address(machine.ipv4) in prefixes[0]
                and ipaddress.IPv6Address(machine.ipv6) in prefixes[1]
            )
        except ValueError as error:
            raise SpecError("content", str(error)) from None
        if not inside:
            raise SpecError("content", f"{machine.name} has an address outside of the site's prefix")
    _unique("address", [str(ipaddress.ip_address(a)) for a in (spec.bridge.ipv4, *(m.ipv4 for m in named))])
    _unique("address", [str(ipaddress.ip_address(a)) for a in (spec.bridge.ipv6, *(m.ipv6 for m in named))])


def _unique(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise SpecError("content", f"the {what} {value} is there twice")
        seen.add(value)
