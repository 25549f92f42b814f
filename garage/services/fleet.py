"""A simulated fleet in a database: nodes whose hypervisor is `fake:`, and machines on them, for benchmarks and for trying policies.

Rows are made in bulk, as requests and workers would have left them; nothing is checked against quotas. The worker runs such nodes like
any others (`garage.shell.fake_hypervisor`); nobody's netd answers for them, so `play_netd` says what it would.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from garage.core import ipam, machine_limits, names
from garage.core.states import State
from garage.core.types import NodeFacts, SizeSpec
from garage.db.models import Image, Machine, Node, Project, Size
from garage.db.revisions import touch
from garage.errors import N_, GarageError
from garage.services import addresses, own_site
from garage.services.context import Context

PROJECT = "simulated"
IMAGE = "0" * 64
"""sha256 of the image that is registered where a database has none."""
PREFIX4 = "10.0.0.0/12"
"""What a garage of a simulated fleet has as its site's IPv4 prefix: room for a million machines, where a real site has a /20."""
AMPLE = 1_000_000_000
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Model:
    """What the nodes of a fleet are like."""

    vcpus: int = 64
    memory_mib: int = 131_072
    disk_gib: int = 2000
    behaviour: tuple[tuple[str, str], ...] = ()
    """Further settings of the `fake:` URI, e.g. (("boot", "20"), ("spread", "0.5"), ("refused", "0.01"))."""
    folder: str = ""
    """Where the nodes' domains are kept, a file per node; empty: in the worker's memory alone."""

    def uri(self, node: str, seed: int) -> str:
        """Of the simulated hypervisor of `node`."""
        sizes = {"vcpus": self.vcpus, "memory_mib": self.memory_mib, "disk_gib": self.disk_gib, "seed": seed}
        path = f"{self.folder}/{node}.json" if self.folder else ""
        return f"fake://{path}?{urlencode({**sizes, **dict(self.behaviour)})}"

    def facts(self) -> dict[str, Any]:
        """As a worker would have observed them."""
        return asdict(NodeFacts(self.vcpus, self.memory_mib, float(self.disk_gib), float(self.disk_gib), "tcg"))


def add_nodes(ctx: Context, count: int, model: Model = Model(), *, prefix: str = "sim") -> list[str]:
    """`count` nodes named PREFIX1…, active, observed and reported; returns their names. Those that exist stay as they are."""
    wanted = [f"{prefix}{number}" for number in range(1, count + 1)]
    with ctx.db.write() as session:
        there = set(session.scalars(select(Node.name)))
        rows = [
            {
                **{"name": name, "hypervisor": model.uri(name, number), "facts": model.facts(), "labels": {}},
                **{"applied_version": 1, "reported_at": ctx.clock(), "state_since": ctx.clock()},
            }
            for number, name in enumerate(wanted)
            if name not in there
        ]
        if rows:
            session.execute(insert(Node), rows)
    return wanted


def add_machines(
    ctx: Context,
    count: int,
    nodes: Sequence[str],
    *,
    state: State = State.READY,
    sizes: Sequence[str] = ("tiny", "small"),
    seed: int = 0,
) -> list[str]:
    """`count` machines in `state` of a project of their own, dealt out to `nodes` in turn, their sizes drawn by `seed`; returns their ids.

    Raises `no_address` where the site's prefix is too small for them (`PREFIX4` is not).
    """
    rng = random.Random(seed)  # noqa: S311  (a simulation)
    with ctx.db.write() as session:
        project, image = _project(session, ctx), _image(session, ctx)
        specs = [SizeSpec(s.name, s.vcpus, s.memory_mib, s.disk_gib) for s in (session.get_one(Size, n) for n in sizes)]
        rows = {row.name: row for row in session.scalars(select(Node).where(Node.name.in_(nodes)))}
        places = zip(addresses.take_numbers(session, count), _addresses(session, ctx, count), strict=True)
        made, secret = [], ctx.vault.lock(b"")
        for index, (number, (ipv4, ipv6)) in enumerate(places):
            node, size = rows[nodes[index % len(nodes)]], rng.choice(specs)
            made.append(_machine(ctx, node, size, number, ipv4, ipv6, state))
            made[-1].update(project_id=project.id, image_id=image.id, host_key_private=secret)
        for node in rows.values():
            node.applied_version = node.spec_version
        session.flush()
        session.execute(insert(Machine), made)
        return [str(row["id"]) for row in made]


