"""Giving and taking roles of the organisation: an auditor looks at everything, an operator keeps nodes and links of named sites."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.db.models import User
from garage.db.overlay_models import Site
from garage.db.people_models import RoleGrant, ServiceAccount
from garage.errors import N_, GarageError
from garage.services import accounts, own_site
from garage.services.context import Caller, Context, audit
from garage.services.grants import ADMIN, AUDITOR, OPERATOR
from garage.services.rights import require_admin
from garage.services.views import UserView

ROLES = (AUDITOR, OPERATOR)


def grant(ctx: Context, caller: Caller, name: str, role: str, site: str = "") -> UserView:
    """Beside being a member (admin); an operator without a site is one of this garage's own. Raises `wrong_state` for an admin, who may
    all that already, and for a service account, whose tokens its project's owners make."""
    require_admin(caller)
    with ctx.db.write() as session:
        user = accounts.named(session, name)
        _check_person(session, user)
        place = _place(session, ctx, role, site)
        if session.get(RoleGrant, (user.id, role, place)) is None:
            session.add(RoleGrant(user_id=user.id, role=role, site=place, created_at=ctx.clock()))
            audit(session, ctx, caller.name, "user.grant", name, role=role, **_where(place))
            session.flush()
        return accounts.user_views(session, [user])[0]


def revoke(ctx: Context, caller: Caller, name: str, role: str, site: str = "") -> UserView:
    """What it let them see and do ends at once, in sessions and tokens too (admin)."""
    require_admin(caller)
    with ctx.db.write() as session:
        user = accounts.named(session, name)
        place = "" if role == AUDITOR else site or own_site.current(session, ctx).name
        row = session.get(RoleGrant, (user.id, role, place))
        if row is None:
            text, hint = N_("{name} has no such role"), N_("“garage user list” shows who has which")
            raise GarageError("not_found", text, hint=hint, name=name)
        session.delete(row)
        audit(session, ctx, caller.name, "user.revoke", name, role=role, **_where(place))
        session.flush()
        return accounts.user_views(session, [user])[0]


def sites(ctx: Context) -> list[str]:
    """Of which somebody may be an operator: this garage's own first."""
    with ctx.db.read() as session:
        own = own_site.current(session, ctx).name
        return [own, *(name for name in session.scalars(select(Site.name).order_by(Site.name)) if name != own)]


def _where(site: str) -> dict[str, str]:
    return {"site": site} if site else {}


def _check_person(session: Session, user: User) -> None:
    if user.role == ADMIN:
        text, hint = N_("{name} is an admin"), N_("an admin sees and does all of that")
        raise GarageError("wrong_state", text, hint=hint, name=user.name)
    if session.get(ServiceAccount, user.id):
        text = N_("{name} is a service account")
        hint = N_("give the role to a person, who makes a token of scope “read”")
        raise GarageError("wrong_state", text, hint=hint, name=user.name)


def _place(session: Session, ctx: Context, role: str, site: str) -> str:
    """The grant's site; raises `invalid_field`."""
    if role == AUDITOR and site:
        text, hint = N_("an auditor looks at all sites"), N_("leave the site out")
        raise GarageError("invalid_field", text, hint=hint, pointer="/site")
    if role == AUDITOR:
        return ""
    if role != OPERATOR:
        text, hint = (
            N_("a role is auditor or operator"),
            N_("an auditor looks, an operator keeps a site's nodes and links"),
        )
        raise GarageError("invalid_field", text, hint=hint, pointer="/role")
    own = own_site.current(session, ctx).name
    if not site or site == own or session.scalar(select(Site.id).where(Site.name == site)):
        return site or own
    text, hint = N_("there is no site {name}"), N_("“garage site list” shows them")
    raise GarageError("invalid_field", text, hint=hint, pointer="/site", name=site[:64])
