"""Routes of copies of machines' disks; the file itself is the gateway's."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, context, mutate, with_failure
from garage.services import disk_copies

api = blueprint("disk_copies", "machines", "/machines/<ref>/disk-copy")


class DiskCopyOut(s.Out):
    machine: str = Field(description="Its id.")
    state: Literal["none", "waiting", "running", "failed", "ready"]
    step: str
    done: int
    total: int = Field(description="Of the step, in bytes; 0: not known.")
    bytes: int = Field(description="Of the file; 0 before it is ready.")
    sha256: str = Field(description="Of the file.")
    until: s.Time | None = Field(description="When it is removed; earlier if the machine is started.")
    error: s.FailureOut | None


@api.get("", responses={200: DiskCopyOut})
def get_disk_copy(path: s.Ref) -> dict[str, Any]:
    """Whether a copy of its disk can be fetched, or how far it is."""
    return with_failure(DiskCopyOut, disk_copies.get(context(), caller(), path.ref))


@api.post("", responses={202: DiskCopyOut})
def make_disk_copy(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Make a copy of the disk of a machine that is stopped, also after its lease: one qcow2 file, which stands alone, for a day."""
    who = caller()
    return mutate(202, lambda ctx: with_failure(DiskCopyOut, disk_copies.ask(ctx, who, path.ref)))
