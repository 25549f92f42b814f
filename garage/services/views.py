"""What services hand out: plain values, free of secrets, the same for API, pages and tests. Times are UTC seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from garage.config import Config
from garage.core import machine_limits
from garage.core.machine_limits import MachineLimits
from garage.core.names import fqdn
from garage.core.states import TABLE, Event, State
from garage.core.types import Demand
from garage.db.models import Machine, Project
from garage.errors import GarageError

T = TypeVar("T")
NOTHING = Demand(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `cursor` asks for the next one, None on the last."""

    items: list[T]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class MachineView:
    id: str
    name: str
    project: str
    owner: str
    state: str
    step: str
    state_since: float
    wants_running: bool
    node: str
    node_error: str
    """Why the node cannot be asked at the moment; the state above is then the last one known."""
    node_state: str
    """`core.node_states.NodeState`: while its node is "draining" it moves, or stays there off."""
    moving_to: str
    """The node to which it is on its way; empty otherwise."""
    moved_percent: int
    virtualisation: str
    image: str
    apart: str
    """Machines of the project with the same word are on other nodes."""
    node_labels: Mapping[str, str]
    """What was asked of its node."""
    placement: Mapping[str, Any]
    """Why it was placed where it is (`services.placing.record`)."""
    size: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ipv4: str
    ipv6: str
    fqdn: str
    host_key: str
    created_at: float
    ready_at: float | None
    cold_reason: str
    """Why its first boot was a cold one (`core.pool.Cold`); empty when it came out of a pool."""
    cold_detail: str
    """What of its user-data was the reason: keys, paths, a format; otherwise empty."""
    lease_until: float
    lease_warned: bool
    deletes_at: float
    """When a machine whose lease has ended is deleted, unless it is renewed."""
    error: dict[str, Any] | None
    console_tail: str
    actions: list[str]
    """What may be done now: of "start", "stop", "reboot", "rebuild", "resize", "renew", "delete"."""
    limits: MachineLimits
    tags: Sequence[str] = ()
    has_user_data: bool = False
    notes: str = ""
    rebuilt_at: float | None = None
    """When it last got a new disk."""
    warnings: Sequence[GarageError] = ()
    """Of its creation alone: what will not go well although it was taken."""
    growing: bool = False
    """While it runs: its guest has yet to get the vCPUs, memory or disk said here."""
    resize_error: dict[str, Any] | None = None
    """Why it did not grow, or not wholly, the last time that it was asked while it ran."""
    watched: bool = False
    """Seen by an auditor, who is not in its project: without its console and what may be done."""
    limits_own: Sequence[str] = ()
    """Names of those that an admin set for this machine alone."""


@dataclass(frozen=True, slots=True)
class UsageView:
    """Of one project: what is used and what its quota allows; keys machines, vcpus, memory_mib, disk_gib, image_gib."""

    used: Mapping[str, int]
    quota: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ProjectView:
    id: str
    name: str
    personal: bool
    role: str
    """The caller's: "owner", "member", or "admin" for an admin who is no member."""
    usage: UsageView
    members: list[dict[str, str]] = field(default_factory=list)
    """[{"name": …, "role": …}], people alone: service accounts have a list of their own."""


@dataclass(frozen=True, slots=True)
class GrantView:
    """A role beside being a member; `site` is an operator's."""

    role: str
    site: str


@dataclass(frozen=True, slots=True)
class UserView:
    id: str
    name: str
    role: str
    disabled: bool
    has_password: bool
    created_at: float
    locale: str = ""
    service_of: str = ""
    """The project whose service account it is; empty for a person."""
    second_factor: bool = False
    lacks_factor: bool = False
    """They need one and have none: said of who is signed in."""
    openid: bool = False
    """They sign in by OpenID Connect, perhaps beside a password: said in lists."""
    grants: Sequence[GrantView] = ()
    """Said in lists."""


@dataclass(frozen=True, slots=True)
class KeyView:
    id: str
    name: str
    public_key: str
    fingerprint: str
    created_at: float


@dataclass(frozen=True, slots=True)
class TokenView:
    id: str
    name: str
    created_at: float
    expires_at: float | None
    scope: str


@dataclass(frozen=True, slots=True)
class ServiceView:
    name: str
    created_at: float
    tokens: list[TokenView]


