"""Pages of machines that there are: change, rebuild, resize, several at once, tags, and finding one from anywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

import web
from garage.api.app import make_flask
from garage.core.states import Event
from garage.db.models import Machine
from garage.errors import GarageError
from garage.services import accounts, machines, outlook, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.served import play
from web import catalogue
from web.i18n import translate_error

CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Browser:
    """Alice's."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def post(self, path: str, **form: str) -> Any:
        token = CSRF.search(self.get("/machines").text)
        assert token
        return self.client.post(path, data={"csrf": token[1], **form})


def browse(ctx: Context, who: Caller) -> Browser:
    """A browser in which somebody is signed in."""
    catalogue.compile_all()
    app = make_flask(ctx, translate=translate_error)
    web.register(app, ctx)
    client = app.test_client()
    client.set_cookie("garage", accounts.sign_in(ctx, who.name, f"password of {who.name}", "192.0.2.9")[1])
    return Browser(client)


@pytest.fixture
def browser(ctx: Context, alice: Caller) -> Browser:
    return browse(ctx, alice)


@pytest.fixture
def one(ctx: Context, alice: Caller) -> str:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return made.id


def test_a_machine_is_renamed_tagged_and_noted(browser: Browser, ctx: Context, alice: Caller, one: str) -> None:
    assert f"/machines/{one}/change" in browser.get(f"/machines/{one}").text
    assert 'value="one"' in browser.get(f"/machines/{one}/change").text
    done = browser.post(f"/machines/{one}/describe", name="two", tags="course-2026, team", notes="<b>mine</b>")
    assert (done.status_code, done.location) == (303, f"/machines/{one}")
    view = machines.get(ctx, alice, one)
    assert (view.name, view.tags, view.notes) == ("two", ["course-2026", "team"], "<b>mine</b>")
    shown = browser.get(f"/machines/{one}").text
    assert "&lt;b&gt;mine&lt;/b&gt;" in shown
    assert 'href="/machines?tag=team"' in shown
    assert "two" in browser.get("/machines?tag=team").text
    assert f"m-{one}" not in browser.get("/machines?tag=other").text


def test_what_cannot_be_saved_is_told_on_the_page(browser: Browser, ctx: Context, one: str) -> None:
    refused = browser.post(f"/machines/{one}/describe", name="one", tags="Not A Tag!", notes="")
    assert refused.status_code == 422
    assert "cannot be a tag" in refused.text
    with ctx.db.write() as session:
        session.get_one(Machine, one).most_vcpus = 0  # started before it could grow
    refused = browser.post(f"/machines/{one}/resize", size="small")
    assert (refused.status_code, "started without room" in refused.text) == (409, True)


def test_one_that_runs_grows_and_its_page_says_so_or_why_not(
    browser: Browser, ctx: Context, alice: Caller, one: str
) -> None:
    assert "runs on meanwhile" in browser.get(f"/machines/{one}/change").text
    assert browser.post(f"/machines/{one}/resize", size="small").status_code == 303
    assert "It grows: 2 vCPU" in browser.get(f"/machines/{one}").text
    why = GarageError("unavailable", "its emulator can take no more vCPUs at the moment", hint="<later>")
    with ctx.db.write() as session:
        row = session.get_one(Machine, one)
        row.grown_from, row.resize_error = None, why.as_dict()
    shown = browser.get(f"/machines/{one}").text
    assert "no more vCPUs at the moment" in shown
    assert "&lt;later&gt;" in shown


def test_for_an_hour_a_page_says_that_user_data_may_go_on(browser: Browser, ctx: Context, one: str) -> None:
    said = "cloud-init status --wait"
    assert said not in browser.get(f"/machines/{one}").text
    with ctx.db.write() as session:
        machine = session.get_one(Machine, one)
        machine.user_data, machine.ready_at = b"locked", ctx.clock()
    assert said in browser.get(f"/machines/{one}").text
    with ctx.db.write() as session:
        session.get_one(Machine, one).ready_at = ctx.clock() - 3700
    assert said not in browser.get(f"/machines/{one}").text


