"""What an admin tells everybody: bounded, escaped, in the reader's language, from when to when, and closed by who has read it."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.db.models import Audit
from garage.errors import GarageError
from garage.services import announcements, api_tokens
from garage.services.announcements import NewAnnouncement
from garage.services.context import Caller, Context
from tests.conftest import NOON, Clock
from tests.inproc.served import Served
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_pages import Browser, app, as_admin, as_alice, compiled, cookies  # noqa: F401  (fixtures)

SAID = NewAnnouncement("Power is off at noon.", "正午に停電します。")


def test_from_when_to_when(ctx: Context, admin: Caller, alice: Caller, clock: Clock) -> None:
    announcements.put(ctx, admin, replace(SAID, since=NOON + 100, until=NOON + 200))
    assert announcements.current(ctx) is None
    assert announcements.stored(ctx, alice) is None
    assert announcements.stored(ctx, admin) is not None
    clock.forward(100)
    assert announcements.current(ctx) is not None
    clock.forward(100)
    assert announcements.current(ctx) is None
    announcements.put(ctx, admin, SAID)
    clock.forward(10**8)
    assert announcements.current(ctx) is not None
    announcements.clear(ctx, admin)
    announcements.clear(ctx, admin)
    assert announcements.stored(ctx, admin) is None
    with ctx.db.read() as session:
        query = select(Audit.action).where(Audit.action.startswith("announcement.")).order_by(Audit.id)
        assert list(session.scalars(query)) == ["announcement.set", "announcement.set", "announcement.clear"]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        *(
            ({"text_en": text}, "/text_en")
            for text in ("", " \n ", "x" * 501, "a\x00b", "a\x1b[2Jb", "a\u202eb", "a\rb")
        ),
        ({"text_ja": ""}, "/text_ja"),
        ({"severity": "alert"}, "/severity"),
        ({"until": NOON - 1}, "/until"),
        ({"since": NOON + 9, "until": NOON + 9}, "/until"),
    ],
)
def test_what_is_not_taken(ctx: Context, admin: Caller, wrong: dict[str, object], pointer: str) -> None:
    with pytest.raises(GarageError) as refused:
        announcements.put(ctx, admin, replace(SAID, **wrong))  # type: ignore[arg-type]
    assert (refused.value.code, refused.value.pointer) == ("invalid_field", pointer)
    assert announcements.stored(ctx, admin) is None


def test_only_an_admin_announces(ctx: Context, alice: Caller, as_alice: Browser) -> None:
    for act in (lambda: announcements.put(ctx, alice, SAID), lambda: announcements.clear(ctx, alice)):
        with pytest.raises(GarageError, check=lambda error: error.code == "forbidden"):
            act()
    assert as_alice.get("/announcement").status_code == 403
    assert as_alice.post("/announcement", text_en="a", text_ja="b").status_code == 403
    assert as_alice.post("/announcement/clear").status_code == 403


def test_on_every_page_in_the_readers_language_and_escaped(app, as_admin: Browser, as_alice: Browser) -> None:
    hostile = "<script>alert(1)</script> & {{ 7 * 7 }} %s"
    fields = {"text_en": f"{hostile}\r\nsecond line", "text_ja": "停電します", "severity": "warning"}
    assert as_admin.post("/announcement", **fields).status_code == 303
    for browser, path, status in (
        (as_alice, "/machines", 200),
        (as_alice, "/nothing", 404),
        (Browser(app), "/sign-in", 200),
        (as_admin, "/announcement", 200),
    ):
        found = browser.get(path)
        assert found.status_code == status
        assert "<script>alert" not in found.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {{ 7 * 7 }} %s\nsecond line" in found.text
        assert "停電します" in browser.get(path, Accept_Language="ja").text
    assert "/read" not in as_alice.get("/machines").text, "a warning stays"


def test_who_has_read_it_closes_it_in_that_browser(
    ctx: Context, admin: Caller, app, as_admin: Browser, as_alice: Browser
) -> None:
    first = announcements.put(ctx, admin, SAID)
    stranger = Browser(app)
    for browser, path in ((as_alice, "/machines"), (stranger, "/sign-in")):
        assert SAID.text_en in browser.get(path).text
        done = browser.post(f"/announcement/{first.id}/read", next=path)
        assert (done.status_code, done.location) == (303, path)
        assert SAID.text_en not in browser.get(path).text
    assert SAID.text_en in as_admin.get("/machines").text
    assert as_alice.post("/announcement/x/read", next="//evil.example/").location == "/machines"
    as_alice.post(f"/announcement/{first.id}/read", next="/machines")
    announcements.put(ctx, admin, SAID)
    assert SAID.text_en in as_alice.get("/machines").text, "another one"


def test_the_page_of_an_admin(as_admin: Browser) -> None:
    refused = as_admin.post("/announcement", text_en="Down", text_ja="", severity="info")
    assert refused.status_code == 422
    assert ">Down</textarea>" in refused.text
    assert as_admin.post("/announcement", text_en="a", text_ja="b", since="yesterday").status_code == 422
    as_admin.post(
        "/announcement", text_en="Later", text_ja="あとで", since="2100-01-01T10:00", until="2100-01-02T10:00"
    )
    assert "Shown later" in as_admin.get("/announcement").text
    assert "Later" not in as_admin.get("/machines").text
    assert as_admin.post("/announcement/clear").status_code == 303
    assert "Later" not in as_admin.get("/announcement").text


def test_by_the_command(ctx: Context, shell: Shell, served: Served, admin: Caller) -> None:
    root = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": api_tokens.create(ctx, admin, "root")[1]})
    assert "nothing is announced" in shell("announcement", "show").stdout
    assert shell("announcement", "set", "--en", "a", "--ja", "b").returncode == 5
    done = root("announcement", "set", "--en", "Down [at] noon", "--ja", "停電", "--warning", "--until", "2100-01-01")
    assert "It stands at the top of every page now." in done.stdout, done.stderr
    shown = shell("announcement", "show").stdout
    assert "Down [at] noon" in shown
    assert "warning" in shown
    assert root("announcement", "clear").returncode == 0
    assert "nothing is announced" in shell("announcement", "show").stdout
