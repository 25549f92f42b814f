"""Shapes of nodes, of pools and sizes, and of the whole garage's state."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from garage.api.schemas import In, Labels, Out, Time
from garage.core.node_states import NodeState
from garage.core.silence import Silence


class LabelsIn(In):
    labels: Labels = Field(description="An empty value removes a label; others stay.", examples=[{"gpu": "rtx3090"}])


class SizeOut(Out):
    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int


class CopyOut(Out):
    image: str
    source: str = Field(description="The node it comes from; empty when it is tried again.")
    percent: int
    error: str = Field(description="The code of what went wrong; empty while it is under way.")


class DemandOut(Out):
    vcpus: int
    memory_mib: int
    disk_gib: int


class NodeOut(Out):
    name: str
    labels: dict[str, str]
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
    reported_at: Time | None
    state: NodeState
    state_since: Time
    silent_since: Time | None = Field(description="Since when neither libvirt nor netd has answered.")
    silence: Silence = Field(description="Which of the two is silent now.")
    copies: list[CopyOut] = Field(description="Images on their way to it, and those that did not come.")
    promised: DemandOut = Field(description="To its machines: vCPUs and memory of those that run, disk of all.")
    most: DemandOut = Field(description="That may be promised in all, with overcommit and reserves.")


class ForecastOut(Out):
    seconds: float | None
    reason: Literal["pool", "recent", "full", "unknown"]
    waiting: int = Field(description="Machines of the default kind that are booted already.")


class StatusOut(BaseModel):
    version: str
    organisation: str
    site: str
    ready: bool
    parts: dict[str, bool]
    forecast: ForecastOut
    machines: int
    fault_ours: bool = Field(description="So many nodes are silent at once that nothing is moved or declared lost.")


class PoolOut(Out):
    image: str
    size: str
    waiting: int
    starting: int
    wanted: int
    fixed: int | None
    memory_mib: int = Field(description="What those that wait hold.")
    taken: int = Field(description="Requests of the last week that found one.")
    missed: int = Field(description="Requests of the last week that had to boot because none waited.")


class PoolList(BaseModel):
    items: list[PoolOut]


class PoolIn(In):
    fixed: int | None = Field(ge=0, le=20, description="How many wait per node; null: as many as demand says.")


class PoolPath(BaseModel):
    model_config = ConfigDict(extra="forbid")
    image: str = Field(max_length=64)
    size: str = Field(max_length=32)


class SizeList(BaseModel):
    items: list[SizeOut]


class NodeList(BaseModel):
    items: list[NodeOut]
    cursor: str | None = None