def test_a_rebuild_is_confirmed(browser: Browser, ctx: Context, one: str) -> None:
    assert browser.post(f"/machines/{one}/rebuild", image="debian-12").status_code == 422
    assert browser.post(f"/machines/{one}/rebuild", image="debian-12", sure="1").status_code == 303
    with ctx.db.read() as session:
        row = session.get_one(Machine, one)
        assert (row.state, row.redo) == ("preparing", "disk")


def test_a_machine_that_is_off_is_resized(browser: Browser, ctx: Context, alice: Caller, one: str) -> None:
    play(ctx, one, Event.STOP, Event.OFF)
    assert "<option" in browser.get(f"/machines/{one}/change").text
    assert browser.post(f"/machines/{one}/resize", size="small").status_code == 303
    assert machines.get(ctx, alice, one).size == "small"


def test_a_machine_goes_to_another_project_and_its_row_goes_from_pages_of_who_sees_it_no_more(
    browser: Browser, ctx: Context, admin: Caller, alice: Caller, one: str
) -> None:
    assert "Another project" not in browser.get(f"/machines/{one}/change").text
    projects.create(ctx, alice, "arms")
    assert "<option>arms</option>" in browser.get(f"/machines/{one}/change").text
    assert browser.post(f"/machines/{one}/transfer", project="legs").status_code == 404
    assert browser.post(f"/machines/{one}/transfer", project="arms").status_code == 303
    assert machines.get(ctx, alice, one).project == "arms"
    assert one in browser.get(f"/machines/{one}/row").text
    projects.set_member(ctx, admin, "arms", "root-admin", "owner")
    projects.remove_member(ctx, admin, "arms", "alice")
    answer = browser.client.get(f"/machines/{one}/row", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.text) == (200, "")
    assert browser.get(f"/machines/{one}/row").status_code == 404


def test_several_at_once_all_or_none(browser: Browser, ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.set_quota(ctx, admin, "alice", {"machines": 4})
    refused = browser.post("/machines", name="web", size="tiny", image="debian-12", count="5", once="a")
    assert refused.status_code == 409
    assert machines.listing(ctx, alice).items == []
    for _ in range(2):
        form = {"name": "web", "size": "tiny", "image": "debian-12", "count": "3", "tags": "team-a, lab", "once": "b"}
        done = browser.post("/machines", **form)
        assert (done.status_code, done.location) == (303, "/machines?search=web-")
    assert {tuple(view.tags) for view in machines.listing(ctx, alice).items} == {("lab", "team-a")}
    assert sorted(view.name for view in machines.listing(ctx, alice).items) == ["web-1", "web-2", "web-3"]


def test_what_waits_is_said_of_its_kind(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "forecast", lambda _ctx: outlook.Forecast(1.9, "pool", 1))
    assert "Debian 12, small: ready in about 1.9 s, 1 machine is waiting." in browser.get("/machines").text


def test_a_machine_is_found_from_any_page(browser: Browser, ctx: Context, bob: Caller, one: str) -> None:
    his = machines.create(ctx, bob, NewMachine(name="one-of-bob", size="tiny"))
    assert 'id="seek-text"' in browser.get("/keys").text
    found = browser.get("/find?search=on").text
    assert f"/machines/{one}" in found
    assert his.id not in found
    assert "No machine matches." in browser.get("/find?search=zebra").text


def test_anothers_machine_has_no_page_to_change_it(browser: Browser, ctx: Context, bob: Caller) -> None:
    his = machines.create(ctx, bob, NewMachine(name="his", size="tiny"))
    assert browser.get(f"/machines/{his.id}/change").status_code == 404
    for action, form in (
        ("describe", {"tags": "a"}),
        ("resize", {"size": "small"}),
        ("rebuild", {"sure": "1"}),
        ("transfer", {"project": "alice"}),
    ):
        assert browser.post(f"/machines/{his.id}/{action}", **form).status_code == 404
