"""Routes of images that are made of machines."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, mutate, with_failure
from garage.api.images import ImageTaskOut, Visibility
from garage.services import saving
from garage.services.saving import NewSave

api = blueprint("saving", "images")


class SaveIn(s.In):
    machine: s.Text = Field(max_length=80, description="An id, NAME or NAME.PROJECT.", examples=["arm-test"])
    name: s.Text = Field(max_length=64, description="Of the image.", examples=["arm-base"])
    snapshot: s.Text | None = Field(
        None, max_length=64, description="One of the machine's, instead of its disk: then it need not be stopped."
    )
    visibility: Visibility = Field("own", description="Who may use it.")
    project: s.Text | None = Field(
        None, max_length=80, description="With visibility “project”; by default the machine's."
    )


@api.post("/image-saves", responses={201: ImageTaskOut})
def save_image(header: s.MutationHeader, body: SaveIn) -> Response:  # noqa: ARG001
    """Make an image of a machine that is stopped. Host keys, machine-id, logs, people's keys and cloud-init's state are not in it."""
    who = caller()
    wanted = NewSave(body.name, body.snapshot or "", body.visibility, body.project)
    return mutate(201, lambda ctx: with_failure(ImageTaskOut, saving.save(ctx, who, body.machine, wanted)))
