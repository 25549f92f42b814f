"""Every page and form: who gets it, that no other site sends it, hostile fields, queries and paths, and no frame around it.

Rules come from the blueprint; one that has no line in `page_roles` fails these tests. What a view reads of a form or of the address bar
is noticed while it reads, so that a new field is tried without a line.
"""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Flask, Request
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.test import TestResponse

import web
from garage.api.app import make_flask
from garage.services import accounts
from garage.services.context import Caller
from tests.inproc.page_roles import ADMINS, ANYBODY, GROUPS, HERS, MEMBERS, Page
from tests.inproc.route_world import World, world  # noqa: F401  (a fixture)
from web import catalogue
from web.i18n import translate_error
from web.pages.base import bp

HOSTILE = ("\0", "a" * 5000, "<script>alert(1)</script>🤖", "1e999")
HOSTILE_REFS = ("%00", "x" * 300, "%2e%2e", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "%F0%9F%A4%96")
BODIES: dict[str, dict[str, str]] = {
    "/find": {"search": "one"},
    "/machines/<ref>/image": {"name": "kept", "snapshot": "before"},
    "/projects/<ref>/members": {"user": "bob", "role": "owner"},
    "/machines/<ref>/transfer": {"project": "bob"},
    "/news/ways/<ref>/confirm": {"code": "12345678"},
    "/volumes/<ref>/<action>": {"size_gib": "2"},
}
"""Of pages that look at what is asked for before they look at who asks."""
LAST = ("/delete", "/remove", "/end", "/revoke", "/offboard", "/sign-out", "/withdraw", "/people", "/transfer")
"""What ends things comes when all others have been tried."""


class Noticing(ImmutableMultiDict[str, str]):
    """Keeps which fields were asked for."""

    asked: ClassVar[set[str]] = set()

    def get(self, key: str, *rest: Any, **named: Any) -> Any:
        self.asked.add(key)
        return super().get(key, *rest, **named)

    def getlist(self, key: str, *rest: Any, **named: Any) -> Any:
        self.asked.add(key)
        return super().getlist(key, *rest, **named)


class NoticingRequest(Request):
    parameter_storage_class = Noticing


@dataclass
class Pages:
    """All of them, and who looks at them."""

    world: World
    app: Flask
    cookies: dict[str, str]
    tokens: dict[str, str]
    """Of forms."""
    link: str
    """A one-time link of carol's."""

    def ask(self, who: str, page: Page, path: str = "", *, csrf: str | None = None, **sent: Any) -> TestResponse:
        """`sent`: fields of a form, or of the address bar."""
        client = self.app.test_client()
        client.set_cookie("garage", self.cookies[who]) if who else client.set_cookie("garage-visit", "visit")
        path = path or self.path(page[1])
        if page[0] == "GET":
            return client.get(path, query_string=sent or None)
        return client.post(path, data={**sent, "csrf": self.tokens[who] if csrf is None else csrf})

    def path(self, rule: str, **other: str) -> str:
        """With alice's things in it."""
        refs, first = self.world.refs, rule.split("/")[1]
        known = {"ref": refs.get(first, "?"), "session_id": refs["sessions"], "token": self.link, "user": "alice"}
        known |= {"name": {"nodes": refs["nodes"], "users": "carol", "projects": "robot"}.get(first, "before")}
        known |= {"token_id": refs["token" if first == "projects" else "tokens"], "peer": "two", "action": "grow"}
        known |= {"image": "debian-12", "size": "tiny", "filename": "favicon.svg"} | self._special(rule) | other
        filled = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule)
        filled = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: known[found[1]], filled)
        assert "?" not in filled, f"what is it of {rule}?"
        return filled

    def _special(self, rule: str) -> dict[str, str]:
        kinds = {"/images/tasks": "image-tasks", "/news/ways": "channels", "/announcement": "news"}
        kinds |= {f"/{kind}/<ref>/snapshots": f"/{kind}/{{ref}}/snapshots" for kind in ("machines", "volumes")}
        found = [self.world.refs[kind] for start, kind in kinds.items() if rule.startswith(start)]
        return {"ref": found[0]} if found else {}


def owner(page: Page) -> str:
    return "root-admin" if page in ADMINS else "alice"


@pytest.fixture
def pages(world: World, admin: Caller) -> Iterator[Pages]:
    catalogue.compile_all()
    app = make_flask(world.ctx, translate=translate_error)
    app.request_class = NoticingRequest
    web.register(app, world.ctx)
    cookies = {
        name: accounts.sign_in(world.ctx, name, f"password of {name}", "192.0.2.7")[1] for name in ("alice", "bob")
    }
    link = accounts.reset_link(world.ctx, admin, admin.name)
    cookies[admin.name] = accounts.accept_invitation(world.ctx, link, "password of root", "192.0.2.7")[1]
    found = Pages(world, app, cookies, {}, accounts.reset_link(world.ctx, admin, "carol"))
    for who in ("", *cookies):
        shown = re.search(r'name="csrf" value="([^"]+)"', found.ask(who, ("GET", "/help")).text)
        assert shown
        found.tokens[who] = shown[1]
    return found


