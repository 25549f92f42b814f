"""Shapes of why a machine is where it is, and of where one would go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from garage.api.schemas import NoQuery, Out, Time


class PlacementQuery(NoQuery):
    project: str | None = Field(None, max_length=64)
    image: str = Field("debian-12", max_length=64)
    size: str = Field("small", max_length=64)
    apart: str = Field("", max_length=64)
    node_label: list[str] = Field([], description="KEY=VALUE; may be given several times.")


class LackOut(Out):
    what: Literal["state", "silent", "away", "unknown", "labels", "apart", "disk", "promised", "memory", "vcpus"]
    needed: str | float
    found: str | float
    text: str = Field(description="In the caller's language.")


class NodeVerdictOut(Out):
    node: str
    here: bool = Field(description="The machine is on it.")
    fits: bool
    score: float = Field(description="The highest that fits is chosen; of equal ones the first by name.")
    parts: dict[str, float] = Field(
        description="Summands: pool (one that waits), image (it is there), spread or pack (share of RAM)."
    )
    lacks: list[LackOut]


class OutlookOut(Out):
    policy: Literal["spread", "pack"]
    node: str | None = Field(description="What would be chosen.")
    nodes: list[NodeVerdictOut] = Field(description="At most 50, the best first, then those that lack least.")
    total: int
    fitting: int
    lacking: dict[str, int] = Field(description="Nodes by what they lack.")


class SecondOut(Out):
    node: str
    parts: dict[str, float]


class PlacedOut(Out):
    policy: str
    fitting: int = Field(description="Nodes that fitted.")
    parts: dict[str, float]
    second: SecondOut | None = Field(None, description="Where it would have gone otherwise.")


class ExplanationOut(Out):
    name: str
    node: str
    placed_at: Time
    then: PlacedOut | None = Field(description="What was true when it was placed; null where nobody knows.")
    now: OutlookOut | None = Field(description="Where it would go if it were not there yet; null for one that is gone.")
