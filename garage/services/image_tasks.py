"""Images on their way: what somebody wants is a row, which a worker of the server that has the images carries out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, or_, select, true, update
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from garage.core import image_files, outward
from garage.core.recipe import Recipe, parse_recipe
from garage.db.image_models import ImageTask
from garage.db.models import Image, Project, User
from garage.errors import N_, GarageError
from garage.services import image_quota, images, news
from garage.services.context import Caller, Context, audit
from garage.services.image_quota import OPEN
from garage.services.rights import require_admin

DEAD_AFTER = 30.0
"""Seconds without a word of the worker that carries a task out; it says something every second."""
UPLOAD_SECONDS = 86_400.0
"""An upload that is not gone on with for so long is forgotten, and so is a task that has failed."""
GROWING = ("fetch", "convert")
"""Steps whose bytes, so far or as their source announces them, count in the quota at once."""
AT_ONCE = 3
"""Tasks of one person that have not ended."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image from a file elsewhere; `bytes` of one that is uploaded, `url` of one that is fetched."""

    name: str
    sha256: str
    url: str = ""
    bytes: int = 0
    format: str = "qcow2"
    boot: str = "bios"
    visibility: str = "own"
    project: str | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    id: str
    kind: str
    name: str
    url: str
    format: str
    boot: str
    visibility: str
    owner: str
    state: str
    step: str
    done: int
    total: int
    """Of the step, in bytes (per mille of a build); 0: not known."""
    error: dict[str, Any] | None
    asked_at: float

    @property
    def busy(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class Task:
    """As a worker has it."""

    id: str
    kind: str
    name: str
    url: str
    recipe: str
    sha256: str
    format: str
    boot: str
    total: int
    worker: str
    machine: str
    snapshot: str
    request: str


def bring(ctx: Context, caller: Caller, wanted: NewImage) -> TaskView:
    """Want an image from elsewhere. Everything that can be known beforehand is checked here."""
    name, sha256 = image_files.check_name(wanted.name), image_files.check_sha256(wanted.sha256)
    if bool(wanted.url) == bool(wanted.bytes):
        raise GarageError(
            "invalid_field",
            N_("either url or bytes is needed"),
            hint=N_("bytes of a file that you upload"),
            pointer="/url" if wanted.url else "/bytes",
        )
    image_files.check_kind(wanted.format, wanted.boot)
    url = outward.parse_url(wanted.url, pointer="/url").url if wanted.url else ""
    total = image_files.check_size(wanted.bytes) if wanted.bytes else 0
    state = "waiting" if url else "uploading"
    with ctx.db.write() as session:
        project_id = images.scope(session, caller, name, wanted.visibility, wanted.project)
        row = want(session, ctx, caller, "import", name, state, wanted.visibility, project_id)
        image_quota.reserve(session, row, total)
        row.url, row.sha256, row.total = url, sha256, total
        row.format, row.boot = wanted.format, wanted.boot
        audit(session, ctx, caller.name, "image.import", name, project_id=project_id, sha256=sha256, url=url)
        return view_of(session, row)


def build(ctx: Context, caller: Caller, recipe: str, base: str = "") -> TaskView:
    """Want the image of a recipe, for all (admin): what it installs runs as root while it is built. `base`: the text of the recipe
    that it names as its base."""
    require_admin(caller)
    parsed = _parsed(recipe, base)
    name = parsed.name
    with ctx.db.write() as session:
        row = want(session, ctx, caller, "build", name, "waiting", "all", None)
        row.recipe = json.dumps(asdict(parsed))
        audit(session, ctx, caller.name, "image.build", name)
        return view_of(session, row)


def build_shipped(ctx: Context, caller: Caller, name: str) -> TaskView:
    """The same of a recipe that ships."""
    require_admin(caller)
    if found := ctx.recipes.get(name):
        return build(ctx, caller, found.text, found.base)
    raise GarageError(
        "not_found",
        N_("no recipe {name} ships with the garage"),
        hint=N_("“garage image recipes” shows those that do; for your own: garage image build FILE.toml"),
        pointer="/name",
        name=name[:64],
    )


def _parsed(text: str, base: str) -> Recipe:
    try:
        return parse_recipe(text, base)
    except GarageError as error:
        error.pointer = "/recipe"  # of the request; the text names the recipe's own field
        raise


def want(
    session: Session,
    ctx: Context,
    caller: Caller,
    kind: str,
    name: str,
    state: str,
    visibility: str,
    project_id: str | None,
) -> ImageTask:
    theirs = ImageTask.owner_id == caller.user_id
    session.execute(delete(ImageTask).where(theirs, ImageTask.name == name, ImageTask.state.not_in(OPEN)))
    if (session.scalar(select(func.count()).where(theirs, ImageTask.state.in_(OPEN))) or 0) >= AT_ONCE:
        hint = N_("wait until one has ended, or delete it: garage image cancel")
        raise GarageError(
            "quota_exceeded", N_("{limit} images of yours are on their way already"), hint=hint, limit=AT_ONCE
        )
    now = ctx.clock()
    row = ImageTask(
        id=ctx.new_id(), kind=kind, name=name, node=ctx.config.node, state=state, visibility=visibility, project_id=project_id,
        owner_id=caller.user_id, step="", done=0, total=0, url="", recipe="", sha256="", format="", boot="", worker="",
        machine="", snapshot="", request=ctx.request,
        asked_at=now, changed_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def listing(ctx: Context, caller: Caller) -> list[TaskView]:
    """The caller's, an admin's and an auditor's: everybody's; those that have ended are there until the next of the name."""
    with ctx.db.read() as session:
        rows = session.scalars(
            select(ImageTask).where(_theirs(caller), ImageTask.kind != "disk").order_by(ImageTask.id.desc()).limit(100)
        )
        return [view_of(session, row) for row in rows]


def get(ctx: Context, caller: Caller, ref: str) -> TaskView:
    with ctx.db.read() as session:
        return view_of(session, _found(session, caller, ref, reading=True))


def cancel(ctx: Context, caller: Caller, ref: str) -> None:
    """Forget it; a worker that is at it notices within a second or two, and leaves nothing."""
    with ctx.db.write() as session:
        row = _found(session, caller, ref)
        if row.state in OPEN:
            audit(session, ctx, caller.name, "image.cancel", row.name, project_id=row.project_id)
        session.delete(row)


def _theirs(caller: Caller) -> Any:
    return true() if caller.sees_all else ImageTask.owner_id == caller.user_id


def _found(session: Session, caller: Caller, ref: str, *, reading: bool = False) -> ImageTask:
    """By id, or the caller's own by name."""
    row = session.get(ImageTask, ref)
    if row is None or row.kind == "disk":
        named = select(ImageTask).where(ImageTask.name == ref, ImageTask.owner_id == caller.user_id)
        row = session.scalars(named.order_by(ImageTask.id.desc()).limit(1)).first()
    if row is not None and (caller.admin or (reading and caller.auditor) or row.owner_id == caller.user_id):
        return row
    hint = N_("“garage image tasks” shows yours")
    raise GarageError("not_found", N_("no image {name} is on its way"), hint=hint, name=ref[:64])


def view_of(session: Session, row: ImageTask) -> TaskView:
    same = {name: getattr(row, name) for name in TaskView.__dataclass_fields__ if name != "owner"}
    return TaskView(owner=session.get_one(User, row.owner_id).name, **same)


# --- uploads ---------------------------------------------------------------------------------------------------------


def uploading(ctx: Context, caller: Caller, ref: str) -> tuple[str, int]:
    """(id, bytes in all) of an upload that the caller may go on with; raises `wrong_state` for one that is whole."""
    with ctx.db.read() as session:
        row = _found(session, caller, ref)
        if row.state != "uploading":
            hint = N_("“garage image tasks” shows how far it is")
            raise GarageError("wrong_state", N_("nothing is to be uploaded for {name}"), hint=hint, name=row.name)
        return row.id, row.total


def uploaded(ctx: Context, ref: str, done: int) -> None:
    """So much of it is here; all of it: a worker takes it from here."""
    with ctx.db.write() as session:
        row = session.get(ImageTask, ref)
        if row is not None and row.state == "uploading":
            row.done, row.changed_at = done, ctx.clock()
            row.state = "waiting" if done == row.total else "uploading"


# --- the worker's side -----------------------------------------------------------------------------------------------


def claim(ctx: Context, worker: str, *, ended: Callable[[str], bool] = lambda _: False) -> Task | None:
    """The next task of this server that nobody works on, one of each person and project at a time, in turn. `ended`: whether it is known
    of a worker that it lives no more."""
    with ctx.db.read() as session:
        running = select(ImageTask.id, ImageTask.worker, ImageTask.changed_at)
        running = running.where(ImageTask.node == ctx.config.node, ImageTask.state == "running")
        late = ctx.clock() - DEAD_AFTER
        left = [row.id for row in session.execute(running) if row.changed_at < late or ended(row.worker)]
        following = _following(ctx.config.node, left)
        if session.scalars(following).first() is None:
            return None
    with ctx.db.write() as session:
        row = session.scalars(following).first()
        if row is None:
            return None
        _begin(session, row, worker, ctx.clock())
        return Task(**{name: getattr(row, name) for name in Task.__dataclass_fields__})


def _following(node: str, left: list[str]) -> Select[ImageTask]:
    """The next one. A person who has one under way waits, and so does the project in whose quota it counts: service accounts cost nothing.
    Two builds would wait for each other's folder. `left`: ids of those whose workers have died."""
    other, payer, payer_id = aliased(ImageTask), aliased(Project), image_quota.payer_id(ImageTask)
    busy = select(other.id).where(other.node == node, other.state == "running", other.id.not_in(left))
    same = or_(other.owner_id == ImageTask.owner_id, image_quota.payer_id(other) == payer_id)
    busy = busy.where(or_(same, and_(other.kind == "build", ImageTask.kind == "build")))
    free = ImageTask.node == node, or_(ImageTask.state == "waiting", ImageTask.id.in_(left)), ~busy.exists()
    found = select(ImageTask).join(User, User.id == ImageTask.owner_id).outerjoin(payer, payer.id == payer_id)
    return found.where(*free).order_by(_turn(payer), ImageTask.asked_at, ImageTask.id).limit(1)


def _turn(payer: type[Project]) -> ColumnElement[float]:
    """When its person or its project was last begun to be served: who was last comes last, and what becomes of the task counts for nothing.
    A new project is no way to the front: it begins behind all that were served before it was made."""
    project = _later(func.coalesce(payer.image_turn_at, 0.0), func.coalesce(payer.created_at, 0.0))
    return _later(User.image_turn_at, project)


def _later(
    one: ColumnElement[float] | InstrumentedAttribute[float], other: ColumnElement[float]
) -> ColumnElement[float]:
    return case((one > other, one), else_=other)


def _begin(session: Session, row: ImageTask, worker: str, now: float) -> None:
    row.state, row.worker, row.changed_at, row.error = "running", worker, now, None
    session.get_one(User, row.owner_id).image_turn_at = now
    if project := image_quota.payer(session, row.visibility, row.project_id, row.owner_id):
        project.image_turn_at = now


def held(session: Session, task: Task) -> ImageTask:
    """Its row, if this worker still has it; raises `version_conflict`."""
    row = session.get(ImageTask, task.id)
    if row is None or row.state != "running" or row.worker != task.worker:
        raise GarageError("version_conflict", N_("the image {name} is not wanted any more"), name=task.name)
    return row


def progress(ctx: Context, task: Task, step: str, done: int, total: int) -> None:
    """Also a sign of life; raises `version_conflict` when it was cancelled, `quota_exceeded` once it is seen to become too large."""
    with ctx.db.write() as session:
        row = held(session, task)
        if row.kind in image_quota.COUNTED and step in GROWING:
            image_quota.grow(session, row, max(done, total if step == "fetch" else 0))
        row.step, row.done, row.total, row.changed_at = step, done, total, ctx.clock()


def done(ctx: Context, task: Task, manifest: dict[str, Any], schema: str = "") -> None:
    """The stored image is theirs, and current. `schema`: what its cloud-init takes, as the manifest names it. Raises `quota_exceeded`
    where it turned out larger than their quota allows, `already_exists` where it is another's."""
    with ctx.db.write() as session:
        row = held(session, task)
        image = images.stored(session, manifest["sha256"], None if row.kind == "build" else row.owner_id)
        if row.kind != "build":
            image_quota.settle(session, row, images.size_of(manifest))
        if image is None:
            image = Image(id=ctx.new_id(), name=row.name, sha256=manifest["sha256"], created_at=ctx.clock())
            session.add(image)
        image.manifest, image.bytes = manifest, images.size_of(manifest)
        image.verified_at, image.damaged, image.deleted_at = ctx.clock(), False, None
        if row.kind != "build":
            image.visibility, image.owner_id, image.project_id = row.visibility, row.owner_id, row.project_id
        images.learn(session, manifest, schema)
        images.make_current(session, image)
        row.state, row.step, row.changed_at = "done", "", ctx.clock()
        news.of_person(session, ctx, "image.done", row.owner_id, image=row.name)
        audit(session, ctx, "garage", "image.register", row.name, project_id=row.project_id, sha256=manifest["sha256"])


def failed(ctx: Context, task: Task, error: GarageError) -> None:
    with ctx.db.write() as session:
        row = held(session, task)
        row.state, row.error, row.changed_at = "failed", error.as_dict(), ctx.clock()
        news.of_person(session, ctx, "image.failed", row.owner_id, image=row.name, error=row.error)
        audit(session, ctx, "garage", "image.failed", row.name, project_id=row.project_id, code=error.code)


def is_nobodys(ctx: Context, task: Task, sha256: str) -> bool:
    """Whether what this worker has stored can go: it was called off or refused at the end, and no other worker is at it."""
    with ctx.db.read() as session:
        row = session.get(ImageTask, task.id)
        others = row is not None and row.state != "failed" and row.worker != task.worker
        return not others and session.scalar(select(Image.id).where(Image.sha256 == sha256)) is None


def prune(ctx: Context) -> None:
    """Forget uploads that nobody goes on with."""
    with ctx.db.write() as session:
        old = ImageTask.state == "uploading", ImageTask.changed_at < ctx.clock() - UPLOAD_SECONDS
        session.execute(delete(ImageTask).where(*old))


def known(ctx: Context) -> set[str]:
    """The ids of all: files of others can go."""
    with ctx.db.read() as session:
        return set(session.scalars(select(ImageTask.id)))


def keep_alive(ctx: Context, task: Task) -> None:
    """Its worker lives."""
    with ctx.db.write() as session:
        mine = ImageTask.id == task.id, ImageTask.worker == task.worker
        session.execute(update(ImageTask).where(*mine).values(changed_at=ctx.clock()))
