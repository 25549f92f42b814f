"""YAML → Topology, strictly: what is not understood is refused with the field's path and a hint, never skipped."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from netd.errors import NetdError
from netd.lab import units
from netd.lab.model import BLOCKS, INTERNET, Impairment, Line, Nat, Overlay, Site, Topology

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
LAB_LENGTH, NODE_LENGTH, LINE_LENGTH = 20, 32, 15
"""A line's name is an interface's: at most IFNAMSIZ - 1 characters. A lab's is part of every namespace's and socket's."""
MAX_LINES, MAX_NODES, MAX_CARRIERS, MAX_BYTES = 63, 12, 40, 1 << 20
"""What the documentation networks hold, see addresses.py."""
KINDS = ("cone", "symmetric", "map-e", "ds-lite")
FILTERS = ("any", "address", "port")
FIGURES = {"mesh_sites": (2, 50), "bfd_ms": (50, 60_000)}
"""Of the registry, with the limits that it has itself."""
MAP_E_PORTS = (40_960, 41_199)
"""240 ports, what a provider in Japan gives a MAP-E line; in reality 15 blocks of 16, here one of 240."""
SHAPES: dict[str, Callable[[object], float]] = {
    "delay": units.seconds,
    "jitter": units.seconds,
    "loss": units.share,
    "rate": units.bits_per_second,
}


def wrong(path: str, text: str, hint: str = "") -> NetdError:
    return NetdError("config", f"{path or 'topology'}: {text}", hint=hint)


def load(path: Path) -> Topology:
    """The topology in a file; NetdError("config") names file and field."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NetdError("config", f"{path}: {error}", hint="ready topologies are in labs/") from None
    try:
        return parse(text, default_name=path.stem)
    except NetdError as error:
        raise NetdError(error.code, f"{path}: {error.text}", hint=error.hint) from None


def parse(text: str, *, default_name: str = "lab") -> Topology:
    """A topology from YAML."""
    if len(text) > MAX_BYTES:
        raise wrong("", "is larger than 1 MiB")
    try:
        loaded = yaml.load(text, Loader=_Strict)  # noqa: S506 (a subclass of SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise wrong("", f"is no YAML: {error}") from None
    root = _mapping("", loaded, ("name", "about", "carriers", "overlay", "sites"))
    name = label("name", root.get("name", default_name), LAB_LENGTH)
    carriers = {
        label("carriers", key, LINE_LENGTH): _nat(f"carriers.{key}", value, ())
        for key, value in _mapping("carriers", root.get("carriers") or {}).items()
    }
    sites = _mapping("sites", root.get("sites"))
    if not sites:
        raise wrong("sites", "none is given", "write sites: {tsukuba: {}, nagoya: {}}")
    parsed = tuple(_site(f"sites.{key}", key, value, carriers) for key, value in sites.items())
    overlay = _overlay(root.get("overlay") or {}, [site.name for site in parsed])
    made = Topology(name, parsed, overlay, carriers, _text("about", root.get("about", "")))
    _check(made)
    return made


class _Strict(yaml.SafeLoader):
    """YAML without aliases (they can grow without end) or repeated keys (the last would silently win); keys are read as written."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ARG002 (the base's signature)
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"line {line}: a key is no word")
            if key.value in found:
                raise yaml.YAMLError(f"line {line}: {key.value!r} is given twice")
            found[key.value] = self.construct_object(value, deep=True)
        return found