@dataclass(frozen=True, slots=True)
class ImageView:
    id: str
    name: str
    sha256: str
    current: bool
    created_at: float
    manifest: dict[str, Any]
    visibility: str = "all"
    owner: str = ""
    """Who brought it; empty: the garage's own."""
    project: str = ""
    machines: int = 0
    """That are made of it, anybody's."""
    verified_at: float | None = None
    damaged: bool = False
    bytes: int = 0
    """Of its file; 0: not known."""
    virtual_bytes: int = 0
    boot: str = "kernel"
    """ "kernel": directly; "bios" or "uefi": by its own loader."""
    mine: bool = False
    """The caller may change it."""


@dataclass(frozen=True, slots=True)
class CopyView:
    """An image on its way to a node, or one that did not come."""

    image: str
    """Its name."""
    source: str
    """Empty: it is tried again."""
    percent: int
    error: str
    """The code of what went wrong; empty while it is under way."""


@dataclass(frozen=True, slots=True)
class NodeView:
    name: str
    labels: Mapping[str, str]
    virtualisation: str
    vcpus: int
    memory_mib: int
    free_vcpus: int
    free_memory_mib: int
    disk_free_gib: float
    disk_total_gib: float
    machines: int
    hypervisor_error: str
    netd_error: str
    spec_version: int
    applied_version: int
    reported_at: float | None
    state: str
    """`core.node_states.NodeState`."""
    state_since: float
    silent_since: float | None
    """Since when neither libvirt nor netd has answered."""
    silence: str
    """`core.silence.Silence`: which of the two is silent now."""
    copies: Sequence[CopyView] = ()
    promised: Demand = NOTHING
    """What its machines hold: memory and vCPUs of those that run, disk of all."""
    most: Demand = NOTHING
    """What may be promised of it in all (`core.placement.Room.most`)."""


@dataclass(frozen=True, slots=True)
class WholeView:
    """All nodes together."""

    nodes: int
    taking: int
    """Those that take machines now."""
    machines: int
    promised: Demand
    most: Demand


@dataclass(frozen=True, slots=True)
class AuditView:
    id: int
    at: float
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    project: str | None = None
    number: int | None = None
    """Of its seal, with the seal's hash; None in its first second."""
    hash: str | None = None


def actions(machine: Machine) -> list[str]:
    """The names of the actions that the table allows now."""
    state = State(machine.state)
    possible = {"start": Event.START, "stop": Event.STOP, "delete": Event.DELETE}
    allowed = [name for name, event in possible.items() if (state, event) in TABLE]
    if state in (State.READY, State.BOOTING):
        allowed.append("reboot")
    if (state, Event.REBUILD) in TABLE and not machine.moving_to:
        allowed.append("rebuild")
    if state in (State.READY, State.STOPPED, State.FAILED) and not machine.moving_to:
        allowed.append("resize")
    if state not in (State.DELETING, State.GONE):
        allowed.append("renew")
    return allowed


def machine_view(
    config: Config,
    machine: Machine,
    *,
    owner: str,
    node_error: str,
    node_state: str,
    virtualisation: str,
    site_domain: str,
    tags: Sequence[str] = (),
) -> MachineView:
    """`machine` must have its project and image loaded."""
    ended = machine.lease_ended_at or machine.lease_until
    return MachineView(
        **{name: getattr(machine, name) for name in _SAME},
        project=machine.project.name,
        owner=owner,
        node_error=node_error,
        node_state=node_state,
        moving_to=machine.moving_to or "",
        virtualisation=virtualisation,
        image=machine.image.name,
        fqdn=fqdn(machine.name, machine.project.name, site_domain),
        host_key=machine.host_key_public,
        deletes_at=ended + config.lease_grace_hours * 3600,
        actions=actions(machine),
        tags=tags,
        has_user_data=machine.user_data is not None,
        growing=machine.grown_from is not None,
        limits=machine_limits.of(config.limits, machine.size, machine.limits),
        limits_own=sorted(machine.limits),
    )


_SAME: tuple[str, ...] = (
    *("id", "name", "state", "step", "state_since", "wants_running", "node", "size", "vcpus", "memory_mib", "disk_gib"),
    *(
        "apart",
        "placement",
        "node_labels",
        "ipv4",
        "ipv6",
        "created_at",
        "ready_at",
        "cold_reason",
        "cold_detail",
        "lease_until",
        "lease_warned",
    ),
    *("error", "console_tail"),
    *("moved_percent", "notes", "rebuilt_at", "resize_error"),
)


def quota_of(project: Project) -> dict[str, int]:
    return {
        "machines": project.quota_machines,
        "vcpus": project.quota_vcpus,
        "memory_mib": project.quota_memory_mib,
        "disk_gib": project.quota_disk_gib,
        "image_gib": project.quota_image_gib,
    }
