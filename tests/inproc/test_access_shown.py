"""Sessions, scopes and service accounts on pages and by the command."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import re

import pytest

from garage.services import accounts, api_tokens, projects, service_accounts, sessions
from garage.services.context import Caller, Context
from tests.inproc.served import Served
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_pages import Browser, app, as_alice, as_bob, cookies  # noqa: F401  (fixtures)
from web import format as fmt


def test_the_account_page_lists_browsers_and_ends_them(ctx: Context, alice: Caller, as_alice: Browser) -> None:
    other = accounts.sign_in(
        ctx, "alice", "password of alice", "198.51.100.7", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
    )
    text = as_alice.get("/account").text
    assert "Firefox · Linux" in text
    assert "198.51.100.7" in text
    [view] = [view for view in sessions.listing(ctx, alice) if view.agent]
    assert as_alice.post(f"/account/sessions/{view.id}/end").status_code == 303
    assert accounts.by_session(ctx, other[1]) is None
    _, third = accounts.sign_in(ctx, "alice", "password of alice", "198.51.100.8")
    assert as_alice.post("/account/sessions/end").status_code == 303
    assert accounts.by_session(ctx, third) is None
    assert as_alice.get("/account").status_code == 200


def test_a_token_of_a_scope_is_made_on_the_page(ctx: Context, alice: Caller, as_alice: Browser) -> None:
    answer = as_alice.post("/account/tokens", name="ci", days="7", scope="read")
    assert answer.status_code == 201
    assert [view.scope for view in api_tokens.listing(ctx, alice)] == ["read"]
    assert "looking only" in answer.text
    assert as_alice.post("/account/tokens", name="ci", days="7", scope="x").status_code == 422


def test_an_owner_keeps_service_accounts_on_the_projects_page(
    ctx: Context,
    alice: Caller,
    as_alice: Browser,
    as_bob: Browser,
) -> None:
    projects.create(ctx, alice, "arms")
    assert as_alice.post("/projects/arms/services", name="A!").status_code == 422
    assert as_alice.post("/projects/arms/services", name="robot").status_code == 303
    made = as_alice.post("/projects/arms/services/robot/tokens", name="ci", days="7", scope="machines")
    assert made.status_code == 201
    secret = re.search(r"garage_[\w-]{43}", made.text)
    assert secret
    assert api_tokens.by_token(ctx, secret[0]) is not None
    assert as_alice.post("/projects/arms/services/robot/tokens", name="", days="7").status_code == 422
    assert as_bob.post("/projects/arms/services", name="mine").status_code == 404
    [service] = service_accounts.listing(ctx, alice, "arms")
    page = as_alice.get("/projects/arms").text
    assert service.tokens[0].id in page
    assert secret[0] not in page
    assert as_alice.post(f"/projects/arms/services/robot/tokens/{service.tokens[0].id}/delete").status_code == 303
    assert api_tokens.by_token(ctx, secret[0]) is None
    assert as_alice.post("/projects/arms/services/robot/remove").status_code == 303
    assert service_accounts.listing(ctx, alice, "arms") == []


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/131.0 Safari/537.36 Edg/131.0", "Edge · Windows"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/131.0 Mobile Safari/537.36", "Chrome · Android"),
        ("curl/8.9", "curl/8.9"),
    ],
)
def test_a_browser_is_called_by_its_name(agent: str, shown: str) -> None:
    assert fmt.browser(agent) == shown


def test_the_command(ctx: Context, shell: Shell, served: Served, alice: Caller) -> None:
    accounts.sign_in(ctx, "alice", "password of alice", "198.51.100.7", "Browser/1")
    assert "Browser/1" in shell("session", "list").stdout
    assert shell("session", "end").returncode == 2
    [view] = [view for view in sessions.listing(ctx, alice) if view.agent]
    assert shell("session", "end", view.id).returncode == 0
    assert shell("session", "end", "--all").returncode == 0
    assert sessions.listing(ctx, alice) == []
    assert shell("project", "create", "arms").returncode == 0
    assert shell("project", "service", "add", "arms", "robot").returncode == 0
    secret = shell("project", "service", "token", "arms", "robot", "--days", "7").stdout.strip()
    assert secret.startswith("garage_")
    robot = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": secret})
    assert robot.json("machine", "list") == {"items": []}
    assert robot("key", "list").returncode == 0
    assert robot("token", "create", "more").returncode == 5
    listed = shell("project", "service", "list", "arms").stdout
    assert "token (machines, " in listed
    [service] = service_accounts.listing(ctx, alice, "arms")
    assert shell("project", "service", "revoke", "arms", "robot", service.tokens[0].id).returncode == 0
    assert shell("project", "service", "remove", "arms", "robot").returncode == 2, "nobody is there to answer"
    assert "robot" in shell("project", "service", "list", "arms").stdout
    assert shell("project", "service", "remove", "arms", "robot", "--yes").returncode == 0
    assert "read" in shell("token", "create", "look", "--scope", "read", "-o", "json").stdout
