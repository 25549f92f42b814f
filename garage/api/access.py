"""Routes of what lets somebody in: sessions of browsers, accounts of programs."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.api import access_schemas as s
from garage.api.base import answer, blueprint, caller, context, items, mutate
from garage.api.schemas import MutationHeader, Ref, TokenCreated, TokenOut
from garage.services import service_accounts, sessions
from garage.services.context import Context

api = blueprint("access", "people")


@api.get("/sessions", responses={200: s.SessionList})
def list_sessions() -> dict[str, Any]:
    """Browsers in which you are signed in."""
    return items(s.SessionOut, sessions.listing(context(), caller()))


@api.delete("/sessions", responses={204: None})
def end_sessions(header: MutationHeader) -> Response:  # noqa: ARG001
    """Sign all your browsers out."""
    who = caller()

    def act(ctx: Context) -> None:
        sessions.end_others(ctx, who)

    return mutate(204, act)


@api.delete("/sessions/<ref>", responses={204: None})
def end_session(header: MutationHeader, path: Ref) -> Response:  # noqa: ARG001
    """Sign one of your browsers out."""
    who = caller()
    return mutate(204, lambda ctx: sessions.end(ctx, who, path.ref))


@api.get("/projects/<ref>/service-accounts", responses={200: s.ServiceList})
def list_services(path: Ref) -> dict[str, Any]:
    """A project's service accounts with their tokens."""
    return items(s.ServiceOut, service_accounts.listing(context(), caller(), path.ref))


@api.post("/projects/<ref>/service-accounts", responses={201: s.ServiceOut})
def create_service(header: MutationHeader, path: Ref, body: s.ServiceIn) -> Response:  # noqa: ARG001
    """Make an account for a program: a member of this one project, which signs in by tokens alone (owner)."""
    who = caller()
    return mutate(201, lambda ctx: answer(s.ServiceOut, service_accounts.create(ctx, who, path.ref, body.name)))


@api.delete("/projects/<ref>/service-accounts/<account>", responses={204: None})
def remove_service(header: MutationHeader, path: s.ServiceRef) -> Response:  # noqa: ARG001
    """End a service account with its tokens and keys; its machines stay the project's (owner)."""
    who = caller()
    return mutate(204, lambda ctx: service_accounts.remove(ctx, who, path.ref, path.account))


@api.post("/projects/<ref>/service-accounts/<account>/tokens", responses={201: TokenCreated})
def create_service_token(header: MutationHeader, path: s.ServiceRef, body: s.ServiceTokenIn) -> Response:  # noqa: ARG001
    """Make a token for a service account; its secret is shown this once (owner)."""
    who = caller()

    def act(ctx: Context) -> dict[str, Any]:
        given = {"days": body.days, "scope": body.scope}
        view, secret = service_accounts.create_token(ctx, who, path.ref, path.account, body.name, **given)  # type: ignore[arg-type]
        return answer(TokenOut, view) | {"token": secret}

    return mutate(201, act)


@api.delete("/projects/<ref>/service-accounts/<account>/tokens/<token>", responses={204: None})
def delete_service_token(header: MutationHeader, path: s.ServiceTokenRef) -> Response:  # noqa: ARG001
    """Revoke a service account's token (owner)."""
    who = caller()
    return mutate(204, lambda ctx: service_accounts.delete_token(ctx, who, path.ref, path.account, path.token))
