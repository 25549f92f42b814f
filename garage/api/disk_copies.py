"""Routes of copies of machines' disks; the file itself is the gateway's."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response, current_app
from pydantic import Field

from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, locale, mutate
from garage.errors import GarageError
from garage.services import disk_copies
from garage.services.disk_copies import DiskCopyView

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


def shown(view: DiskCopyView) -> dict[str, Any]:
    """With the error in the caller's language."""
    fields = {name: getattr(view, name) for name in DiskCopyOut.model_fields} | {"error": None}
    if view.error:
        translate = current_app.extensions["garage_translate"]
        _, detail, hint = translate(GarageError.from_dict(view.error), locale())
        fields["error"] = {"code": view.error["code"], "detail": detail, "hint": hint}
    return answer(DiskCopyOut, fields)


@api.get("", responses={200: DiskCopyOut})
def get_disk_copy(path: s.Ref) -> dict[str, Any]:
    """Whether a copy of its disk can be fetched, or how far it is."""
    return shown(disk_copies.get(context(), caller(), path.ref))


@api.post("", responses={202: DiskCopyOut})
def make_disk_copy(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Make a copy of the disk of a machine that is stopped, also after its lease: one qcow2 file, which stands alone, for a day."""
    who = caller()
    return mutate(202, lambda ctx: shown(disk_copies.ask(ctx, who, path.ref)))
