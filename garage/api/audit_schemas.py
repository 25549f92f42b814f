"""Shapes of the audit log's routes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints
from pydantic.functional_validators import AfterValidator

from garage.api.schemas import Digits, NoQuery, Out, Time
from garage.services.audits import Search

DATE = r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d))?$"


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


When = Annotated[str, StringConstraints(pattern=DATE), AfterValidator(_is_time)]
"""A date (its beginning in UTC), or RFC 3339."""


def seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


class AuditQuery(NoQuery):
    limit: Digits = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, max_length=18, pattern=r"^[0-9]+$")
    actor: str = Field(
        "", max_length=64, pattern=r"^[A-Za-z0-9._@+-]*$", description="Who did it: a user's name, or “garage”."
    )
    action: str = Field(
        "", max_length=64, pattern=r"^[a-z_]*(\.[a-z_]+)?$", description="As machine.create, or its kind: machine."
    )
    project: str = Field("", max_length=64, description="A project's name or id.")
    subject: str = Field("", max_length=64, description="Part of what it was done to: a machine's name, a user's, …")
    since: When | None = Field(None, description="A date (UTC), or RFC 3339.")
    until: When | None = Field(None, description="The same; not included.")
    order: Literal["newest", "oldest"] = Field("newest", description="Which come first.")

    def search(self) -> Search:
        return Search(
            self.actor,
            self.action,
            self.project,
            seconds(self.since),
            seconds(self.until),
            self.order == "oldest",
            self.subject,
        )


class AuditOut(Out):
    id: int
    at: Time
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    project: str | None = None
    number: int | None = Field(None, description="Of the entry's seal; null in its first second.")
    hash: str | None = Field(None, description="Of the chain up to this entry.")


class AuditList(BaseModel):
    items: list[AuditOut]
    cursor: str | None = None


class ProofQuery(NoQuery):
    number: Digits = Field(0, ge=0, le=1 << 53, description="A head that was noted earlier: its number …")
    hash: str = Field("", max_length=64, pattern=r"^([0-9a-f]{64})?$", description="… and its hash.")


class BrokenOut(Out):
    number: int = Field(description="Of the seal; 0 where the entry has none.")
    entry: int
    reason: Literal["missing", "changed", "added", "gap", "signature", "cut", "head"]


class ProofOut(Out):
    whole: bool
    entries: int
    waiting: int = Field(description="Entries that are not sealed yet.")
    first: int
    number: int = Field(description="The last seal: note it and its hash elsewhere, and give both to a later look.")
    hash: str
    broken: BrokenOut | None
