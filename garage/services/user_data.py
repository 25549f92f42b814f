"""What people give a machine at its first boot, compared with what its image's cloud-init takes."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core.cloud_schema import look
from garage.core.userdata import check_user_data, is_cloud_config
from garage.db.image_models import CloudSchema
from garage.db.models import Image
from garage.errors import N_, GarageError
from garage.services import images
from garage.services.context import Caller, Context

RECENT = 20
"""Images of the garage's own among which another one's schema is looked for."""


def check(ctx: Context, caller: Caller, image: str, text: str) -> tuple[GarageError, ...]:
    """User-data for a machine of `image`: what will not go well although it is taken. Raises `invalid_field` of what cloud-init
    would leave out, with the rest in `others`; of an image that brought no schema along nothing is refused by another's."""
    return _compared(ctx, text, lambda session: images.find(session, caller, image))


def check_for(ctx: Context, caller: Caller, ref: str, text: str) -> tuple[GarageError, ...]:
    """The same of an image by name or id, older ones included, for whoever wants to know it beforehand."""
    return _compared(ctx, text, lambda session: images.seen(session, caller, ref))


def _compared(ctx: Context, text: str, found_by: Callable[[Session], Image]) -> tuple[GarageError, ...]:
    with ctx.db.read() as session:
        name, schema, of = _schema_for(session, found_by(session))
    check_user_data(text)
    if not is_cloud_config(text):
        return ()
    if not schema:
        told = N_("the image {image} does not say what its cloud-init takes; only the YAML of user-data was looked at")
        return (_note(told, image=name),)
    found = look(text, schema)
    if of != name:
        told = N_(
            "the image {image} does not say what its cloud-init takes; user-data was compared with that of {other}"
        )
        return (_note(told, image=name, other=of), *found.wrong, *found.doubtful)
    if found.wrong:
        first = found.wrong[0]
        first.others = found.wrong[1:]
        raise first
    return found.doubtful


def _schema_for(session: Session, image: Image) -> tuple[str, str, str]:
    """(the image's name, a schema, the name of the image that brought it)"""
    own = select(Image).where(Image.owner_id.is_(None), Image.deleted_at.is_(None)).order_by(Image.created_at.desc())
    for each in (image, *session.scalars(own.limit(RECENT))):
        row = session.get(CloudSchema, str(each.manifest.get(images.SCHEMA) or ""))
        if row is not None:
            return image.name, row.text, each.name
    return image.name, "", ""


def _note(text: str, **params: str) -> GarageError:
    return GarageError("invalid_field", text, pointer="/user_data", **params)
