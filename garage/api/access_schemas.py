"""Shapes of sessions and of service accounts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from garage.api.schemas import In, NameIn, Out, Ref, Time, TokenOut

Scope = Literal["all", "project", "machines", "read"]


class SessionOut(Out):
    id: str
    created_at: Time
    expires_at: Time
    address: str
    agent: str = Field(description="What the browser calls itself.")
    method: str = Field("password", description="How you signed in there: “password” or “openid”.")


class SessionList(BaseModel):
    items: list[SessionOut]


class ServiceIn(In):
    name: NameIn


class ServiceTokenIn(In):
    name: str = Field(min_length=1, max_length=64)
    days: float | None = Field(None, gt=0, le=3650)
    scope: Scope = "machines"


class ServiceOut(Out):
    name: str
    created_at: Time
    tokens: list[TokenOut]


class ServiceList(BaseModel):
    items: list[ServiceOut]


class ServiceRef(Ref):
    account: str = Field(max_length=80)


class ServiceTokenRef(ServiceRef):
    token: str = Field(max_length=80)