def _machine(
    ctx: Context, node: Node, size: SizeSpec, number: int, ipv4: str, ipv6: str, state: State
) -> dict[str, Any]:
    """Raises the node's version like any new machine does."""
    now, instance = ctx.clock(), ctx.config.instance
    node.spec_version += 1
    return {
        **{"id": ctx.new_id(), "name": f"{node.name}-{number}", "node": node.name, "number": number},
        **{"state": state.value, "state_since": now, "created_at": now, "started": state is State.READY},
        **{"lease_until": now + ctx.config.lease_days * DAY, "ready_at": now if state is State.READY else None},
        **{"size": size.name, "vcpus": size.vcpus, "memory_mib": size.memory_mib, "disk_gib": size.disk_gib},
        **{"ipv4": ipv4, "ipv6": ipv6, "mac": names.mac(instance, number), "tap": names.tap(instance, number)},
        **{"spec_version": node.spec_version, "host_key_public": "", "authorized_keys": []},
        **{"node_labels": {}, "disk_limits": machine_limits.of(ctx.config.limits, size.name, {}).disk},
    }


def _addresses(session: Session, ctx: Context, count: int) -> list[tuple[str, str]]:
    """`count` free pairs, the lowest first; the IPv6 mirrors the IPv4's offset, as `ipam.allot` does it."""
    net4, net6 = (ipaddress.ip_network(prefix) for prefix in own_site.prefixes(session, ctx))
    used = set(session.scalars(select(Machine.ipv4).where(Machine.state != State.GONE.value)))
    last = ipam.FIRST_MACHINE + ipam.capacity(str(net4))
    free = (offset for offset in range(ipam.FIRST_MACHINE, last) if str(net4[offset]) not in used)
    found = [(str(net4[offset]), str(net6[offset])) for offset in islice(free, count)]
    if len(found) < count:
        raise GarageError(
            "no_address",
            N_("all {count} addresses of {prefix} are in use"),
            hint=N_("delete machines that nobody needs"),
            count=ipam.capacity(str(net4)),
            prefix=str(net4),
        )
    return found


def _project(session: Session, ctx: Context) -> Project:
    if project := session.scalars(select(Project).where(Project.name == PROJECT)).first():
        return project
    quota = dict.fromkeys(("quota_machines", "quota_vcpus", "quota_memory_mib", "quota_disk_gib"), AMPLE)
    project = Project(id=ctx.new_id(), name=PROJECT, created_at=ctx.clock(), **quota)
    session.add(project)
    return project


def _image(session: Session, ctx: Context) -> Image:
    if image := session.scalars(select(Image).where(Image.current).order_by(Image.id)).first():
        return image
    image = Image(id=ctx.new_id(), name="debian-12", sha256=IMAGE, manifest={}, created_at=ctx.clock(), current=True)
    session.add(image)
    return image


def play_netd(ctx: Context) -> None:
    """Every simulated node's netd says that it has applied what there is: what it would say every ten seconds."""
    now = ctx.clock()
    behind = select(Node.name).where(Node.hypervisor.startswith("fake:"), Node.applied_version != Node.spec_version)
    query = update(Node).where(Node.hypervisor.startswith("fake:"))
    with ctx.db.write() as session:
        touch(session, list(session.scalars(behind)))
        session.execute(query.values(applied_version=Node.spec_version, reported_at=now))
