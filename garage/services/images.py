"""Images as the database knows them: who may use which, and what becomes of one; storing them is the worker's and the set-up's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import and_, case, func, or_, select, true, update
from sqlalchemy.orm import Session

from garage.core.image_files import VISIBILITIES
from garage.core.states import COUNTED
from garage.db.image_models import CloudSchema
from garage.db.models import Image, Machine
from garage.db.snapshot_models import Snapshot
from garage.errors import N_, GarageError
from garage.services import image_quota
from garage.services.context import Caller, Context, audit
from garage.services.image_views import mine, users_of, view_of
from garage.services.rights import project_for
from garage.services.views import ImageView

SCHEMA = "user_data_schema"
"""In a manifest: the sha256 of what its cloud-init takes."""
OLD = 7 * 86_400.0
"""Seconds after which stored files are compared with their sha256 again."""


def register(ctx: Context, name: str, sha256: str, manifest: dict[str, Any], schema: str = "") -> ImageView:
    """Make the stored image `sha256` the garage's current one of its name; machines of the older one keep it.
    `schema`: what its cloud-init takes, as the manifest names it. Raises `already_exists` where it is somebody's."""
    with ctx.db.write() as session:
        learn(session, manifest, schema)
        image = stored(session, sha256, None)
        if image is None:
            image = Image(id=ctx.new_id(), name=name, sha256=sha256, manifest=manifest, created_at=ctx.clock())
            image.bytes = size_of(manifest)
            session.add(image)
            audit(session, ctx, "garage", "image.register", name, sha256=sha256)
        image.verified_at, image.damaged, image.deleted_at = ctx.clock(), False, None
        make_current(session, image)
        return view_of(session, image)


def stored(session: Session, sha256: str, owner_id: str | None) -> Image | None:
    """The row of a stored image, deleted or not, for its owner (None: the garage) to bring once more; raises `already_exists` where it
    is another's, which stays as it is."""
    image = session.scalars(select(Image).where(Image.sha256 == sha256)).first()
    if image is None or image.owner_id == owner_id:
        return image
    raise GarageError(
        "already_exists",
        N_("just this image, byte by byte, is stored already, and belongs to somebody else"),
        hint=N_("bring it once more: each time it is stored as a file of its own"),
    )


def size_of(manifest: Mapping[str, Any]) -> int:
    """Bytes of the stored disk."""
    return int(manifest.get("bytes") or 0)


def learn(session: Session, manifest: Mapping[str, Any], schema: str) -> None:
    """Keep the schema of cloud-init that a manifest names; it is one row for all images with the same release."""
    sha256 = str(manifest.get(SCHEMA) or "")
    if sha256 and schema and session.get(CloudSchema, sha256) is None:
        session.add(CloudSchema(sha256=sha256, text=schema))


def make_current(session: Session, image: Image) -> None:
    """It is what its name means from now on to the people whose it is."""
    session.flush()
    same = and_(*(getattr(Image, name).is_not_distinct_from(getattr(image, name)) for name in _SCOPE))
    session.execute(update(Image).where(same, Image.id != image.id).values(current=False))
    image.current = True
    session.flush()


_SCOPE = ("name", "visibility", "owner_id", "project_id")


USABLE = and_(Image.current, Image.deleted_at.is_(None), Image.damaged.is_(False))


def find(session: Session, caller: Caller, name: str) -> Image:
    """What the caller's machines of that name boot: one's own before the project's before everybody's."""
    nearest = case({"own": 0, "project": 1}, value=Image.visibility, else_=2)
    usable = select(Image).where(USABLE, mine(caller))
    if image := session.scalars(usable.where(Image.name == name).order_by(nearest, Image.id.desc())).first():
        return image
    have = ", ".join(session.scalars(select(Image.name).distinct().where(USABLE, mine(caller)).order_by(Image.name)))
    raise GarageError(
        "invalid_field",
        N_("there is no image {name}"),
        hint=N_("there are: {have}"),
        pointer="/image",
        name=name[:64],
        have=have or "-",
    )


def usable(ctx: Context, caller: Caller) -> list[ImageView]:
    """What the caller's new machines may boot, one of each name: as `find` finds it."""
    with ctx.db.read() as session:
        names = session.scalars(select(Image.name).distinct().where(USABLE, mine(caller)).order_by(Image.name))
        return [view_of(session, find(session, caller, name)) for name in names.all()]


def get(ctx: Context, caller: Caller, ref: str) -> ImageView:
    with ctx.db.read() as session:
        image = seen(session, caller, ref)
        return view_of(session, image, users_of(session, [image]), caller)


def delete(ctx: Context, caller: Caller, ref: str) -> None:
    """Nobody may use it any more; its files go. Raises `in_use` while machines are made of it."""
    with ctx.db.write() as session:
        image = _own(session, caller, ref)
        if count := users_of(session, [image])[image.id]:
            raise GarageError(
                "in_use",
                N_("the image {name} is in use (machines made of it: {count})"),
                hint=N_("delete its machines first; one that is being deleted counts until it is gone"),
                name=image.name,
                count=count,
            )
        image.current, image.deleted_at = False, ctx.clock()
        audit(session, ctx, caller.name, "image.delete", image.name, project_id=image.project_id, sha256=image.sha256)


