"""Routes of people: oneself, keys, tokens, users."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, make_response, request

from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, items, mutate, page
from garage.services import accounts, api_tokens, directory, keys, projects, second_factor
from garage.services.context import Context

api = blueprint("people", "people")


def link(token: str) -> str:
    """The address of a one-time link; the token is in the path's last part, and the page sends no referrer."""
    return f"{request.host_url}welcome/{token}"


@api.get("/me", responses={200: s.MeOut})
def me() -> dict[str, Any]:
    """Who the token belongs to."""
    who = caller()
    role, project = "admin" if who.admin else "member", projects.own(context(), who)
    held = {"auditor": who.auditor, "sites": sorted(who.sites)}
    return {"name": who.name, "role": role, "project": project, "scope": who.scope, **held}


@api.post("/login", responses={201: s.LoginOut}, security=[])
def login(body: s.LoginIn) -> Response:
    """Exchange name and password for an API token."""
    token = api_tokens.log_in(
        context(), body.name, body.password, request.remote_addr or "", body.token_name, body.code
    )
    return make_response(jsonify({"token": token}), 201)


@api.get("/keys", responses={200: s.KeyList})
def list_keys() -> dict[str, Any]:
    """Your SSH keys."""
    return items(s.KeyOut, keys.listing(context(), caller()))


@api.post("/keys", responses={201: s.KeyOut})
def add_key(header: s.MutationHeader, body: s.KeyIn) -> Response:  # noqa: ARG001
    """Register a public SSH key; your running machines learn it too."""
    who = caller()
    return mutate(201, lambda ctx: answer(s.KeyOut, keys.add(ctx, who, body.name, body.public_key)))


@api.delete("/keys/<ref>", responses={204: None})
def delete_key(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Forget a key, by id or name; your running machines forget it too."""
    who = caller()
    return mutate(204, lambda ctx: keys.remove(ctx, who, path.ref))


@api.get("/tokens", responses={200: s.TokenList})
def list_tokens() -> dict[str, Any]:
    """Your API tokens, without their secrets."""
    return items(s.TokenOut, api_tokens.listing(context(), caller()))


@api.post("/tokens", responses={201: s.TokenCreated})
def create_token(header: s.MutationHeader, body: s.TokenIn) -> Response:  # noqa: ARG001
    """Make an API token; its secret is shown this once."""
    who = caller()

    def act(ctx: Context) -> dict[str, Any]:
        view, secret = api_tokens.create(ctx, who, body.name, days=body.days, scope=body.scope)
        return answer(s.TokenOut, view) | {"token": secret}

    return mutate(201, act)


@api.delete("/tokens/<ref>", responses={204: None})
def delete_token(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Revoke a token, by id."""
    who = caller()
    return mutate(204, lambda ctx: api_tokens.delete(ctx, who, path.ref))


@api.get("/users", responses={200: s.UserList})
def list_users(query: s.NameQuery) -> dict[str, Any]:
    """All users, by name (admin, auditor)."""
    return page(s.UserOut, directory.users(context(), caller(), **query.model_dump()))


@api.post("/users", responses={201: s.UserCreated})
def create_user(header: s.MutationHeader, body: s.UserIn) -> Response:  # noqa: ARG001
    """Invite a user (admin): they set a password through the one-time link."""
    who = caller()

    def act(ctx: Context) -> dict[str, Any]:
        view, token = accounts.create_user(ctx, who, body.name, role=body.role)
        return {"user": answer(s.UserOut, view), "link": link(token)}

    return mutate(201, act)


@api.post("/users/<ref>/reset-link", responses={201: s.LinkOut})
def reset_link(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """A one-time link to set a new password (admin)."""
    who = caller()
    return mutate(201, lambda ctx: {"link": link(accounts.reset_link(ctx, who, path.ref))})


@api.post("/users/<ref>/reset-second-factor", responses={204: None})
def reset_second_factor(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Take the second factor of somebody who has lost phone and recovery codes (admin); they set up a new one."""
    who = caller()
    return mutate(204, lambda ctx: second_factor.reset(ctx, who, path.ref))


@api.post("/users/<ref>/disable", responses={200: s.UserOut})
def disable_user(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """End all of a user's sessions and tokens and let them sign in no more (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(s.UserOut, accounts.set_disabled(ctx, who, path.ref, True)))


@api.post("/users/<ref>/enable", responses={200: s.UserOut})
def enable_user(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Let a disabled user sign in again (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(s.UserOut, accounts.set_disabled(ctx, who, path.ref, False)))


@api.get("/projects", responses={200: s.ProjectList})
def list_projects(query: s.NameQuery) -> dict[str, Any]:
    """Your projects with what they use of their quotas, by name."""
    return page(s.ProjectOut, directory.open_projects(context(), caller(), **query.model_dump()))


@api.post("/projects", responses={201: s.ProjectOut})
def create_project(header: s.MutationHeader, body: s.ProjectIn) -> Response:  # noqa: ARG001
    """Open a project; you own it."""
    who = caller()
    return mutate(201, lambda ctx: answer(s.ProjectOut, projects.create(ctx, who, body.name)))


@api.get("/projects/<ref>", responses={200: s.ProjectOut})
def get_project(path: s.Ref) -> dict[str, Any]:
    """One project, by id or name."""
    return answer(s.ProjectOut, projects.get(context(), caller(), path.ref))


@api.delete("/projects/<ref>", responses={204: None})
def delete_project(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Close a project without machines (owner)."""
    who = caller()
    return mutate(204, lambda ctx: projects.delete(ctx, who, path.ref))


@api.put("/projects/<ref>/members/<user>", responses={200: s.ProjectOut})
def set_member(header: s.MutationHeader, path: s.MemberRef, body: s.MemberIn) -> Response:  # noqa: ARG001
    """Add a member or change their role (owner)."""
    who = caller()
    return mutate(200, lambda ctx: answer(s.ProjectOut, projects.set_member(ctx, who, path.ref, path.user, body.role)))


@api.delete("/projects/<ref>/members/<user>", responses={200: s.ProjectOut})
def remove_member(header: s.MutationHeader, path: s.MemberRef) -> Response:  # noqa: ARG001
    """Take a member out (owner), or leave (oneself)."""
    who = caller()
    return mutate(200, lambda ctx: answer(s.ProjectOut, projects.remove_member(ctx, who, path.ref, path.user)))


@api.put("/projects/<ref>/quota", responses={200: s.ProjectOut})
def set_quota(header: s.MutationHeader, path: s.Ref, body: s.QuotaIn) -> Response:  # noqa: ARG001
    """Set what a project may use (admin)."""
    who, quota = caller(), body.model_dump(exclude_none=True)
    return mutate(200, lambda ctx: answer(s.ProjectOut, projects.set_quota(ctx, who, path.ref, quota)))
