"""Coming in by OpenID Connect in a real browser: the button, the provider's own page, and back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import expect

import web
from garage.api.app import make_flask
from garage.core.openid import OpenId
from garage.gateway.app import make_asgi
from garage.gateway.serve import make_server
from garage.shell.openid import HttpProvider
from tests.browser.conftest import Opener
from tests.browser.site import Hand, Site, furnish, make_context
from tests.browser.test_people_screens import LOOKS
from tests.browser.test_screens import checked
from tests.inproc.openid_providers import CLIENT, Real, free_port, real
from tests.inproc.openid_rig import secret
from web import catalogue
from web.i18n import translate_error


@pytest.fixture(scope="module")
def provider() -> Iterator[Real]:
    with real() as found:
        found.person("hana", email="hana@example.ac.jp", email_verified=True)
        found.person("eve", email="eve@example.com", email_verified=True)
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, provider: Real) -> Iterator[Site]:
    """One to which a provider is set; its own address must be known beforehand."""
    catalogue.compile_all()
    port, ctx = free_port(), make_context(tmp_path_factory.mktemp("garage"))
    openid = OpenId(provider.issuer, CLIENT, domains=("example.ac.jp",), label="Example University")
    url = f"http://127.0.0.1:{port}"
    ctx = replace(ctx, config=replace(ctx.config, openid=openid, public_url=url))
    app = make_flask(ctx, translate=translate_error)
    web.register(app, ctx, provider=HttpProvider(openid, secret(ctx.config.home)))
    admin = furnish(ctx)
    server = make_server(make_asgi(ctx, app), replace(ctx.config, listen=f"127.0.0.1:{port}"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Site(ctx, url, admin, Hand(ctx))
    server.should_exit = True
    thread.join(10)
    ctx.db.close()


@pytest.mark.parametrize(("language", "theme", "phone"), LOOKS)
def test_by_the_button_and_back(language: str, theme: str, phone: bool, site: Site, open_tab: Opener) -> None:
    look_name = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}"
    problems, page = (
        list[str](),
        open_tab(None, "/sign-in?next=/keys", language=language, theme=theme, phone=phone).page,
    )
    page.route(lambda url: "127.0.0.1" not in url, lambda route: route.fulfill(status=200, body=""))
    problems += checked(page, "sign-in-openid", look_name, phone)
    page.locator(".door-button").click()
    page.fill("[name=sub]", "eve")
    page.locator("button", has_text="Authorize").click()
    expect(page.locator("main code")).to_have_text("forbidden")
    problems += checked(page, "openid-refused", look_name, phone)
    page.locator("main a.button").click()
    page.locator(".door-button").click()
    page.fill("[name=sub]", "hana")
    page.locator("button", has_text="Authorize").click()
    page.wait_for_url("**/machines")
    page.goto("/account")
    expect(page.locator("#sessions")).to_contain_text("OpenID Connect")
    problems += checked(page, "account-openid", look_name, phone)
    assert problems == []
