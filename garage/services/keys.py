"""SSH keys of people. A change reaches the machines of all their projects: new ones at their seed, running ones through the guest agent."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import names, sshkeys
from garage.core.states import State
from garage.db.models import Machine, Membership, SshKey, User
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context, audit
from garage.services.views import KeyView

MAX_KEYS = 20


def add(ctx: Context, caller: Caller, name: str, public_key: str) -> KeyView:
    """Register a key; the same key again gives the row that exists already."""
    line, fingerprint = sshkeys.check_public_key(public_key)
    names.check_label(name, field="name")
    with ctx.db.write() as session:
        mine = list(session.scalars(select(SshKey).where(SshKey.user_id == caller.user_id)))
        if known := next((key for key in mine if key.fingerprint == fingerprint), None):
            return _view(known)
        _check_room(mine, name)
        key = SshKey(
            id=ctx.new_id(),
            user_id=caller.user_id,
            name=name,
            public_key=line,
            fingerprint=fingerprint,
            created_at=ctx.clock(),
        )
        session.add(key)
        audit(session, ctx, caller.name, "key.add", name, fingerprint=fingerprint)
        session.flush()
        refresh_machines(session, caller.user_id)
        return _view(key)


def _check_room(mine: list[SshKey], name: str) -> None:
    if any(key.name == name for key in mine):
        hint = N_("take another name, or delete that key first")
        raise GarageError(
            "already_exists", N_("you have a key named {name} already"), hint=hint, pointer="/name", name=name
        )
    if len(mine) >= MAX_KEYS:
        raise GarageError(
            "quota_exceeded",
            N_("you have {limit} keys already"),
            hint=N_("delete one you no longer use"),
            limit=MAX_KEYS,
        )


def listing(ctx: Context, caller: Caller) -> list[KeyView]:
    with ctx.db.read() as session:
        return [
            _view(key)
            for key in session.scalars(select(SshKey).where(SshKey.user_id == caller.user_id).order_by(SshKey.id))
        ]


def remove(ctx: Context, caller: Caller, ref: str) -> None:
    """By id or name. Running machines forget the key too."""
    with ctx.db.write() as session:
        mine = session.scalars(
            select(SshKey).where(SshKey.user_id == caller.user_id, (SshKey.id == ref) | (SshKey.name == ref))
        )
        key = mine.first()
        if key is None:
            raise GarageError(
                "not_found", N_("you have no key {ref}"), hint=N_("“garage key list” shows yours"), ref=ref[:64]
            )
        session.delete(key)
        audit(session, ctx, caller.name, "key.delete", key.name, fingerprint=key.fingerprint)
        session.flush()
        refresh_machines(session, caller.user_id)


def of_project(session: Session, project_id: str) -> list[str]:
    """The public keys of the project's members who are not disabled, oldest first."""
    query = select(SshKey.public_key).join(Membership, Membership.user_id == SshKey.user_id)
    query = query.join(User, User.id == SshKey.user_id).where(~User.disabled)
    return list(session.scalars(query.where(Membership.project_id == project_id).order_by(SshKey.id)))


def refresh_machines(session: Session, user_id: str) -> None:
    """Write the wanted keys of every machine in the user's projects; the worker brings running guests in line (`keys_applied`)."""
    projects = list(session.scalars(select(Membership.project_id).where(Membership.user_id == user_id)))
    refresh_projects(session, projects)


def refresh_projects(session: Session, project_ids: list[str]) -> None:
    for project_id in project_ids:
        wanted = of_project(session, project_id)
        for machine in session.scalars(
            select(Machine).where(Machine.project_id == project_id, Machine.state != State.GONE.value)
        ):
            if machine.authorized_keys != wanted:
                machine.authorized_keys, machine.keys_applied = wanted, False


def _view(key: SshKey) -> KeyView:
    return KeyView(key.id, key.name, key.public_key, key.fingerprint, key.created_at)
