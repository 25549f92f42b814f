"""Routes of the overlay's registry, for admins: invitations, sites, links, histories."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from garage.api import schemas as s
from garage.api import site_schemas as t
from garage.api.base import answer, blueprint, caller, context, items, mutate
from garage.services import invitations, sites
from garage.services.context import Context

api = blueprint("sites", "sites")


@api.get("/site-invitations", responses={200: t.SiteInvitationList})
def list_site_invitations() -> dict[str, Any]:
    """Invitations, newest first, without their tokens (admin, auditor)."""
    return items(t.SiteInvitationOut, invitations.listing(context(), caller()))


@api.post("/site-invitations", responses={201: t.SiteInvitationCreated})
def invite_site(header: s.MutationHeader, body: t.SiteInvitationIn) -> Response:  # noqa: ARG001
    """Invite a site to the overlay: the answer has the one line to hand over (admin)."""
    who, asked = caller(), request.host_url.rstrip("/")

    def act(ctx: Context) -> dict[str, Any]:
        view, token = invitations.invite(
            ctx, who, body.name, ttl=body.ttl_seconds, own_name=body.own_name, node=body.node
        )
        url, reachable = invitations.registry_url(ctx, asked)
        line = invitations.line(token, url)
        return answer(t.SiteInvitationOut, view) | {"token": token, "line": line, "reachable": reachable}

    return mutate(201, act)


@api.delete("/site-invitations/<ref>", responses={200: t.SiteInvitationOut})
def withdraw_site_invitation(header: s.MutationHeader, path: t.InvitationRef) -> Response:  # noqa: ARG001
    """Withdraw an invitation, by its id or by the invited site's name (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(t.SiteInvitationOut, invitations.withdraw(ctx, who, path.ref)))


@api.get("/sites", responses={200: t.SiteList})
def list_sites() -> dict[str, Any]:
    """All sites with their nodes (admin, auditor, operator)."""
    return items(t.SiteOut, sites.listing(context(), caller()))


@api.get("/sites/<ref>", responses={200: t.SiteOut})
def get_site(path: t.SiteRef) -> dict[str, Any]:
    """One site (admin, auditor, operator)."""
    return answer(t.SiteOut, sites.get(context(), caller(), path.ref))


@api.delete("/sites/<ref>", responses={204: None})
def remove_site(header: s.MutationHeader, path: t.SiteRef) -> Response:  # noqa: ARG001
    """Remove a site: its credential is void and its peers drop it at once (admin)."""
    who = caller()
    return mutate(204, lambda ctx: sites.remove(ctx, who, path.ref))


@api.post("/sites/<ref>/rotate-keys", responses={200: t.SiteOut})
def rotate_site_keys(header: s.MutationHeader, path: t.SiteRef) -> Response:  # noqa: ARG001
    """Ask a site's nodes for new keys; links change to them without losing a packet (admin, its operator)."""
    who = caller()
    return mutate(200, lambda ctx: answer(t.SiteOut, sites.rotate(ctx, who, path.ref)))


@api.put("/sites/<ref>/place", responses={200: t.SiteOut})
def place_site(header: s.MutationHeader, path: t.SiteRef, body: t.SitePlaceIn) -> Response:  # noqa: ARG001
    """Say where a site is, for the map (admin, its operator)."""
    who, at = caller(), (body.latitude, body.longitude)
    return mutate(200, lambda ctx: answer(t.SiteOut, sites.place(ctx, who, path.ref, at)))


@api.delete("/sites/<ref>/place", responses={200: t.SiteOut})
def unplace_site(header: s.MutationHeader, path: t.SiteRef) -> Response:  # noqa: ARG001
    """Forget where a site is (admin, its operator)."""
    who = caller()
    return mutate(200, lambda ctx: answer(t.SiteOut, sites.place(ctx, who, path.ref, None)))


@api.put("/sites/<ref>/relay", responses={200: t.SiteOut})
def relay_site(header: s.MutationHeader, path: t.SiteRef, body: t.SiteRelayIn) -> Response:  # noqa: ARG001
    """Say whether a site may be made a hub, which carries other sites' packets (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(t.SiteOut, sites.relay(ctx, who, path.ref, may=body.may)))


@api.get("/sites/<ref>/links", responses={200: t.LinkList})
def list_site_links(path: t.SiteRef) -> dict[str, Any]:
    """The links of a site (admin, auditor, operator)."""
    return items(t.LinkOut, sites.links(context(), caller(), path.ref))


@api.get("/sites/<ref>/history/<peer>", responses={200: t.HistoryOut})
def site_history(path: t.PeerRef, query: t.HistoryQuery) -> dict[str, Any]:
    """What a site measured to another, minute by minute (admin, auditor, operator)."""
    return answer(t.HistoryOut, sites.history(context(), caller(), path.ref, path.peer, query.hours))


@api.get("/links", responses={200: t.LinkList})
def list_links() -> dict[str, Any]:
    """All links of the overlay (admin, auditor, operator)."""
    return items(t.LinkOut, sites.links(context(), caller()))


@api.put("/overlay", responses={204: None})
def configure_overlay(header: s.MutationHeader, body: t.SettingsIn) -> Response:  # noqa: ARG001
    """Set the overlay's figures (admin)."""
    who, given = caller(), body.model_dump(exclude_none=True)
    return mutate(204, lambda ctx: sites.configure(ctx, who, **given))
