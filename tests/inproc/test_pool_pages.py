"""The page about machines that wait: shown to admins where pools are on, in both languages, and what its form refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

import web
from garage.api.app import make_flask
from garage.db.models import PoolSize
from garage.services import accounts
from garage.services.context import Caller, Context
from tests.inproc.test_pages import Browser
from web import catalogue
from web.i18n import translate_error


@pytest.fixture
def pooled(ctx: Context) -> Context:
    catalogue.compile_all()
    return replace(ctx, config=replace(ctx.config, pool_ram_share=0.25))


def browser(ctx: Context, admin: Caller, who: Caller) -> Browser:
    app = make_flask(ctx, translate=translate_error)
    web.register(app, ctx)
    token = accounts.reset_link(ctx, admin, who.name)
    return Browser(app, accounts.accept_invitation(ctx, token, f"password of {who.name}", "192.0.2.9")[1])


def test_admins_see_pools_and_fix_their_size(pooled: Context, admin: Caller) -> None:
    page = browser(pooled, admin, admin)
    text = page.get("/nodes", Accept_Language="ja").text
    assert "待機中の機械" in text
    assert "需要に合わせる" in text
    assert 'id="pools"' in text
    assert 'id="pools"' not in page.get("/nodes", HX_Request="true", HX_Target="div#nodes").text
    assert page.post("/pools/debian-12/small", fixed="3").status_code == 303
    with pooled.db.read() as session:
        assert session.get_one(PoolSize, ("debian-12", "small")).fixed == 3
    assert "<option selected>3</option>" in page.get("/nodes").text
    assert page.post("/pools/debian-12/small", fixed="").status_code == 303
    assert "<option selected>" not in page.get("/nodes").text.split("pools", 1)[1]


@pytest.mark.parametrize("fixed", ["-1", "21", "x", "1e1"])
def test_what_is_no_size_is_refused(pooled: Context, admin: Caller, fixed: str) -> None:
    page = browser(pooled, admin, admin)
    assert page.post("/pools/debian-12/small", fixed=fixed).status_code == 422
    assert page.post("/pools/debian-12/none", fixed="1").status_code == 404


def test_members_and_garages_without_pools_see_nothing_of_it(
    ctx: Context, pooled: Context, admin: Caller, alice: Caller
) -> None:
    assert "Machines that wait" not in browser(pooled, admin, alice).get("/nodes").text
    assert browser(pooled, admin, alice).post("/pools/debian-12/small", fixed="1").status_code == 403
    assert "Machines that wait" not in browser(ctx, admin, admin).get("/nodes").text
