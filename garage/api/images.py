"""Routes of images: what one may use, and those on their way."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import MAX_BODY, answer, blueprint, caller, context, mutate, page, with_failure
from garage.errors import N_, GarageError
from garage.services import image_tasks, image_views, images
from garage.services.context import Context
from garage.services.image_tasks import NewImage

api = blueprint("images", "images")
Visibility = Literal["own", "project", "all"]


class ImageIn(s.In):
    name: str = Field(max_length=64, examples=["ubuntu-24.04"])
    sha256: str = Field(max_length=64, description="Of the file as it comes, hexadecimal; it is compared.")
    url: str | None = Field(None, max_length=2000, description="http or https, of the internet at large.")
    bytes: int | None = Field(None, ge=1, description="Of a file that you upload: PUT /image-tasks/{ref}/file.")
    format: Literal["qcow2", "raw"] = Field(
        "qcow2", description="Of the disk; gz, xz and zst around it are seen by themselves."
    )
    boot: Literal["bios", "uefi"] = Field("bios", description="How its own loader is started.")
    visibility: Visibility = Field("own", description="Who may use it.")
    project: str | None = Field(None, max_length=80, description="With visibility “project”; by default your own.")


class RecipeIn(s.In):
    """Either `name` or `recipe`."""

    name: str | None = Field(None, max_length=64, description="Of a recipe that ships.", examples=["debian-13"])
    recipe: str | None = Field(None, max_length=MAX_BODY // 2, description="A recipe's whole text (TOML).")
    base: str | None = Field(
        None, max_length=MAX_BODY // 2, description="That of the recipe which it names as its base."
    )


class RecipeOut(s.Out):
    name: str
    title: str


class RecipeList(BaseModel):
    items: list[RecipeOut]


class VisibilityIn(s.In):
    visibility: Visibility
    project: str | None = Field(None, max_length=80)


class ImageTaskOut(s.Out):
    """An image on its way."""

    id: str
    kind: str = Field(description="import, build, save")
    name: str
    url: str = Field(description="Of an import; empty: the file is uploaded.")
    format: str
    boot: str
    visibility: str
    owner: str
    state: str = Field(description="uploading, waiting, running, failed, done")
    step: str
    done: int
    total: int = Field(description="Of the step, in bytes (per mille of a build); 0: not known.")
    error: s.FailureOut | None
    asked_at: s.Time


class ImageTaskList(BaseModel):
    items: list[ImageTaskOut]


class ImageRef(s.NoQuery):
    """An id, or a name."""

    ref: str = Field(max_length=64)


class ImageQuery(s.NoQuery):
    limit: s.Digits = Field(200, ge=1, le=500)
    cursor: str | None = Field(None, pattern=f"^{image_views.CURSOR}$", description="What the page before gave.")
    search: str = Field("", max_length=64, description="Part of a name.")
    only: Literal["all", "current", "older"] = Field("all", description="“current”: what its name means now.")


@api.get("/images", responses={200: s.ImageList})
def list_images(query: ImageQuery) -> dict[str, Any]:
    """Images that you may use, the current ones first, a page at a time."""
    return page(s.ImageOut, image_views.page(context(), caller(), **query.model_dump()))


@api.get("/images/<ref>", responses={200: s.ImageOut})
def get_image(path: ImageRef) -> dict[str, Any]:
    """One image, by id or name."""
    return answer(s.ImageOut, images.get(context(), caller(), path.ref))


@api.delete("/images/<ref>", responses={204: None})
def delete_image(header: s.MutationHeader, path: ImageRef) -> Response:  # noqa: ARG001
    """Delete an image of yours that no machine is made of."""
    who = caller()
    return mutate(204, lambda ctx: images.delete(ctx, who, path.ref))


@api.put("/images/<ref>/visibility", responses={200: s.ImageOut})
def share_image(header: s.MutationHeader, path: ImageRef, body: VisibilityIn) -> Response:  # noqa: ARG001
    """Say who may use an image of yours."""
    who = caller()
    return mutate(200, lambda ctx: answer(s.ImageOut, images.share(ctx, who, path.ref, body.visibility, body.project)))


@api.post("/image-imports", responses={201: ImageTaskOut})
def import_image(header: s.MutationHeader, body: ImageIn) -> Response:  # noqa: ARG001
    """Bring an image from a URL, or from a file that you upload after this."""
    who = caller()
    wanted = NewImage(**body.model_dump(exclude={"url", "bytes"}), url=body.url or "", bytes=body.bytes or 0)
    return mutate(201, lambda ctx: with_failure(ImageTaskOut, image_tasks.bring(ctx, who, wanted)))


@api.post("/image-builds", responses={201: ImageTaskOut})
def build_image(header: s.MutationHeader, body: RecipeIn) -> Response:  # noqa: ARG001
    """Build the image of a recipe, for all (admin)."""
    who, text = caller(), body.recipe
    if (text is None) == (body.name is None):
        hint = N_("the name of one that ships, or the text of one of your own")
        raise GarageError("invalid_field", N_("say which recipe"), hint=hint, pointer="/name" if text else "/recipe")

    def act(ctx: Context) -> dict[str, Any]:
        asked = (
            image_tasks.build_shipped(ctx, who, body.name or "")
            if text is None
            else image_tasks.build(ctx, who, text, body.base or "")
        )
        return with_failure(ImageTaskOut, asked)

    return mutate(201, act)


@api.get("/recipes", responses={200: RecipeList})
def list_recipes() -> dict[str, Any]:
    """Recipes that ship with the garage, by the names of their images."""
    caller()
    return {"items": [answer(RecipeOut, found) for found in context().recipes.values()]}


@api.get("/image-tasks", responses={200: ImageTaskList})
def list_image_tasks() -> dict[str, Any]:
    """Your images on their way, and the last word about those that have ended."""
    return {"items": [with_failure(ImageTaskOut, view) for view in image_tasks.listing(context(), caller())]}


@api.get("/image-tasks/<ref>", responses={200: ImageTaskOut})
def get_image_task(path: ImageRef) -> dict[str, Any]:
    """How far one is, by id or name."""
    return with_failure(ImageTaskOut, image_tasks.get(context(), caller(), path.ref))


@api.delete("/image-tasks/<ref>", responses={204: None})
def cancel_image_task(header: s.MutationHeader, path: ImageRef) -> Response:  # noqa: ARG001
    """Call one off, or forget one that has ended."""
    who = caller()
    return mutate(204, lambda ctx: image_tasks.cancel(ctx, who, path.ref))
