"""An auditor's and an operator's pages, and the commands that make them."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import re

from flask import Flask

from garage.services import accounts, api_tokens, roles
from garage.services.context import Caller, Context
from tests.inproc.overlay_nodes import member
from tests.inproc.served import Served
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_pages import (  # noqa: F401  (fixtures)
    Browser,
    app,
    as_admin,
    as_alice,
    as_bob,
    cookies,
    machine,
)

NO_FORMS = {"/preferences", "/sign-out"}


def forms(text: str) -> set[str]:
    """Where the page's buttons lead, but those that every page has."""
    return set(re.findall(r'<form method="post"[^>]* action="([^"]+)"', text)) - NO_FORMS


def test_an_auditors_pages_show_all_and_have_nothing_to_press(
    ctx: Context, admin: Caller, as_bob: Browser, machine: str
) -> None:
    member(ctx, admin, "kyoto", 1)
    assert as_bob.get("/users").status_code == 403
    roles.grant(ctx, admin, "bob", "auditor")
    menu = as_bob.get("/machines").text
    assert 'data-go="s"' in menu
    assert 'data-go="u"' in menu
    for path in (
        *("/users", "/audit?verify=1", "/nodes", f"/nodes/{ctx.config.node}", "/sites", "/sites?view=grid"),
        *("/sites/kyoto", "/projects/alice", f"/machines/{machine}", f"/machines/{machine}/why"),
    ):
        page = as_bob.get(path)
        assert page.status_code == 200, path
        assert forms(page.text) == set(), path
    assert "console" not in as_bob.get(f"/machines/{machine}").text
    assert "garage ssh arm-test" not in as_bob.get("/machines").text
    for path in (f"/machines/{machine}/stop", f"/nodes/{ctx.config.node}/drain", "/users/alice/disable"):
        assert as_bob.post(path).status_code == 403


def test_an_operators_pages_keep_their_site(ctx: Context, admin: Caller, as_bob: Browser, machine: str) -> None:
    for number, name in enumerate(("kyoto", "nara"), 1):
        member(ctx, admin, name, number)
    for site in ("", "kyoto"):
        roles.grant(ctx, admin, "bob", "operator", site)
    for path in ("/users", f"/machines/{machine}", "/sites/kyoto/remove"):
        assert as_bob.get(path).status_code in (403, 404), path
    assert forms(as_bob.get("/sites/kyoto").text) == {"/sites/kyoto/rotate", "/sites/kyoto/place"}
    assert forms(as_bob.get("/sites/nara").text) == set()
    assert forms(as_bob.get("/sites").text) == set()
    assert as_bob.post("/sites/nara/rotate").status_code == 403
    assert as_bob.post("/sites/kyoto/rotate").status_code == 303
    node = f"/nodes/{ctx.config.node}"
    assert f"{node}/drain" in forms(as_bob.get(node).text)
    assert as_bob.post(f"{node}/drain").status_code == 303
    assert f"{node}/activate" in forms(as_bob.get("/nodes").text)


def test_an_admin_gives_and_takes_roles_on_the_page(ctx: Context, as_admin: Browser, app: Flask) -> None:
    assert as_admin.post("/users/grants", user="nobody", grant="auditor").status_code == 404
    assert as_admin.post("/users/grants", user="alice", grant="operator@home").status_code == 303
    assert as_admin.post("/users/grants", user="alice", grant="auditor@").status_code == 303
    page = as_admin.get("/users").text
    assert page.count("operator of home") == 2, "alice's, and as a choice"
    assert as_admin.post("/users/alice/revoke", grant="operator@home").status_code == 303
    assert as_admin.get("/users").text.count("operator of home") == 1
    assert accounts.list_users(ctx, Caller("", "x", auditor=True))[0].grants == [accounts.GrantView("auditor", "")]


def test_the_commands(ctx: Context, shell: Shell, served: Served, admin: Caller, bob: Caller) -> None:
    root = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": api_tokens.create(ctx, admin, "root")[1]})
    assert root("user", "grant", "bob", "auditor").stdout == "bob is: member, auditor.\n"
    told = root("user", "grant", "bob", "operator", "--site", "home").stdout
    assert told == "bob is: member, auditor, operator of home.\n"
    assert "member, auditor, operator of home" in root("user", "list").stdout
    bobs = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": api_tokens.create(ctx, bob, "t")[1]})
    assert bobs("audit", "verify").returncode == 0
    assert bobs("audit", "export").stdout.count("\n") > 3
    assert bobs("node", "label", ctx.config.node, "rack=2").returncode == 0
    assert root("user", "revoke", "bob", "operator").stdout == "bob is: member, auditor.\n"
    assert bobs("node", "label", ctx.config.node, "rack=3").returncode != 0
