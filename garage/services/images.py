"""Images as the database knows them; building and storing them is the worker's and the set-up's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from garage.core.states import COUNTED
from garage.db.models import Image, Machine
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_admin
from garage.services.views import ImageView


def register(ctx: Context, name: str, sha256: str, manifest: dict[str, Any]) -> ImageView:
    """Make the stored image `sha256` the current one of its name; machines of the older one keep it."""
    with ctx.db.write() as session:
        image = session.scalars(select(Image).where(Image.sha256 == sha256)).first()
        if image is None:
            image = Image(id=ctx.new_id(), name=name, sha256=sha256, manifest=manifest, created_at=ctx.clock())
            session.add(image)
            audit(session, ctx, "garage", "image.register", name, sha256=sha256)
        session.execute(update(Image).where(Image.name == name, Image.sha256 != sha256).values(current=False))
        image.current = True
        session.flush()
        return _view(image)


def listing(ctx: Context, _caller: Caller) -> list[ImageView]:
    """All images, the current ones first."""
    with ctx.db.read() as session:
        rows = session.scalars(select(Image).order_by(Image.current.desc(), Image.name, Image.id.desc()))
        return [_view(image) for image in rows]


def forget(ctx: Context, caller: Caller, sha256: str) -> None:
    """Take an unused, superseded image out of the list; its files can be removed after that."""
    require_admin(caller)
    with ctx.db.write() as session:
        image = session.scalars(select(Image).where(Image.sha256 == sha256)).first()
        if image is None:
            raise GarageError("not_found", N_("there is no image {name}"), name=sha256[:64])
        counted = [state.value for state in COUNTED]
        if image.current or session.scalar(
            select(Machine.id).where(Machine.image_id == image.id, Machine.state.in_(counted))
        ):
            raise GarageError(
                "in_use", N_("the image {name} is in use"), hint=N_("delete its machines first"), name=image.name
            )
        session.delete(image)
        audit(session, ctx, caller.name, "image.delete", image.name, sha256=sha256)


def _view(image: Image) -> ImageView:
    return ImageView(image.id, image.name, image.sha256, image.current, image.created_at, image.manifest)
