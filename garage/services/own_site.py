"""What this garage is called: its site's name and the network's domain. `home` until it joins an overlay and takes the invited name."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core.renumber import Prefixes
from garage.db.models import Setting
from garage.db.overlay_models import Site
from garage.services import grants, invitations
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_operator
from garage.services.specs import raise_specs

SITE, DOMAIN = "site", "domain"
PREFIXES, ALLOTTED = "prefixes", "allotted"
"""Both "IPV4 IPV6": what the site uses, and what the registry gave it."""


@dataclass(frozen=True, slots=True)
class OwnSite:
    name: str
    domain: str

    @property
    def site_domain(self) -> str:
        """The domain of this site's machines, e.g. home.garage.internal."""
        return f"{self.name}.{self.domain}"


def current(session: Session, ctx: Context) -> OwnSite:
    """The name given by a join, else the settings'."""
    found = {row.key: row.value for row in session.scalars(select(Setting).where(Setting.key.in_((SITE, DOMAIN))))}
    return OwnSite(found.get(SITE, ctx.config.site), found.get(DOMAIN, ctx.config.domain))


def prefixes(session: Session, ctx: Context) -> Prefixes:
    """What the site's machines have addresses of: the settings', until it was renumbered."""
    ipv4, ipv6 = _pair(session, PREFIXES) or (ctx.config.site_ipv4, ctx.config.site_ipv6)
    return ipv4, ipv6


def allotted(session: Session) -> Prefixes | None:
    """What the registry gave this site, as its netd says; None outside an overlay."""
    return _pair(session, ALLOTTED)


def is_elsewhere(session: Session) -> bool:
    """Whether this site is a member of an overlay whose registry another garage keeps."""
    return allotted(session) is not None and session.scalar(select(Site.id).where(Site.own)) is None


def membership(ctx: Context) -> OwnSite | None:
    """Under what name this site is a member elsewhere; None where it is not."""
    with ctx.db.read() as session:
        return current(session, ctx) if is_elsewhere(session) else None


def _pair(session: Session, key: str) -> Prefixes | None:
    if (row := session.get(Setting, key)) is None:
        return None
    ipv4, ipv6 = row.value.split()
    return ipv4, ipv6


def take_prefixes(session: Session, wanted: Prefixes) -> None:
    session.merge(Setting(key=PREFIXES, value=" ".join(wanted)))


def hear(session: Session, given: Prefixes | None) -> None:
    """Keep what the registry gave (None: there is none), for a plan to renumber; nothing changes by it."""
    if given is None:
        session.execute(delete(Setting).where(Setting.key == ALLOTTED))
    elif allotted(session) != given:
        session.merge(Setting(key=ALLOTTED, value=" ".join(given)))


def own(ctx: Context) -> OwnSite:
    with ctx.db.read() as session:
        return current(session, ctx)


def require_operator_here(session: Session, ctx: Context, caller: Caller) -> None:
    """Of this garage's own site: all its nodes are there."""
    require_operator(caller, current(session, ctx).name)


def require_sight_here(session: Session, ctx: Context, caller: Caller) -> None:
    """The same of what an auditor sees, too."""
    if not caller.sees_all:
        require_operator_here(session, ctx, caller)


def operates(ctx: Context, caller: Caller) -> bool:
    """The same as a question."""
    return caller.admin or (bool(caller.sites) and caller.operates(own(ctx).name))


def rename(session: Session, ctx: Context, actor: str, site: str, domain: str) -> bool:
    """Take a new name: all nodes get specs with it. Machines keep addresses and keys; False when it is the name already."""
    before = current(session, ctx)
    if before == OwnSite(site, domain):
        return False
    for key, value in ((SITE, site), (DOMAIN, domain)):
        session.merge(Setting(key=key, value=value))
    grants.rename_site(session, before.name, site)
    raise_specs(session)
    audit(session, ctx, actor, "site.rename", site, before=before.site_domain, after=f"{site}.{domain}")
    return True


def invitation(ctx: Context, node: str) -> str | None:
    """The token by which the netd of this garage's node joins its registry; None while nobody was invited, and once it is a member."""
    with ctx.db.read() as session:
        own = session.scalars(select(Site).where(Site.own)).first()
        if own is None or invitations.is_member(session, own, node):
            return None
    return invitations.own_invitation(ctx, node)
