"""Shapes of the overlay's routes; they mirror `services/site_views.py` and `services/invitations.py`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from garage.api.schemas import Digits, In, NameIn, NoQuery, Out, Time


class SiteRef(NoQuery):
    ref: str = Field(max_length=64, description="The site's name.")


class SitePlaceIn(In):
    latitude: float = Field(ge=-90, le=90, description="Degrees, north positive.")
    longitude: float = Field(ge=-180, le=180, description="Degrees, east positive.")


class PeerRef(SiteRef):
    peer: str = Field(max_length=64)


class SiteRelayIn(In):
    may: bool = Field(description="Whether it may be made a hub.")


class InvitationRef(NoQuery):
    ref: str = Field(max_length=64, description="An id, or the name of a site that is invited.")


class HistoryQuery(NoQuery):
    hours: Digits = Field(24, ge=1, le=24)


class SiteInvitationIn(In):
    name: NameIn = Field(description="What the site will be called; part of its machines' names.")
    ttl_seconds: float = Field(86_400, description="How long the invitation is valid.")
    own_name: NameIn | None = Field(
        None, description="What this garage's own site will be called; needed once, while it is called home."
    )
    node: bool = Field(False, description="One more node of a site that is a member.")


class SettingsIn(In):
    bfd_ms: int | None = Field(None, ge=50, le=60_000, description="Three missed packets of this interval end a link.")
    mesh_sites: int | None = Field(None, ge=2, le=50, description="Up to so many sites all are linked to all.")
    measure_days: int | None = Field(
        None, ge=0, le=31, description="Throughput is measured every so many nights; 0: never."
    )
    measure_mbit: int | None = Field(None, ge=1, le=10_000, description="Most Mb/s of a measurement of throughput.")
    measure_seconds: int | None = Field(None, ge=1, le=5, description="Most seconds of one, each way.")


class SiteInvitationOut(Out):
    id: str
    site: str
    state: str = Field(description="open, used, expired, withdrawn")
    own: bool
    adds_node: bool
    created_by: str
    created_at: Time
    expires_at: Time
    used_at: Time | None


class SiteInvitationCreated(SiteInvitationOut):
    token: str = Field(description="Shown this once.")
    line: str = Field(description="The line to hand over: to be typed on the site's server.")
    reachable: bool = Field(description="False where this garage listens on its own server alone: nobody could join.")


class SiteInvitationList(BaseModel):
    items: list[SiteInvitationOut]


class SiteNodeOut(Out):
    name: str
    state: str = Field(description="joining, up, paused, silent, refusing, copied (its files are on two servers)")
    addresses: list[str]
    outside: list[str] = Field(description="Where its peers see it, if that is somewhere else.")
    ways: list[str] = Field(description="In IPv4 and IPv6: open, cone, symmetric, closed.")
    kernel: bool = Field(description="Its links are the kernel's; otherwise processes, of which it carries fewer.")
    links: int
    links_up: int
    spec_version: int
    applied_version: int
    reported_at: Time | None
    refusal: dict[str, Any] | None
    alarms: list[str]
    problems: list[str]


class SiteOut(Out):
    name: str
    state: str = Field(description="The worst of its nodes' states; invited without a node.")
    asn: int
    ipv4: str
    ipv6: str
    proposed_ipv4: str
    proposed_ipv6: str
    renumber: bool = Field(description="The site has yet to take the prefixes given here.")
    own: bool
    hub: bool = Field(description="It carries other sites' packets now.")
    relay: bool = Field(description="It may be made a hub.")
    latitude: float | None = Field(description="Degrees, north positive; null where nobody has said where the site is.")
    longitude: float | None = Field(description="Degrees, east positive.")
    created_at: Time
    alarms: list[str] = Field(description="What its nodes say of others.")
    accusations: list[str] = Field(description="What others' nodes say of it, each with the accuser's name.")
    nodes: list[SiteNodeOut]


class SiteList(BaseModel):
    items: list[SiteOut]


class LinkOut(Out):
    number: int
    a_site: str
    a_node: str
    b_site: str
    b_node: str
    reason: str
    state: str = Field(description="up, down, waiting, draining")
    since: Time | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss: float | None
    preference: int | None
    mtu: int
    a_to_b_bps: float | None = Field(None, description="Throughput as last measured, bits per second.")
    b_to_a_bps: float | None = None
    measured_at: Time | None = None


class LinkList(BaseModel):
    items: list[LinkOut]


class SampleOut(Out):
    rtt_ms: float | None
    jitter_ms: float | None
    loss: float | None


class HistoryOut(Out):
    site: str
    peer: str
    start: Time
    samples: list[SampleOut] = Field(description="One a minute, from `start` on.")
