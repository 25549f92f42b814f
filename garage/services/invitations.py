"""Invitations of sites: one line to hand over, good for one join. Only a hash of the secret is kept."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from garage.core import allot
from garage.db.overlay_models import Site, SiteInvitation, SiteNode
from garage.errors import N_, GarageError
from garage.services import own_site
from garage.services.allotting import add_site
from garage.services.context import Caller, Context, audit
from garage.services.overlay_state import lock
from garage.services.rights import require_admin, require_reader
from garage.services.vault import digest

PREFIX = "gj1"
HOUR = 3600.0
LONE = "home"
"""What a garage is called before it has a name of its own."""
OWN_SECONDS = HOUR
HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "")  # noqa: S104  (compared with, not bound to)
MIN_SECONDS, MAX_SECONDS = 60.0, 30 * 24 * HOUR
HINT = N_("ask the registry's operator for a new invitation")


@dataclass(frozen=True, slots=True)
class InvitationView:
    """Without its secret. `state`: open, used, expired, withdrawn."""

    id: str
    site: str
    state: str
    own: bool
    adds_node: bool
    created_by: str
    created_at: float
    expires_at: float
    used_at: float | None


def invite(
    ctx: Context, caller: Caller, name: str, *, ttl: float = 24 * HOUR, own_name: str | None = None, node: bool = False
) -> tuple[InvitationView, str]:
    """(the invitation, the token's text, shown this once). `ttl` in seconds; `node`: one more node of a site that is a member.

    The first invitation makes this garage's own site the first member, under `own_name` while it is still called `home`.
    """
    require_admin(caller)
    if not MIN_SECONDS <= ttl <= MAX_SECONDS:
        text, hint = N_("an invitation is valid for 1 minute to 30 days"), N_("a day is 86400 seconds")
        raise GarageError("invalid_field", text, hint=hint, pointer="/ttl_seconds")
    with ctx.db.write() as session:
        lock(session)
        enrol_own(session, ctx, caller, own_name)
        _check_name(session, ctx, name, node)
        row, text = _issue(session, ctx, name, caller.name, ttl, own=False, node=node)
        audit(session, ctx, caller.name, "site.invite", name, id=row.id, until=row.expires_at)
        return view(row, ctx.clock()), text


def _check_name(session: Session, ctx: Context, name: str, node: bool) -> None:
    """Raises `invalid_field`, `already_exists` or, for a node of a site that is none, `not_found`."""
    if node:
        if session.scalar(select(Site.id).where(Site.name == name)) is None:
            hint = N_("“garage site list” shows them")
            raise GarageError("not_found", N_("there is no site {name}"), hint=hint, pointer="/name", name=name[:64])
        return
    allot.site_name(name, set(session.scalars(select(Site.name))))
    open_ones = select(SiteInvitation).where(SiteInvitation.site == name, SiteInvitation.adds_node.is_(False))
    if any(view(row, ctx.clock()).state == "open" for row in session.scalars(open_ones)):
        raise GarageError(
            "already_exists",
            N_("{name} has been invited already"),
            hint=N_("withdraw that invitation first: garage site withdraw {name}"),
            pointer="/name",
            name=name,
        )


def _issue(
    session: Session, ctx: Context, name: str, by: str, ttl: float, *, own: bool, node: bool
) -> tuple[SiteInvitation, str]:
    secret, now = secrets.token_urlsafe(32), ctx.clock()
    row = SiteInvitation(
        id=ctx.new_id(),
        hash=digest(secret),
        site=name,
        own=own,
        adds_node=node,
        created_by=by,
        created_at=now,
        expires_at=now + ttl,
    )
    session.add(row)
    session.flush()
    return row, token_text(ctx, secret)


def token_text(ctx: Context, secret: str) -> str:
    """`gj1.SECRET.KEY.CERTIFICATE`: the last two are SHA-256 digests of what the registry must prove to hold."""
    key = hashlib.sha256(ctx.controller_key.public_key().public_bytes_raw()).digest()
    certificate = _certificate_digest(ctx) if ctx.config.tls else b""
    return f"{PREFIX}.{secret}.{_base64(key)}.{_base64(certificate)}"


def _certificate_digest(ctx: Context) -> bytes:
    path = ctx.config.home / "keys" / "tls.crt"
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(SHA256())
    except (OSError, ValueError):
        raise GarageError("config", N_("{path} cannot be read"), path=str(path)) from None


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def registry_url(ctx: Context, asked: str) -> tuple[str, bool]:
    """(the address to hand over, whether another site can reach it); `asked`: by which the inviting request came."""
    known = (ctx.config.public_url, asked, ctx.config.outside)
    found = [url for url in known if (urlsplit(url).hostname or "") not in HERE]
    return (found[0].rstrip("/"), True) if found else (asked, False)


def line(token: str, url: str) -> str:
    """What is handed over; the token comes by standard input, so that no list of processes shows it."""
    return f"echo {token} | netd join {url}"


def listing(ctx: Context, caller: Caller) -> list[InvitationView]:
    """Newest first; those that ended a month ago are left out."""
    require_reader(caller)
    with ctx.db.read() as session:
        query = select(SiteInvitation).where(SiteInvitation.expires_at > ctx.clock() - MAX_SECONDS)
        return [view(row, ctx.clock()) for row in session.scalars(query.order_by(SiteInvitation.id.desc()))]


def withdraw(ctx: Context, caller: Caller, ref: str) -> InvitationView:
    """By id, or by the site's name while it has one open invitation. A used one stays used: `site remove` ends a membership."""
    require_admin(caller)
    with ctx.db.write() as session:
        lock(session)
        row = _find(session, ctx, ref)
        state = view(row, ctx.clock()).state
        if state == "used":
            hint = N_("remove the site instead: garage site remove {name}")
            raise GarageError("wrong_state", N_("this invitation was used already"), hint=hint, name=row.site)
        if state == "open":
            row.withdrawn_at = ctx.clock()
            audit(session, ctx, caller.name, "site.withdraw", row.site, id=row.id)
        return view(row, ctx.clock())


def _find(session: Session, ctx: Context, ref: str) -> SiteInvitation:
    if row := session.get(SiteInvitation, ref):
        return row
    rows = session.scalars(select(SiteInvitation).where(SiteInvitation.site == ref).order_by(SiteInvitation.id.desc()))
    if found := [row for row in rows if view(row, ctx.clock()).state == "open"]:
        return found[0]
    hint = N_("“garage site invitations” shows them")
    raise GarageError("not_found", N_("there is no invitation {ref}"), hint=hint, ref=ref[:64])


def view(row: SiteInvitation, now: float) -> InvitationView:
    state = (
        "used"
        if row.used_at is not None
        else "withdrawn"
        if row.withdrawn_at is not None
        else "expired"
        if row.expires_at <= now
        else "open"
    )
    same = ("id", "site", "own", "adds_node", "created_by", "created_at", "expires_at", "used_at")
    return InvitationView(state=state, **{name: getattr(row, name) for name in same})


def check_token(session: Session, ctx: Context, secret: str, key: str) -> SiteInvitation:
    """The invitation that a join may use: open, or used by this very key and not expired. Raises `token_…`."""
    row = session.scalars(select(SiteInvitation).where(SiteInvitation.hash == digest(secret))).first()
    if row is None:
        raise GarageError("token_unknown", N_("this is no invitation of this registry"), hint=HINT)
    if row.withdrawn_at is not None:
        raise GarageError("token_withdrawn", N_("this invitation was withdrawn"), hint=HINT)
    if row.used_at is not None and row.used_key != key:
        raise GarageError("token_used", N_("this invitation was used already"), hint=HINT)
    if row.expires_at <= ctx.clock():
        raise GarageError("token_expired", N_("this invitation has expired"), hint=HINT)
    return row


def forget_credentials(session: Session, ctx: Context) -> None:
    """A lost answer is given again only while the invitation lasts."""
    old = update(SiteInvitation).where(SiteInvitation.expires_at <= ctx.clock(), SiteInvitation.credential.is_not(None))
    session.execute(old.values(credential=None))


def enrol_own(session: Session, ctx: Context, caller: Caller, own_name: str | None) -> None:
    """The registry's own site has its prefixes before anybody else can ask for them."""
    if (known := session.scalar(select(Site.name).where(Site.own))) is not None:
        if own_name not in (None, known):
            hint = N_("a site keeps its name: leave out the one that you gave")
            raise GarageError("already_exists", N_("this site is called {name} already"), hint=hint, name=known)
        return
    if own_site.is_elsewhere(session):
        raise GarageError(
            "wrong_state",
            N_("this garage is a site of an overlay whose registry another garage keeps"),
            hint=N_("sites are invited there; to begin an overlay of your own, leave that one first: netd leave"),
        )
    current = own_site.current(session, ctx).name
    name = own_name or (current if current != LONE else "")
    if not name:
        raise GarageError(
            "invalid_field",
            N_("this site needs a name of its own before it invites others"),
            hint=N_("give it with --own-name, e.g. the name of its place"),
            pointer="/own_name",
        )
    add_site(session, ctx, name, own_site.prefixes(session, ctx), own=True)
    audit(session, ctx, caller.name, "site.own", name)


def own_invitation(ctx: Context, node: str = "garage") -> str | None:
    """The token by which the netd of a node of this garage (by default: of this very server) joins the registry in its own process; None
    when it is a member, or when nobody was invited yet. For that netd, never for an API; a new one each time, good for an hour."""
    with ctx.db.write() as session:
        lock(session)
        site = session.scalars(select(Site).where(Site.own)).first()
        if site is None or is_member(session, site, node):
            return None
        unused = SiteInvitation.own, SiteInvitation.used_at.is_(None), SiteInvitation.created_by == node
        session.execute(delete(SiteInvitation).where(*unused))
        return _issue(session, ctx, site.name, node, OWN_SECONDS, own=True, node=True)[1]


def is_member(session: Session, site: Site, node: str) -> bool:
    """Whether the node of that name, or for "garage" any, has joined the registry's own site."""
    query = select(SiteNode.id).where(SiteNode.site_id == site.id)
    named = query if node == "garage" else query.where(SiteNode.name == node)
    return session.scalar(named.limit(1)) is not None