def _mapping(path: str, value: object, known: Iterable[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(path, "is missing" if value is None else f"{value!r} is no mapping", "write key: value")
    for key in value if known is not None else ():
        if key not in (names := list(known or ())):
            near = difflib.get_close_matches(key, names, 1)
            raise wrong(
                f"{path}.{key}".lstrip("."), "is unknown", f"did you mean {near[0]}?" if near else ", ".join(names)
            )
    return value


def label(path: str, value: object, length: int) -> str:
    if not isinstance(value, str) or not LABEL.fullmatch(value):
        raise wrong(path, f"{value!r} is no name", "lower-case letters, digits and hyphens inside")
    if len(value) > length:
        raise wrong(path, f"{value!r} is longer than {length} characters")
    return value


def _site(path: str, name: str, value: object, carriers: Mapping[str, Nat]) -> Site:
    row = _mapping(path, {} if value is None else value, ("nodes", "lines"))
    label(path, name, NODE_LENGTH)
    nodes = tuple(
        label(f"{path}.nodes", node, NODE_LENGTH) for node in _list(f"{path}.nodes", row.get("nodes", [name]))
    )
    if not 1 <= len(nodes) <= MAX_NODES:
        raise wrong(f"{path}.nodes", f"{len(nodes)} nodes", f"a site has 1 to {MAX_NODES}")
    given = _mapping(f"{path}.lines", row.get("lines", {f"{name}-line"[:LINE_LENGTH].strip("-"): {}}))
    lines = tuple(_line(f"{path}.lines.{key}", key, line, nodes, carriers) for key, line in given.items())
    return Site(name, nodes, lines)


def _overlay(value: object, sites: list[str]) -> Overlay:
    row = _mapping("overlay", value, ("registry", *FIGURES))
    figures = {key: _number(f"overlay.{key}", row[key], *FIGURES[key]) for key in FIGURES if key in row}
    return Overlay(_known("overlay.registry", row.get("registry", sites[0]), sites), **figures)


def _line(path: str, name: str, value: object, nodes: tuple[str, ...], carriers: Mapping[str, Nat]) -> Line:
    row = _mapping(path, {} if value is None else value, (*SHAPES, "nat", "carrier", "ipv4", "ipv6", "block", "mtu"))
    impairment = Impairment(**{key: quantity(f"{path}.{key}", key, row[key]) for key in SHAPES if key in row})
    line = Line(
        name=label(path, name, LINE_LENGTH),
        impairment=impairment,
        shaped=any(key in row for key in SHAPES),
        nat=_nat(f"{path}.nat", row["nat"], nodes) if row.get("nat") is not None else None,
        carrier=_known(f"{path}.carrier", row["carrier"], carriers) if row.get("carrier") is not None else None,
        ipv4=_flag(f"{path}.ipv4", row.get("ipv4", True)),
        ipv6=_flag(f"{path}.ipv6", row.get("ipv6", True)),
        block=tuple(_known(f"{path}.block", word, BLOCKS) for word in _list(f"{path}.block", row.get("block", []))),
        mtu=_number(f"{path}.mtu", row.get("mtu", 1500), 1280, 9000),
    )
    return _checked_line(path, line)


def _checked_line(path: str, line: Line) -> Line:
    if not line.ipv4 and not line.ipv6:
        raise wrong(path, "carries neither IPv4 nor IPv6", "leave one of them true")
    if line.impairment.jitter > line.impairment.delay:
        raise wrong(f"{path}.jitter", "is more than the delay: a packet can't arrive before it is sent")
    if not line.ipv4 and (line.nat or line.carrier):
        raise wrong(path, "has a NAT but no IPv4", "leave one of them out")
    return line


def quantity(path: str, key: str, value: object) -> float:
    """A delay, jitter, loss or rate, as SHAPES says; `path` leads to it."""
    try:
        return SHAPES[key](value)
    except ValueError as error:
        raise wrong(path, str(error)) from None


def _nat(path: str, value: object, nodes: tuple[str, ...]) -> Nat:
    row = _mapping(path, {"kind": value} if isinstance(value, str) else value, ("kind", "filter", "ports", "forward"))
    kind = _known(f"{path}.kind", row.get("kind"), KINDS)
    filtering = _known(f"{path}.filter", row.get("filter", "port"), FILTERS)
    if kind in ("symmetric", "ds-lite") and filtering != "port":
        raise wrong(f"{path}.filter", f"a {kind} NAT lets only answers in", "leave it out, or use kind: cone")
    if "ports" in row and kind != "map-e":
        raise wrong(f"{path}.ports", "only map-e has a port range", "use kind: map-e")
    ports = _ports(f"{path}.ports", row.get("ports")) if kind == "map-e" else None
    return Nat(kind, filtering, ports, _forward(f"{path}.forward", row.get("forward") or {}, kind, ports, nodes))


def _ports(path: str, value: object) -> tuple[int, int]:
    if value is None:
        return MAP_E_PORTS
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", str(value), re.ASCII)
    if not found or not 1024 <= int(found[1]) <= int(found[2]) <= 65_535:
        raise wrong(path, f"{value!r} is no range of ports", "write 40960-41199")
    return int(found[1]), int(found[2])


def _forward(
    path: str, value: object, kind: str, ports: tuple[int, int] | None, nodes: tuple[str, ...]
) -> tuple[tuple[int, str], ...]:
    rows = _mapping(path, value)
    if rows and (kind == "ds-lite" or not nodes):
        raise wrong(path, "a carrier's NAT forwards no port", "leave it out")
    found = []
    for key, node in rows.items():
        if not re.fullmatch(r"[0-9]{1,5}", key, re.ASCII):
            raise wrong(f"{path}.{key}", "is no port", 'write "51820": NODE')
        low, high = ports or (1, 65_535)
        found.append((_number(f"{path}.{key}", int(key), low, high), _known(f"{path}.{key}", node, nodes)))
    return tuple(found)


def _check(topology: Topology) -> None:
    """What no single field shows: names used twice, too many of something."""
    devices = [line.name for line in topology.lines] + list(topology.carriers)
    places = [*topology.nodes, INTERNET]
    for names, path in ((devices, "lines and carriers"), (places, "nodes")):
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise wrong(
                path, f"{name!r} is used twice", f"{INTERNET} is the laboratory's own" if name == INTERNET else ""
            )
    for name in {"lo", "lan", "wan", INTERNET} & set(devices):
        raise wrong("lines and carriers", f"{name!r} is the laboratory's own name", "choose another one")
    if len(topology.lines) > MAX_LINES or len(topology.carriers) > MAX_CARRIERS:
        raise wrong("", f"has more than {MAX_LINES} lines or {MAX_CARRIERS} carriers", "split it into two labs")


def _known(path: str, value: object, known: Iterable[str]) -> str:
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise wrong(path, f"{value!r} is unknown", f"one of {', '.join(names) or 'none'}")
    return value


def _list(path: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(path, f"{value!r} is no list", "write [a, b]")
    return value


def _flag(path: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong(path, f"{value!r} is neither true nor false")
    return value


def _number(path: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise wrong(path, f"{value!r} is no number from {low} to {high}")
    return value


def _text(path: str, value: object) -> str:
    if not isinstance(value, str):
        raise wrong(path, f"{value!r} is no text")
    return value
