"""What ends something for good is asked about on a page first, which says what would end."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import pytest

from garage.services import machines, projects, service_accounts
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import member
from tests.inproc.test_pages import (  # noqa: F401  (fixtures)
    Browser,
    app,
    as_admin,
    as_alice,
    as_bob,
    compiled,
    cookies,
)

ASKS = {
    "/projects/arms/delete": ("Delete the project arms?", "プロジェクト arms を削除しますか"),
    "/projects/arms/members/carol/remove": ("Take carol out of the project arms?", "外しますか"),
    "/projects/arms/members/alice/remove": ("Leave the project arms?", "抜けますか"),
    "/projects/arms/services/robot/remove": ("End the service account robot?", "<strong>ci</strong>"),
}
ADMIN_ASKS = {
    "/users/alice/disable": ("Disable alice?", "停止しますか"),
    "/users/alice/reset-factor": ("Reset the second factor of alice?", "解除しますか"),
}


@pytest.fixture
def arms(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", member(ctx, admin, "carol").name, "owner")
    service_accounts.create(ctx, alice, "arms", "robot")
    service_accounts.create_token(ctx, alice, "arms", "robot", "ci", days=7, scope="machines")


@pytest.mark.usefixtures("arms")
def test_owners_are_asked_and_nothing_ends_before(
    ctx: Context, alice: Caller, as_alice: Browser, as_bob: Browser
) -> None:
    before, shown = projects.get(ctx, alice, "arms"), as_alice.get("/projects/arms").text
    for path, (english, japanese) in ASKS.items():
        asked = as_alice.get(path)
        assert english in asked.text
        assert f'action="{path}"' in asked.text
        assert japanese in as_alice.get(path, Accept_Language="ja").text
        assert as_bob.get(path).status_code == 404
        assert f'href="{path}"' in shown
        assert f'action="{path}"' not in shown, "one click would do it"
    assert projects.get(ctx, alice, "arms") == before
    assert as_alice.get("/projects/arms/members/nobody/remove").status_code == 404
    assert as_alice.get("/projects/arms/services/nobody/remove").status_code == 404


@pytest.mark.usefixtures("arms")
def test_the_only_owner_is_offered_nothing_that_is_refused(ctx: Context, alice: Caller, as_alice: Browser) -> None:
    projects.set_member(ctx, alice, "arms", "carol", "member")
    shown = as_alice.get("/projects/arms").text
    assert "the only owner" in shown
    assert 'href="/projects/arms/members/carol/remove"' in shown
    assert 'href="/projects/arms/members/alice/remove"' not in shown
    assert as_alice.post("/projects/arms/members/alice/remove").status_code == 409


@pytest.mark.usefixtures("arms")
def test_admins_are_asked(as_admin: Browser, as_alice: Browser) -> None:
    shown = as_admin.get("/users").text
    for path, (english, japanese) in ADMIN_ASKS.items():
        assert english in as_admin.get(path).text
        assert japanese in as_admin.get(path, Accept_Language="ja").text
        assert f'action="{path}"' not in shown
        assert as_alice.get(path).status_code == 403
    assert 'href="/users/alice/disable"' in shown
    assert as_admin.post("/users/alice/disable").status_code == 303
    disabled = as_admin.get("/users").text
    assert 'action="/users/alice/enable"' in disabled
    assert ('action="/users/alice/link"' in shown, 'action="/users/alice/link"' in disabled) == (True, False)
    assert as_admin.get("/users/nobody/disable").status_code == 404


@pytest.mark.usefixtures("arms")
def test_a_project_with_machines_is_not_offered_to_go(ctx: Context, alice: Caller, as_alice: Browser) -> None:
    machines.create(ctx, alice, NewMachine("arm-test", project="arms", size="tiny"))
    told = as_alice.get("/projects/arms/delete").text
    assert "1 machine is still in it" in told
    assert 'class="bad"' not in told
