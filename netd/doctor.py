"""`netd doctor`: all looks at once, each with its own patience, then the verdicts. Works before joining, and without netd running."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from netd import status, volume
from netd.config import Config
from netd.core.desired import Desired
from netd.core.doctor import (
    Clock,
    Disk,
    Kernel,
    Ports,
    Verdict,
    judge_clock,
    judge_disk,
    judge_kernel,
    judge_ports,
)
from netd.core.doctor_lines import Lines, judge_mtu, judge_nat, judge_udp
from netd.core.doctor_links import Asked, judge_links, judge_names
from netd.core.doctor_site import Site, Volume, judge_registry, judge_site, judge_volume
from netd.core.volume import month
from netd.errors import NetdError
from netd.overlay import Overlay
from netd.shell import counters, daemons, doctor, names, outside, registry_look

ENOUGH = 8.0
"""Seconds for all looks together; one that takes longer is told of and left behind."""
SITES = 12
"""Other sites whose name servers are asked."""
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined. `config`: None before `make up`; `overlay`: None where its files cannot be read."""

    folder: Path
    """Where netd keeps its state, or will."""
    registry: str
    """Its address; "" for none."""
    port: int
    ports: int
    config: Config | None = None
    overlay: Overlay | None = None

    @property
    def joined(self) -> bool:
        return self.overlay is not None and self.overlay.member is not None


@dataclass
class Findings:
    """What came of the looks, by name, and what went wrong with the others."""

    values: dict[str, Any] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def of(self, name: str, kind: type[Found]) -> Found | None:
        """None where the look came to nothing."""
        value = self.values.get(name)
        return value if isinstance(value, kind) else None


def examine(subject: Subject) -> list[Verdict]:
    """All verdicts, within some nine seconds."""
    return judge(subject, look(_looks(subject)), time.time())


def look(looks: Mapping[str, Callable[[], Any]], enough: float = ENOUGH) -> Findings:
    """Run all at once. Threads that hang end with the process."""
    found = Findings(troubles=dict.fromkeys(looks, "took too long"))

    def do(name: str, see: Callable[[], Any]) -> None:
        try:
            found.values[name] = see()
            del found.troubles[name]
        except Exception as error:  # noqa: BLE001  (whatever it is, the other looks are told)
            found.troubles[name] = (str(error) or type(error).__name__)[:200]

    threads = [threading.Thread(target=do, args=item, daemon=True) for item in looks.items()]
    deadline = time.monotonic() + enough
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return Findings(dict(found.values), dict(found.troubles))


def _looks(subject: Subject) -> dict[str, Callable[[], Any]]:
    config, overlay = subject.config, subject.overlay
    instance = config.instance if config else ""
    wanted = [link.port for link in overlay.spec.links] if overlay and overlay.spec else []
    looks: dict[str, Callable[[], Any]] = {
        "kernel": lambda: doctor.see_kernel(_desired(overlay)),
        "clock": lambda: doctor.see_clock(None, 1.0),
        "ports": lambda: doctor.see_ports(subject.port, subject.ports, wanted, instance, subject.folder),
        "disk": lambda: doctor.see_disk(subject.folder),
        "lines": lambda: _outside(subject.registry),
    }
    if subject.registry:
        looks["registry"] = lambda: _registry(subject)
    if config and overlay and overlay.node.spec:
        looks["names"] = lambda: _names(config, overlay)
    if config and subject.joined:
        looks["status"] = lambda: status.status(config)
    return looks


def _desired(overlay: Overlay | None) -> Desired | None:
    spec = overlay.node.spec if overlay else None
    return Desired(spec, overlay.node.floor(spec.bridge.name)) if overlay and spec else None


def _registry(subject: Subject) -> registry_look.Answered:
    """As a member only where it is this member's registry; to any other it is a stranger."""
    overlay = subject.overlay
    member = overlay.member if overlay else None
    if overlay is None or member is None or member.url != subject.registry:
        return registry_look.look(subject.registry, None)
    return registry_look.look(subject.registry, member, overlay.home.credential(), overlay.versions)


def _outside(url: str) -> list[outside.Asked]:
    """Both families at once, IPv6 first."""
    where = urlsplit(url)
    port = where.port or 443
    known = outside.addresses(where.hostname, port) if where.hostname else {}
    found = look({str(version): lambda v=version: outside.ask(v, known.get(v, ""), port) for version in (6, 4)})  # type: ignore[misc]
    return [found.values[name] for name in ("6", "4") if name in found.values]


def _names(config: Config, overlay: Overlay) -> tuple[bool, Asked, list[Asked]]:
    """(the name server runs, its own name, other sites')."""
    spec = overlay.node.spec
    if spec is None:
        raise NetdError("config", "this node has no network of its own yet")
    zones = overlay.view(spec, overlay.node.floor(spec.bridge.name)).zones[:SITES]
    own = f"gateway.{spec.domain}"
    others = [f"doctor-{secrets.token_hex(4)}.{zone.domain}" for zone in zones]  # no cache knows it
    ways = [counters.device_towards(zone.servers[0]) or "" for zone in zones]
    linked = [way.startswith(f"gl{config.instance}") for way in ways]
    awaited = {name for name, there in zip(others, linked, strict=True) if there}
    answers = names.ask(spec.bridge.ipv4, others, own, awaited)
    about = [
        Asked(zone.domain.partition(".")[0], name, *answer, there)
        for zone, name, answer, there in zip(zones, others, answers, linked, strict=False)
    ]
    return "dns" in daemons.running(config.state_dir), Asked("", own, *answers[-1]), about


