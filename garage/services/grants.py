"""Roles of the organisation, as rows say them: who is an auditor, who operates which sites."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from garage.db.models import User
from garage.db.people_models import RoleGrant

ADMIN, AUDITOR, OPERATOR = "admin", "auditor", "operator"


@dataclass(frozen=True, slots=True)
class Granted:
    """What somebody may beyond a member."""

    admin: bool = False
    auditor: bool = False
    sites: frozenset[str] = frozenset()
    rows: tuple[tuple[str, str, float], ...] = field(default=(), compare=False)
    """(role, site, when it was given)"""

    @property
    def trusted(self) -> bool:
        """Whether more than their own is at stake when somebody signs in as them."""
        return self.admin or self.auditor or bool(self.sites)

    def by(self, moment: float) -> Granted:
        """What a token made then has of it. A member makes tokens by a password alone; what came later asks for more."""
        return _granted(self.admin, [row for row in self.rows if row[2] <= moment])


def of(session: Session, users: Iterable[User]) -> dict[str, Granted]:
    """By user id."""
    admins = {user.id: user.role == ADMIN for user in users}
    found: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    columns = RoleGrant.user_id, RoleGrant.role, RoleGrant.site, RoleGrant.created_at
    for user_id, role, site, given_at in session.execute(select(*columns).where(RoleGrant.user_id.in_(admins))):
        found[user_id].append((role, site, given_at))
    return {user_id: _granted(admin, found[user_id]) for user_id, admin in admins.items()}


def of_one(session: Session, user: User) -> Granted:
    return of(session, [user])[user.id]


SOME = select(RoleGrant.user_id).where(RoleGrant.user_id == User.id).exists()
"""A column beside a user's: whether there is anything to ask for. Most people have nothing."""


def of_some(session: Session, user: User, some: bool) -> Granted:
    """The same where `SOME` is known."""
    return of_one(session, user) if some else Granted(user.role == ADMIN)


def _granted(admin: bool, rows: Sequence[tuple[str, str, float]]) -> Granted:
    sites = frozenset(site for role, site, _ in rows if role == OPERATOR)
    return Granted(admin, any(role == AUDITOR for role, _, _ in rows), sites, tuple(rows))


def operators(site: str) -> Select[str]:
    """The ids of a site's operators."""
    return select(RoleGrant.user_id).where(RoleGrant.role == OPERATOR, RoleGrant.site == site)


def forget(session: Session, user_id: str) -> None:
    session.execute(delete(RoleGrant).where(RoleGrant.user_id == user_id))


def forget_site(session: Session, site: str) -> None:
    """Whoever gets the name later has operators of their own."""
    session.execute(delete(RoleGrant).where(RoleGrant.site == site))


def rename_site(session: Session, before: str, after: str) -> None:
    if before != after:
        forget_site(session, after)
        session.execute(update(RoleGrant).where(RoleGrant.site == before).values(site=after))
