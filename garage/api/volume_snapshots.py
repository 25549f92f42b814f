"""Routes of volumes' snapshots."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, context, mutate, with_failure
from garage.api.snapshots import SnapshotRef
from garage.core.snapshots import How, SnapshotState
from garage.services import volume_snapshots

api = blueprint("volume_snapshots", "volumes", "/volumes/<ref>/snapshots")


class VolumeSnapshotIn(s.In):
    name: s.NameIn = Field("", description="Empty: one is made up.")
    crash_consistent: bool = Field(
        False,
        description="Of a running machine's, without freezing its file systems: what is on it is as after a power cut.",
    )


class VolumeSnapshotOut(s.Out):
    id: str
    name: str
    volume: str = Field(description="Its id.")
    state: SnapshotState
    how: How = Field(description="In what condition it was when it was copied; `off`: nobody wrote on it.")
    size_gib: int = Field(description="Of the volume then.")
    held_gib: int = Field(description="What it takes of the project's quota.")
    bytes: int = Field(description="Of its file; 0 before it is made.")
    owner: str
    created_at: s.Time
    made_at: s.Time | None
    error: s.FailureOut | None = Field(description="Why it was not made, or could not be returned to.")
    reverting: bool = Field(description="The volume is being returned to it.")
    actions: list[Literal["revert", "delete"]]


class VolumeSnapshotList(BaseModel):
    items: list[VolumeSnapshotOut]


@api.get("", responses={200: VolumeSnapshotList})
def list_volume_snapshots(path: s.Ref) -> dict[str, Any]:
    """A volume's snapshots, the newest first."""
    return {
        "items": [
            with_failure(VolumeSnapshotOut, view) for view in volume_snapshots.listing(context(), caller(), path.ref)
        ]
    }


@api.post("", responses={202: VolumeSnapshotOut})
def create_volume_snapshot(header: s.MutationHeader, path: s.Ref, body: VolumeSnapshotIn) -> Response:  # noqa: ARG001
    """Keep what is on a volume now; no machine has it, or one that is ready or off. It is `ready` when it is copied."""
    who, ref, name, crash = caller(), path.ref, body.name, body.crash_consistent
    return mutate(
        202,
        lambda ctx: with_failure(
            VolumeSnapshotOut, volume_snapshots.create(ctx, who, ref, name, crash_consistent=crash)
        ),
    )


@api.get("/<snapshot>", responses={200: VolumeSnapshotOut})
def get_volume_snapshot(path: SnapshotRef) -> dict[str, Any]:
    """One snapshot."""
    return with_failure(VolumeSnapshotOut, volume_snapshots.get(context(), caller(), path.ref, path.snapshot))


@api.post("/<snapshot>/revert", responses={202: VolumeSnapshotOut})
def revert_volume(header: s.MutationHeader, path: SnapshotRef) -> Response:  # noqa: ARG001
    """Return a volume to it, that no machine has or one that is off: what came on it since is lost. It does not shrink."""
    who = caller()
    return mutate(
        202, lambda ctx: with_failure(VolumeSnapshotOut, volume_snapshots.revert(ctx, who, path.ref, path.snapshot))
    )


@api.delete("/<snapshot>", responses={202: VolumeSnapshotOut})
def delete_volume_snapshot(header: s.MutationHeader, path: SnapshotRef) -> Response:  # noqa: ARG001
    """Delete a snapshot; one that is being made is called off."""
    who = caller()
    return mutate(
        202, lambda ctx: with_failure(VolumeSnapshotOut, volume_snapshots.delete(ctx, who, path.ref, path.snapshot))
    )
