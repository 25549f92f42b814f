"""What a node says of itself and its links, in Prometheus' text format (exposition format 0.0.4); pure.

Base units, `_total` for counters, one family after the other. What was not measured has no series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from netd.wire import Link, LinkReport, LinkSpec, LinkState

Labels = Mapping[str, str]
Value = tuple[Labels, float | None]


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    help: str
    values: list[Value]

    @property
    def kind(self) -> str:
        return "counter" if self.name.endswith("_total") else "gauge"


def render(spec: LinkSpec, said: LinkReport, now: float) -> str:
    """`now`: seconds since 1970, when `said` was true."""
    own = {"site": spec.site, "node": spec.node}
    return "".join(map(_text, (*_of_node(own, said, now), *_of_links(own, spec, said))))


def _of_node(own: Labels, said: LinkReport, now: float) -> Iterable[Family]:
    for name, text, value in (
        ("reported_timestamp_seconds", "When this was written.", now),
        ("spec_version", "Version of the LinkSpec in force.", said.applied_version),
        ("table_version", "Version of the Table in force.", said.table_version),
        ("refused", "Whether the newest spec was refused (1).", said.refusal is not None),
        ("paused", "Whether other sites' traffic is stopped here (1).", said.paused),
        ("alarms", "Announcements of what is not the announcer's: alert on this.", len(said.alarms)),
        ("problems", "What an operator should mend.", len(said.problems)),
    ):
        yield Family(f"netd_overlay_{name}", text, [(own, float(value))])


def _of_links(own: Labels, spec: LinkSpec, said: LinkReport) -> Iterable[Family]:
    links = {link.number: link for link in spec.links}
    rows = [({**own, **_labels(links[state.number])}, state) for state in said.links if state.number in links]
    for name, text, values in (
        ("up", "Whether BGP over the link stands (1).", _all(rows, lambda s: s.state == "up")),
        ("rtt_seconds", "Round trip to the peer.", _all(rows, lambda s: _seconds(s.rtt_ms))),
        ("jitter_seconds", "Variation of the round trip.", _all(rows, lambda s: _seconds(s.jitter_ms))),
        ("loss_ratio", "Share of probes without an answer.", _all(rows, lambda s: s.loss)),
        ("preference_class", "Class of local preference, 3 best.", _all(rows, lambda s: s.preference)),
        ("mtu_bytes", "Largest packet inside the tunnel.", _all(rows, lambda s: s.mtu or None)),
        ("received_bytes_total", "Since the interface was made.", _all(rows, lambda s: s.received)),
        ("sent_bytes_total", "Since the interface was made.", _all(rows, lambda s: s.sent)),
    ):
        yield Family(f"netd_link_{name}", text, values)


def _labels(link: Link) -> dict[str, str]:
    return {"link": str(link.number), "peer_site": link.peer_site, "peer_node": link.peer_node}


def _all(rows: list[tuple[dict[str, str], LinkState]], value: Callable[[LinkState], float | None]) -> list[Value]:
    return [(labels, value(state)) for labels, state in rows]


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _text(family: Family) -> str:
    known = [(labels, value) for labels, value in family.values if value is not None]
    if not known:
        return ""
    lines = [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
    lines += [f"{family.name}{{{_joined(labels)}}} {_number(value)}" for labels, value in known]
    return "\n".join(lines) + "\n"


def _joined(labels: Labels) -> str:
    """Labels are names of sites and nodes and numbers: nothing in them has to be escaped."""
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))