def rules() -> list[Page]:
    """Those that end something last."""
    app = Flask("pages")
    app.register_blueprint(bp)
    found = [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]
    all_ = [(method, rule.rule) for rule in found for method in sorted({*(rule.methods or ())} & {"GET", "POST"})]
    return sorted(all_, key=lambda page: (page[0], page[1].endswith(LAST), page))


RULES = rules()


def hardened(answer: TestResponse, page: Page) -> None:
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], page
    assert answer.headers["X-Content-Type-Options"] == "nosniff", page


def test_every_page_has_a_line() -> None:
    assert set().union(*GROUPS) == set(RULES), "who gets it: a line in page_roles"
    assert sum(map(len, GROUPS)) == len(RULES), "a line alone"
    assert all(("<" in rule) is (group is HERS) for group in (MEMBERS, HERS) for _, rule in group)


def test_a_page_is_for_whom_its_line_says_and_no_other_site_sends_its_form(pages: Pages) -> None:
    before = pages.world.everything()
    hers = {pages.world.refs[kind] for kind in ("machines", "keys", "tokens", "projects", "images", "image-tasks")}
    hers |= {pages.world.refs[kind] for kind in ("volumes", "channels", "news", "sessions", "token")}
    wrong: list[tuple[Page, int]] = []
    for page in RULES:
        asked = {
            who: pages.ask(who, page, **BODIES.get(page[1], {}))
            for who in ("", "bob")
            if page not in ANYBODY and not (who and page in MEMBERS and page[0] == "POST")
        }
        if page[0] == "POST":
            for who, csrf in (("alice", ""), ("root-admin", pages.tokens["bob"]), ("", pages.tokens["alice"])):
                asked[f"{who}, forged"] = forged = pages.ask(who, page, csrf=csrf)
                assert forged.status_code == 403, (page, who)
                assert "load the page again" in forged.text.lower()
        if nobody := asked.get(""):
            assert nobody.status_code in ((303,) if page[0] == "GET" else (401, 403)), page
            assert page[0] == "POST" or nobody.location.startswith("/sign-in"), page
        if bob := asked.get("bob"):
            expected = (200, 303) if page in MEMBERS else (403, 404)
            wrong += [(page, bob.status_code)] if bob.status_code not in expected else []
            assert not [ref for ref in hers if ref in bob.text and ref not in pages.path(page[1])], page
        for answer in asked.values():
            hardened(answer, page)
    assert wrong == []
    assert pages.world.everything() == before


STOLEN: list[tuple[Page, dict[str, str]]] = [
    (("POST", "/machines"), {"project": "projects", "name": "=mine"}),
    (("POST", "/machines"), {"image": "images", "name": "=mine"}),
    (("POST", "/machines/many"), {"action": "=delete", "sure": "=1", "machine": "machines"}),
    (("POST", "/volumes"), {"project": "projects", "name": "=mine", "size_gib": "=1"}),
    (("POST", "/news/ways"), {"project": "projects", "kind": "=slack", "name": "=x", "url": "=https://hooks.example.org/T"}),
    (("POST", "/account/passkeys/remove"), {"key": "keys", "code": "=1"}),
    (("GET", "/volumes"), {"project": "projects"}),
    (("GET", "/audit"), {"project": "projects"}),
]  # fmt: skip
"""What of alice's another one names in a field of a page that is everybody's; "=" is said as it is."""


def test_nothing_of_hers_is_had_by_naming_it(pages: Pages) -> None:
    before = pages.world.everything()
    for page, fields in STOLEN:
        named = {
            name: value[1:] if value.startswith("=") else pages.world.refs[value] for name, value in fields.items()
        }
        answer = pages.ask("bob", page, **named)
        assert 400 <= answer.status_code < 500, (page, fields, answer.text)
    assert pages.world.everything() == before


def test_no_hostile_path_is_found(pages: Pages) -> None:
    before = pages.world.everything()
    for page in RULES:
        for name in re.findall(r"<(?:path:)?(\w+)>", page[1]):
            for value in HOSTILE_REFS if page not in ANYBODY else HOSTILE_REFS[:1]:
                at = pages.path(page[1], **{name: value})
                answer = pages.ask(owner(page), page, at, **BODIES.get(page[1], {}))
                if page[1] != "/announcement/<ref>/read":
                    assert 400 <= answer.status_code < 500, (page, at)
                assert "<script>alert" not in answer.text
                hardened(answer, page)
    assert pages.world.everything() == before


def test_no_hostile_field_is_a_defect(pages: Pages) -> None:
    """Of forms and of the address bar, by whoever may send it."""
    tried: set[tuple[Page, str]] = set()
    for page in RULES:
        Noticing.asked.clear()
        answer = pages.ask(owner(page), page)
        assert answer.status_code < 500, (page, answer.text)
        hardened(answer, page)
        while fresh := {(page, field) for field in Noticing.asked - {"csrf", "v"}} - tried:
            tried |= fresh
            for field in sorted(field for _, field in fresh):
                for value in HOSTILE:
                    answer = pages.ask(owner(page), page, **BODIES.get(page[1], {}) | {field: value})
                    assert answer.status_code < 500, (page, field, value)
                    assert "<script>alert" not in answer.text, (page, field)
    assert len({page for page, _ in tried}) > 40
    assert len(tried) > 120
