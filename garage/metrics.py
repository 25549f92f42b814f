"""`/metrics` by the Prometheus conventions: base units, `_total` for counters, a label per state."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from garage.core.states import State
from garage.services import machines, nodes, outlook, sites
from garage.services.context import Caller, Context

_SELF = Caller("", "garage", admin=True)
MIB, GIB = 1 << 20, 1 << 30


class _Garage(Collector):
    """Reads the database at each scrape: nothing to keep in step, nothing lost at a restart."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def collect(self) -> Iterator[Metric]:
        yield self._machines()
        yield self._up()
        yield from self._nodes()
        yield from self._overlay()

    def _machines(self) -> Metric:
        family = GaugeMetricFamily("garage_machines", "Machines by state.", labels=["state"])
        counts = machines.counts(self._ctx)
        for state in State:
            if state is not State.GONE:
                family.add_metric([state.value], counts.get(state.value, 0))
        return family

    def _up(self) -> Metric:
        family = GaugeMetricFamily("garage_part_up", "Whether a part answers (1) or not (0).", labels=["part"])
        health = outlook.health(self._ctx)
        for part in ("database", "worker", "netd", "hypervisor", "image"):
            family.add_metric([part], float(getattr(health, part)))
        return family

    def _nodes(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily(
            "garage_node_memory_free_bytes", "RAM that machines may still take.", labels=["node"]
        )
        disk = GaugeMetricFamily("garage_node_disk_free_bytes", "Free disk space where machines live.", labels=["node"])
        lag = GaugeMetricFamily("garage_node_spec_lag", "Spec versions that netd has yet to apply.", labels=["node"])
        for node in nodes.listing(self._ctx, _SELF):
            memory.add_metric([node.name], node.free_memory_mib * MIB)
            disk.add_metric([node.name], node.disk_free_gib * GIB)
            lag.add_metric([node.name], node.spec_version - node.applied_version)
        yield from (memory, disk, lag)

    def _overlay(self) -> Iterator[Metric]:
        """Of the registry's sites; `garage_overlay_alarms > 0` is worth an alert."""
        counts = sites.counts(self._ctx)
        for name, text in (
            ("sites", "Members of the overlay."),
            ("links", "Tunnels between their nodes."),
            ("links_up", "Tunnels over which BGP stands."),
            ("renumbering", "Sites that use prefixes which are not theirs."),
        ):
            yield GaugeMetricFamily(f"garage_overlay_{name}", text, value=counts[name])
        alarms = GaugeMetricFamily(
            "garage_overlay_alarms",
            "How many sites say that this one announces what is not its own; one more if its files are on two servers.",
            labels=["site"],
        )
        for site, count in sites.accused(self._ctx).items():
            alarms.add_metric([site], count)
        yield alarms


def render(ctx: Context) -> tuple[bytes, str]:
    """(body, content type) of one scrape."""
    registry = CollectorRegistry()
    registry.register(_Garage(ctx))
    return generate_latest(registry), CONTENT_TYPE_LATEST
