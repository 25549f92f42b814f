"""Shapes of machines."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel

from garage.api.schemas import Digits, FailureOut, In, Labels, NameIn, NameOf, NoQuery, Out, Text, Time
from garage.core.node_states import NodeState
from garage.core.states import State
from garage.core.tags import MAX_NOTES, MOST

Order = Literal["newest", "name", "state", "lease"]
"""`services.sorting.ORDERS`."""


class MachineQuery(NoQuery):
    limit: Digits = Field(50, ge=1, le=200)
    cursor: str | None = Field(
        None, max_length=80, pattern=r"^[0-9a-zA-Z.~+-]+$", description="What the page before gave."
    )
    sort: Order = Field(
        "newest", description="By name, by state, or the lease that ends first; the newest first otherwise."
    )
    project: str | None = Field(None, max_length=64)
    state: State | None = None
    node: NameOf | None = None
    image: NameOf | None = None
    size: NameOf | None = None
    tag: NameOf | None = None
    owner: NameOf | None = Field(None, description="Who made it.")
    search: str = Field(
        "", max_length=64, description="Part of a name or of NAME.PROJECT, or the beginning of an address."
    )


Tags = Annotated[list[NameIn], Field(max_length=MOST)]
Notes = Annotated[Text, Field(max_length=MAX_NOTES, description="Plain text.")]


class MachineIn(In):
    name: NameIn = Field("", description="A DNS label; made up when empty.")
    project: NameIn | None = Field(None, description="Default: your personal project.")
    image: NameIn = "debian-12"
    size: NameIn = "small"
    lease_days: float | None = Field(None, gt=0, le=3650, description="Default: the garage's lease.")
    user_data: str | None = Field(None, max_length=65_536, description="cloud-init user-data.")
    apart: NameIn = Field("", description="Machines of the project with the same word go to different nodes.")
    node_labels: Labels = Field({}, description="Labels that its node must have.", examples=[{"gpu": "rtx3090"}])
    tags: Tags = Field([], description="Words by which it is found again.", examples=[["course-2026"]])
    notes: Notes = ""
    volumes: list[NameIn] = Field([], max_length=8, description="Volumes that it gets: it is made on their node.")
    count: int | None = Field(
        None,
        ge=1,
        le=100,
        description="So many at once, all or none, named NAME-1, NAME-2, …; the answer is a list then.",
    )


class MachinePatch(In):
    """What is left out, or null, stays as it is."""

    name: NameIn | None = Field(None, description="Its DNS name from now on; free in its project.")
    tags: Tags | None = Field(None, description="All that it shall have.")
    notes: Notes | None = None


class RebuildIn(In):
    image: NameIn | None = Field(None, description="Default: the newest of the image that it was made of.")


class ResizeIn(In):
    size: NameIn


class TransferIn(In):
    project: NameIn = Field(description="Where it goes, by name or id; one of yours.")


class RenewIn(In):
    days: float | None = Field(None, gt=0, le=3650)


class WarningOut(BaseModel):
    """What will not go well although it is taken."""

    pointer: str = Field(description="The field that it is about, a JSON pointer into the request.")
    detail: str
    hint: str = ""


class LimitsOut(Out):
    """0: no limit."""

    disk_iops: int = Field(description="Reads and writes per second.")
    disk_mb: int = Field(description="10⁶ bytes per second.")
    net_mbit: int = Field(description="10⁶ bits per second, each way.")
    connections: int = Field(description="Open at the same time.")


class MachineOut(Out):
    id: str
    name: str
    project: str
    owner: str
    state: State
    step: str = Field(description="Progress within the state, for people.")
    state_since: Time
    wants_running: bool
    node: str
    node_error: str = Field(description="Why the node cannot be asked now; the state is then the last one known.")
    node_state: NodeState = Field(description="While its node is draining the machine moves to another one.")
    moving_to: str = Field(description="The node to which it is on its way; empty otherwise.")
    moved_percent: int
    virtualisation: str
    apart: str
    node_labels: dict[str, str]
    image: str
    size: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ipv4: str
    ipv6: str
    fqdn: str
    host_key: str = Field(description="The machine's SSH host key, one line.")
    created_at: Time
    ready_at: Time | None
    cold_reason: Literal["", "off", "empty", "user_data", "image", "pool_failed"] = Field(
        description="Why it had to boot; empty when it came out of a pool."
    )
    cold_detail: str = Field(description="What of its user-data was the reason, in the user-data's own words.")
    lease_until: Time
    lease_warned: bool
    deletes_at: Time
    error: FailureOut | None = None
    console_tail: str
    actions: list[str]
    tags: list[str]
    notes: str
    rebuilt_at: Time | None = Field(description="When it last got a new disk.")
    warnings: list[WarningOut] = Field(
        [], description="In the answer to its creation: what its image's cloud-init will not take as it was meant."
    )
    limits: LimitsOut = Field(description="What it may take of what its node shares.")
    growing: bool = Field(description="While it runs: its guest has yet to get the vCPUs, memory or disk said here.")
    resize_error: FailureOut | None = Field(
        None, description="Why it did not grow, or not wholly, the last time that it was asked while it ran."
    )
    limits_own: list[str] = Field(
        description="Those that an admin set for this machine alone; the others are as its size has them."
    )


class MachineList(BaseModel):
    items: list[MachineOut]
    cursor: str | None = None


class MachineMade(RootModel[MachineOut | MachineList]):
    """One machine, or a list where `count` was given."""