def share(ctx: Context, caller: Caller, ref: str, visibility: str, project: str | None) -> ImageView:
    """Say who may use it."""
    with ctx.db.write() as session:
        image = _own(session, caller, ref)
        if image.owner_id is None:
            raise GarageError(
                "forbidden", N_("{name} is the garage's own, and for all"), hint=N_("build another"), name=image.name
            )
        project_id = scope(session, caller, image.name, visibility, project, but=image)
        _check_payer(session, image, visibility, project_id)
        image.visibility, image.project_id = visibility, project_id
        if image.current:
            make_current(session, image)
        audit(session, ctx, caller.name, "image.share", image.name, project_id=project_id, visibility=visibility)
        return view_of(session, image, users_of(session, [image]), caller)


def _check_payer(session: Session, image: Image, visibility: str, project_id: str | None) -> None:
    """Raises `quota_exceeded` where it would count in another project's quota, and is too large for it."""
    before = image_quota.payer(session, image.visibility, image.project_id, image.owner_id)
    after = image_quota.payer(session, visibility, project_id, image.owner_id)
    if after is not before:
        image_quota.check(session, after, image.bytes)


def scope(
    session: Session, caller: Caller, name: str, visibility: str, project: str | None, *, but: Image | None = None
) -> str | None:
    """The id of the project for which an image of that name would be; raises `already_exists` where it would take another's place."""
    if visibility not in VISIBILITIES:
        allowed = ", ".join(VISIBILITIES)
        raise GarageError(
            "invalid_field",
            N_("{field} is one of {allowed}"),
            pointer="/visibility",
            field="visibility",
            allowed=allowed,
        )
    if project is not None and visibility != "project":
        hint = N_("leave the project out, or let its members use the image: visibility “project”")
        raise GarageError("invalid_field", N_("the image would not be a project's"), hint=hint, pointer="/project")
    project_id = project_for(session, caller, project).id if visibility == "project" else None
    others = or_(
        Image.visibility != visibility,
        Image.owner_id.is_distinct_from(caller.user_id),
        Image.project_id.is_distinct_from(project_id),
    )
    taken = select(Image.id).where(Image.name == name, Image.current, Image.deleted_at.is_(None), mine(caller), others)
    if but is not None:
        taken = taken.where(Image.id != but.id)
    if session.scalar(taken.limit(1)) is not None:
        hint = N_("take another name, or delete that one first")
        raise GarageError(
            "already_exists", N_("there is an image {name} already"), hint=hint, pointer="/name", name=name
        )
    return project_id


def condemned(ctx: Context, present: Collection[str]) -> list[str]:
    """Which of these stored images nobody may use any more, and no machine is made of: their files can go."""
    if not present:
        return []
    counted = select(Machine.image_id).where(Machine.state.in_([state.value for state in COUNTED]))
    query = select(Image.sha256).where(Image.deleted_at.is_not(None), Image.id.not_in(counted))
    query = query.where(Image.id.not_in(select(Snapshot.image_id)))
    with ctx.db.read() as session:
        return sorted(set(session.scalars(query)) & set(present))


def to_verify(ctx: Context, present: Collection[str]) -> str | None:
    """The sha256 of the one of these stored images that was looked at longest ago, if that is long."""
    last = func.coalesce(Image.verified_at, Image.created_at)
    query = select(Image.sha256).where(Image.deleted_at.is_(None), last < ctx.clock() - OLD).order_by(last)
    with ctx.db.read() as session:
        return next((sha256 for sha256 in session.scalars(query) if sha256 in present), None)


def verified(ctx: Context, sha256: str, *, damaged: str = "") -> None:
    """Note what was found; `damaged` names the file that differs."""
    with ctx.db.write() as session:
        image = session.scalars(select(Image).where(Image.sha256 == sha256)).one()
        if damaged and not image.damaged:
            audit(
                session,
                ctx,
                "garage",
                "image.damaged",
                image.name,
                project_id=image.project_id,
                sha256=sha256,
                file=damaged,
            )
        image.verified_at, image.damaged = ctx.clock(), bool(damaged)


def seen(session: Session, caller: Caller, ref: str) -> Image:
    """By id, or the current one of a name."""
    seen = true() if caller.sees_all else mine(caller)
    query = select(Image).where(seen, Image.deleted_at.is_(None))
    if found := session.scalars(query.where(or_(Image.id == ref, Image.sha256 == ref))).first():
        return found
    mine_first = Image.owner_id.is_distinct_from(caller.user_id)
    named = query.where(Image.name == ref, Image.current).order_by(mine_first, Image.visibility.desc(), Image.id)
    if found := session.scalars(named).first():
        return found
    raise GarageError(
        "not_found", N_("there is no image {name}"), hint=N_("“garage image list” shows yours"), name=ref[:64]
    )


def _own(session: Session, caller: Caller, ref: str) -> Image:
    """One that the caller may change: who brought it, or an admin."""
    image = seen(session, caller, ref)
    if caller.admin or image.owner_id == caller.user_id:
        return image
    raise GarageError(
        "forbidden",
        N_("only who brought the image {name} may do that"),
        hint=N_("ask them, or an admin"),
        name=image.name,
    )
