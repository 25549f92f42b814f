"""Pages of long lists: a part of it at a time, found by name, in as many queries as a short one takes."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select

from garage.db.models import Image, Membership, Project, User
from garage.services import fleet, image_quota, projects
from garage.services.context import Caller, Context
from tests.inproc.test_pages import Browser, app, as_admin, as_alice, cookies  # noqa: F401  (fixtures)
from web import catalogue
from web.pages import lists

MANY = lists.PAGE + 3


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    catalogue.compile_all()


@pytest.fixture
def many(ctx: Context, alice: Caller) -> None:
    """Nodes, projects and users enough for a second page of each."""
    fleet.add_nodes(ctx, MANY)
    quota = {f"quota_{key}": 5 for key in ("machines", "vcpus", "memory_mib", "disk_gib")}
    with ctx.db.write() as session:
        for number in range(MANY):
            session.add(User(id=f"u{number}", name=f"user{number:03}", created_at=0.0))
            session.add(Project(id=f"p{number}", name=f"p{number:03}", created_at=0.0, **quota))
        session.flush()
        session.add_all(
            Membership(project_id=f"p{number}", user_id=alice.user_id, role="owner") for number in range(MANY)
        )


@contextmanager
def counted(ctx: Context) -> Iterator[list[str]]:
    """The queries of what happens inside."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found.append(statement)

    event.listen(ctx.db.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(ctx.db.engine, "before_cursor_execute", note)


LISTS = {"/nodes": r"<h2>([a-z0-9]+)", "/projects": r'href="/projects/([a-z0-9-]+)"', "/users": r'lead-cell">([\w-]+)<'}


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.usefixtures("many")
def test_pages_leave_nothing_out_and_names_are_found(ctx: Context, as_admin: Browser, path: str) -> None:
    with counted(ctx) as queries:
        first = as_admin.get(path).text
    assert len(queries) < MANY, "a query per row"
    on_first = re.findall(LISTS[path], first)
    link = re.search(r'rel="next" href="([^"]+)"', first)
    assert link
    second = as_admin.get(html.unescape(link[1])).text
    on_second = re.findall(LISTS[path], second)
    assert 'rel="next"' not in second
    assert len(on_first) in (lists.PAGE, lists.PAGE + 1), "one's own project comes on top"
    assert not set(on_first) & set(on_second)
    assert len({*on_first, *on_second}) > MANY
    found = as_admin.get(f"{path}?search=17").text
    assert [name[-2:] for name in re.findall(LISTS[path], found)] == ["17"]
    assert "Nothing by that name" in as_admin.get(f"{path}?search=zebra").text
    assert "その名前のものはありません" in as_admin.get(f"{path}?search=zebra", Accept_Language="ja").text


@pytest.mark.usefixtures("many")
def test_a_page_costs_what_few_cost(ctx: Context, as_alice: Browser) -> None:
    with counted(ctx) as few:
        as_alice.get("/projects?search=p001")
    with counted(ctx) as all_:
        as_alice.get("/projects?search=p0")
    assert len(all_) == len(few)
    with counted(ctx) as names:
        assert "p052" in as_alice.get("/audit").text
    assert len(names) < len(few) + 10


def test_a_shared_project_pays_for_its_own_images_alone(ctx: Context, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    with ctx.db.write() as session:
        for name, owner in (("ours", None), ("hers", alice.user_id)):
            made = {"created_at": 0.0, "manifest": {}, "bytes": 3 << 30, "visibility": "all", "owner_id": owner}
            session.add(Image(id=name, name=name, sha256=name, **made))
    used = {view.name: view.usage.used["image_gib"] for view in projects.listing(ctx, alice)}
    assert used == {"alice": 3, "arms": 0}
    with ctx.db.read() as session:
        arms = session.scalars(select(Project).where(Project.name == "arms")).one()
        assert image_quota.held(session, arms) == 0
