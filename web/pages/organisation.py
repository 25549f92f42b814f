"""The whole: users (admins, auditors), nodes, help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request, url_for

from garage.core import machine_limits
from garage.core.pool import LARGEST
from garage.errors import N_, GarageError
from garage.services import (
    accounts,
    adding,
    adoption,
    directory,
    drains,
    nodes,
    outlook,
    own_site,
    pool_views,
    roles,
    second_factor,
    silencing,
)
from garage.services.context import Caller, Context
from web import forms
from web.i18n import told
from web.node_words import coming
from web.pages import lists
from web.pages.base import bp, page, refused, to
from web.pages.proof import is_recent, proof_first
from web.session import admin, caller, ctx, home, reader


@bp.get("/users")
def users_list() -> Response:
    return page("users.html", **everybody(reader()))


def everybody(who: Caller) -> dict[str, Any]:
    """What the page of users shows."""
    asked = lists.asked()
    found = directory.users(ctx(), who, search=asked["search"], cursor=asked["cursor"] or None, limit=lists.PAGE)
    return {
        "asked": asked,
        "found": found,
        "proved": is_recent(),
        "role_sites": roles.sites(ctx()) if who.admin else [],
    }


@bp.post("/users")
@proof_first("users_list")
def user_invite() -> Response:
    """The one-time link is in this one answer; whoever gets it sets the password."""
    who = admin()
    try:
        user, token = accounts.create_user(ctx(), who, forms.text("name"), role=forms.text("role", default="member"))
    except GarageError as error:
        return refused("users.html", error, **everybody(who))
    return _link_page(user.name, token, 201)


@bp.post("/users/<name>/link")
@proof_first("users_list")
def user_link(name: str) -> Response:
    who, name = admin(), forms.reference(name)
    return _link_page(name, accounts.reset_link(ctx(), who, name), 201)


def _link_page(name: str, token: str, status: int) -> Response:
    link = home() + url_for("web.welcome", token=token)
    return page("users.html", status, link=link, link_for=name, **everybody(admin()))


@bp.post("/users/<name>/<any(disable, enable):action>")
def user_disable(name: str, action: str) -> Response:
    accounts.set_disabled(ctx(), admin(), forms.reference(name), action == "disable")
    return to("users_list")


@bp.post("/users/<name>/reset-factor")
@proof_first("users_list")
def user_reset_factor(name: str) -> Response:
    second_factor.reset(ctx(), admin(), forms.reference(name))
    return to("users_list")


@bp.get("/nodes")
def nodes_list() -> Response:
    who = caller()
    beside = who.sees_all and "nodes" not in request.headers.get("HX-Target", "")  # news of a node redraws nodes alone
    pools = pool_views.listing(ctx(), who) if beside and ctx().config.pool_ram_share else None
    keeps = own_site.operates(ctx(), who)
    ours = (keeps or who.sees_all) and silencing.fault_is_ours(ctx())
    servers = coming(adding.listing(ctx(), who)) if beside else []
    plan = adoption.plan(ctx(), who) if who.sees_all else None
    asked = lists.asked()
    found = directory.known_nodes(ctx(), who, search=asked["search"], cursor=asked["cursor"] or None, limit=lists.PAGE)
    shown: dict[str, Any] = {"found": found, "asked": asked, "pools": pools, "ours": ours, "servers": servers}
    return page("nodes.html", **shown, adoption=plan, keeps=keeps, **(_use(who) if who.sees_all else {}))


def _use(who: Caller) -> dict[str, Any]:
    """Of all nodes together, and the settings by which they are promised."""
    rules = ctx().config
    limits = [(size, machine_limits.of(rules.limits, size.name, {})) for size in outlook.sizes(ctx())]
    return {"whole": nodes.whole(ctx(), who), "rules": rules, "size_limits": limits}


@bp.get("/nodes/<name>")
def node_page(name: str) -> Response:
    """What emptying it would do, or how far that is."""
    who, name = caller(), forms.reference(name)
    drain = drains.preview(ctx(), who, name)
    node = nodes.get(ctx(), who, name)
    keeps = own_site.operates(ctx(), who)
    return page(
        "node.html", drain=drain, node=node, keeps=keeps, told=lambda reason: told(GarageError.from_dict(reason))
    )


SAYINGS: dict[str, Callable[[Context, Caller, str], object]] = {
    "drain": drains.drain,
    "activate": drains.activate,
    "maintenance": drains.maintain,
}


@bp.post("/nodes/<name>/<any(drain, activate, maintenance):what>")
def node_say(name: str, what: str) -> Response:
    name = forms.reference(name)
    SAYINGS[what](ctx(), caller(), name)
    return to("node_page", name=name)


@bp.post("/nodes/adopt")
def nodes_adopt() -> Response:
    """The plan that was on the page, or nothing."""
    adoption.adopt(ctx(), admin(), forms.text("digest"))
    return to("nodes_list")


@bp.post("/pools/<image>/<size>")
def pool_fix(image: str, size: str) -> Response:
    fixed = forms.text("fixed")
    if fixed and not (fixed.isdecimal() and int(fixed) <= LARGEST):
        raise GarageError("invalid_field", N_("at most {limit} machines can wait"), pointer="/fixed", limit=LARGEST)
    pool_views.fix(ctx(), admin(), forms.reference(image), forms.reference(size), int(fixed) if fixed else None)
    return to("nodes_list")


@bp.get("/help")
def help_page() -> Response:
    return page("help.html")
