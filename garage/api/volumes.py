"""Routes of volumes."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, context, mutate, with_failure
from garage.core.volumes import MOST_GIB, VolumeState
from garage.services import volumes
from garage.services.volumes import NewVolume

api = blueprint("volumes", "volumes", "/volumes")


class VolumeIn(s.In):
    name: s.NameIn
    size_gib: int = Field(ge=1, le=MOST_GIB)
    project: s.Text | None = Field(None, max_length=64, description="Whose it is; your own project otherwise.")
    machine: s.Text | None = Field(None, max_length=64, description="That gets it as soon as it is made.")


class AttachIn(s.In):
    machine: s.Text = Field(max_length=64, description="By id, NAME or NAME.PROJECT.")


class GrowIn(s.In):
    size_gib: int = Field(ge=1, le=MOST_GIB)


class VolumeOut(s.Out):
    id: str
    name: str
    project: str
    owner: str
    state: VolumeState
    node: str
    size_gib: int = Field(description="As it shall be: what it takes of the project's quota.")
    made_gib: int = Field(description="How large it is by now; 0 before it is made.")
    machine: str | None = Field(description="The name of the machine that has it.")
    machine_id: str | None
    path: str = Field(description="Where its machine finds it.")
    created_at: s.Time
    error: s.FailureOut | None = Field(description="Why the last thing asked of it was not done.")
    actions: list[Literal["attach", "detach", "grow", "snapshot", "delete"]]


class VolumeList(BaseModel):
    items: list[VolumeOut]
    cursor: str | None = None


class VolumeQuery(s.NoQuery):
    limit: s.Digits = Field(50, ge=1, le=200)
    cursor: str | None = Field(None, pattern=r"^[0-9a-f]{20}$", description="What the page before gave.")
    project: str | None = Field(None, max_length=64)
    machine: str | None = Field(None, max_length=64, description="That this machine has.")


@api.get("", responses={200: VolumeList})
def list_volumes(query: VolumeQuery) -> dict[str, Any]:
    """Your projects' volumes, the newest first, a page at a time."""
    page = volumes.listing(context(), caller(), **query.model_dump())
    return {"items": [with_failure(VolumeOut, view) for view in page.items], "cursor": page.cursor}


@api.post("", responses={202: VolumeOut})
def create_volume(header: s.MutationHeader, body: VolumeIn) -> Response:  # noqa: ARG001
    """Ask for an empty disk that outlives machines; it is `available` a moment later."""
    who, wanted = caller(), NewVolume(**body.model_dump())
    return mutate(202, lambda ctx: with_failure(VolumeOut, volumes.create(ctx, who, wanted)))


@api.get("/<ref>", responses={200: VolumeOut})
def get_volume(path: s.Ref) -> dict[str, Any]:
    """One volume, by id, NAME or NAME.PROJECT."""
    return with_failure(VolumeOut, volumes.get(context(), caller(), path.ref))


@api.post("/<ref>/attach", responses={202: VolumeOut})
def attach_volume(header: s.MutationHeader, path: s.Ref, body: AttachIn) -> Response:  # noqa: ARG001
    """Give it to a machine of its project on its node, which may run; its guest finds it at `path`."""
    who, ref, machine = caller(), path.ref, body.machine
    return mutate(202, lambda ctx: with_failure(VolumeOut, volumes.attach(ctx, who, ref, machine)))


@api.post("/<ref>/detach", responses={202: VolumeOut})
def detach_volume(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Take it from its machine, which may run but must not have it mounted."""
    who, ref = caller(), path.ref
    return mutate(202, lambda ctx: with_failure(VolumeOut, volumes.detach(ctx, who, ref)))


@api.post("/<ref>/grow", responses={202: VolumeOut})
def grow_volume(header: s.MutationHeader, path: s.Ref, body: GrowIn) -> Response:  # noqa: ARG001
    """Make it larger, also while a machine uses it; the file system on it is grown there. It never shrinks."""
    who, ref, size = caller(), path.ref, body.size_gib
    return mutate(202, lambda ctx: with_failure(VolumeOut, volumes.grow(ctx, who, ref, size)))


@api.delete("/<ref>", responses={202: VolumeOut})
def delete_volume(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Delete a volume that no machine has, with all that is on it."""
    who, ref = caller(), path.ref
    return mutate(202, lambda ctx: with_failure(VolumeOut, volumes.delete(ctx, who, ref)))