def judge(subject: Subject, found: Findings, now: float) -> list[Verdict]:
    """What was found, told in the order in which it is best mended. `now`: seconds since 1970."""
    answered = found.of("registry", registry_look.Answered)
    verdicts = [_missed(name, told) for name, told in sorted(found.troubles.items())]
    verdicts += judge_kernel(seen) if (seen := found.of("kernel", Kernel)) else []
    verdicts += judge_clock(_compared(clock, answered)) if (clock := found.of("clock", Clock)) else []
    verdicts += judge_disk(disk) if (disk := found.of("disk", Disk)) else []
    verdicts += judge_ports(ports) if (ports := found.of("ports", Ports)) else []
    verdicts += _judge_registry(subject, found, answered)
    verdicts += _judge_lines(subject, found, answered)
    verdicts += judge_names(*found.values["names"]) if "names" in found.values else []
    verdicts += _judge_site(subject, found, now)
    return verdicts


def _missed(name: str, told: str) -> Verdict:
    if name == "registry":
        todo = "does this server's own resolver answer? getent ahosts HOST; links go on without the registry"
        return Verdict("registry", "fail", f"not reached: {told}", todo)
    return Verdict(f"look {name}", "warn", told, "try again; is this server short of CPU?")


def _compared(clock: Clock, answered: registry_look.Answered | None) -> Clock:
    if answered is None:
        return clock
    return Clock(answered.off, answered.within, clock.synchronized, clock.service)


def _judge_registry(subject: Subject, found: Findings, answered: registry_look.Answered | None) -> list[Verdict]:
    if answered is not None:
        refusal = (_shown(found) or {}).get("refusal")
        seen = answered.registered
        told = f"{refusal['code']}: {refusal['text']}" if refusal else ""
        return judge_registry(replace(seen, refusal=told))
    if subject.registry:
        return []
    return [
        Verdict("registry", "ok", "this node has joined no overlay; netd doctor --registry URL checks the way to one")
    ]


def _shown(found: Findings) -> Mapping[str, Any] | None:
    """The overlay's part of `netd status`."""
    shown = found.of("status", dict)
    return shown["overlay"] if shown else None


def _links(found: Findings) -> Sequence[Mapping[str, Any]]:
    links: Sequence[Mapping[str, Any]] = (_shown(found) or {}).get("links", ())
    return links


def _judge_lines(subject: Subject, found: Findings, answered: registry_look.Answered | None) -> list[Verdict]:
    asked = found.of("lines", list)
    if not asked:
        return []
    links = [link for link in _links(found) if not link["draining"]]
    lines = Lines(
        tuple(one.echoes for one in asked),
        f"{subject.port}-{subject.port + subject.ports - 1}",
        answered.outside if answered else None,
        native6=any(one.native6 for one in asked),
        registry_answers=bool(answered and answered.registered.reached),
        handshakes=tuple(link["handshake_age"] for link in links) if links else None,
    )
    sizes = {
        link["peer_site"]: (link["mtu"], 6 if "[" in (link["endpoint"] or "") else 4) for link in links if link["mtu"]
    }
    return [*judge_nat(lines), *judge_udp(lines), *judge_mtu([one.path for one in asked], sizes)]


def _judge_site(subject: Subject, found: Findings, now: float) -> list[Verdict]:
    shown, overlay, config = found.of("status", dict), subject.overlay, subject.config
    if shown is None or shown["overlay"] is None or overlay is None or overlay.member is None or config is None:
        return []
    about, lines = shown["overlay"], tuple(f"line {line.name}: " for line in config.line)  # have a verdict of their own
    site = Site(
        overlay.member.site,
        about["daemon"],
        overlay.home.paused.exists(),
        _own(overlay),
        _allotted(overlay, overlay.member.site),
        tuple(shown["pending"]),
        tuple(about["alarms"]),
        tuple(text for text in (*about["closed_here"], *about["problems"]) if not text.startswith(lines)),
    )
    ledger = volume.read(config.state_dir)
    used = [Volume(line.name, ledger.of(line.name, month(now)), line.cap) for line in config.line if line.cap]
    return [*judge_links(about["links"], now), *judge_site(site), *judge_volume(used, now)]


def _own(overlay: Overlay) -> tuple[str, str]:
    spec = overlay.node.spec
    return (spec.bridge.site_ipv4, spec.bridge.site_ipv6) if spec else ("", "")


def _allotted(overlay: Overlay, site: str) -> tuple[str, str] | None:
    table = overlay.table.sites if overlay.table else ()
    return next(((row.ipv4, row.ipv6) for row in table if row.site == site), None)
