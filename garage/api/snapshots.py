"""Routes of machines' snapshots."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, context, mutate, with_failure
from garage.core.snapshots import How, SnapshotState
from garage.services import snapshots

api = blueprint("snapshots", "machines", "/machines/<ref>/snapshots")


class SnapshotIn(s.In):
    name: s.NameIn = Field("", description="Empty: one is made up.")
    crash_consistent: bool = Field(
        False, description="Of a machine that runs: without freezing its file systems, as after a power cut."
    )


class SnapshotOut(s.Out):
    id: str
    name: str
    machine: str = Field(description="Its id.")
    state: SnapshotState
    how: How = Field(
        description="In what condition the disk was copied: the machine off, its file systems frozen, or as after a power cut."
    )
    image: str = Field(description="On which it lies.")
    disk_gib: int = Field(description="Of the disk, as the machine saw it.")
    held_gib: int = Field(description="What it takes of the project's quota.")
    bytes: int = Field(description="Of its file; 0 before it is made.")
    owner: str
    created_at: s.Time
    made_at: s.Time | None
    error: s.FailureOut | None = Field(description="Why it was not made, or could not be returned to.")
    reverting: bool = Field(description="The machine is being returned to it.")
    actions: list[Literal["revert", "delete"]]


class SnapshotList(BaseModel):
    items: list[SnapshotOut]


class SnapshotRef(s.Ref):
    snapshot: str = Field(max_length=64)


@api.get("", responses={200: SnapshotList})
def list_snapshots(path: s.Ref) -> dict[str, Any]:
    """A machine's snapshots, the newest first."""
    return {"items": [with_failure(SnapshotOut, view) for view in snapshots.listing(context(), caller(), path.ref)]}


@api.post("", responses={202: SnapshotOut})
def create_snapshot(header: s.MutationHeader, path: s.Ref, body: SnapshotIn) -> Response:  # noqa: ARG001
    """Keep the disk as it is now, of a machine that is off or runs; it is `ready` a moment later."""
    who, ref, name, crash = caller(), path.ref, body.name, body.crash_consistent
    return mutate(
        202, lambda ctx: with_failure(SnapshotOut, snapshots.create(ctx, who, ref, name, crash_consistent=crash))
    )


@api.get("/<snapshot>", responses={200: SnapshotOut})
def get_snapshot(path: SnapshotRef) -> dict[str, Any]:
    """One snapshot."""
    return with_failure(SnapshotOut, snapshots.get(context(), caller(), path.ref, path.snapshot))


@api.post("/<snapshot>/revert", responses={202: SnapshotOut})
def revert_to_snapshot(header: s.MutationHeader, path: SnapshotRef) -> Response:  # noqa: ARG001
    """Return a machine that is off to it: what came on its disk since is lost. Name, addresses, keys and lease stay."""
    who = caller()
    return mutate(202, lambda ctx: with_failure(SnapshotOut, snapshots.revert(ctx, who, path.ref, path.snapshot)))


@api.delete("/<snapshot>", responses={202: SnapshotOut})
def delete_snapshot(header: s.MutationHeader, path: SnapshotRef) -> Response:  # noqa: ARG001
    """Delete a snapshot; one that is being made is called off."""
    who = caller()
    return mutate(202, lambda ctx: with_failure(SnapshotOut, snapshots.delete(ctx, who, path.ref, path.snapshot)))
