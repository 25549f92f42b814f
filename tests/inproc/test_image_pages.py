"""The page of images: what one may use, bringing one, those on their way, sharing and deleting, in both languages."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from garage.api.app import make_flask
from garage.core.qcow2 import refused
from garage.core.shipped import shipped
from garage.services import api_tokens, image_tasks, images, machines, projects
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage
from garage.services.machines import NewMachine
from garage.shell import recipes
from tests.inproc.test_image_tasks import MINE, brought
from tests.inproc.test_pool_pages import browser
from web import catalogue, image_words
from web.pages import lists

FORM = {"name": "mine", "sha256": "12" * 32, "url": "https://example.org/disk.qcow2", "format": "qcow2", "boot": "uefi"}


@pytest.fixture(autouse=True)
def compiled() -> None:
    catalogue.compile_all()


def test_an_image_is_brought_and_followed(ctx: Context, admin: Caller, alice: Caller) -> None:
    page = browser(ctx, admin, alice)
    assert page.post("/images", **FORM, people="own").status_code == 303
    shown = page.get("/images").text
    assert "waiting for a worker" in shown
    assert 'hx-trigger="every 2s"' in shown
    task = image_tasks.claim(ctx, "server/1")
    assert task is not None
    assert (task.url, task.boot, task.format) == (FORM["url"], "uefi", "qcow2")
    image_tasks.progress(ctx, task, "fetch", 40, 100)
    assert "40 %" in page.get("/images").text
    image_tasks.failed(ctx, task, refused("backing_file"))
    shown = page.get("/images", Accept_Language="ja").text
    assert "土台となる別のファイル" in shown
    assert "every 2s" not in shown
    assert page.post(f"/images/tasks/{task.id}/cancel").status_code == 303
    assert image_tasks.listing(ctx, alice) == []


def test_what_was_typed_stays_with_what_was_wrong(ctx: Context, admin: Caller, alice: Caller) -> None:
    page = browser(ctx, admin, alice)
    answer = page.post("/images", **FORM | {"url": "ftp://example.org/<x>"}, people="own")
    assert answer.status_code == 422
    assert "begins with https://" in answer.text
    assert 'value="ftp://example.org/&lt;x&gt;"' in answer.text
    assert page.post("/images", **FORM, people="project nowhere").status_code == 404
    assert image_tasks.listing(ctx, alice) == []


def test_ones_own_can_be_shared_and_deleted_and_others_cannot(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller
) -> None:
    made = brought(ctx, alice)
    hers, his = browser(ctx, admin, alice), browser(ctx, admin, bob)
    assert "mine" not in his.get("/images").text
    assert his.post(f"/images/{made.id}/delete").status_code == 404
    projects.create(ctx, alice, "arms")
    assert hers.post(f"/images/{made.id}/people", people="project arms").status_code == 303
    assert images.get(ctx, alice, made.id).project == "arms"
    assert hers.post(f"/images/{made.id}/people", people="project alice").status_code == 303
    assert '<option value="project alice" selected>' in hers.get("/images").text
    assert hers.post(f"/images/{made.id}/people", people="all").status_code == 303
    assert "brought by alice" in his.get("/images").text
    assert f"/images/{made.id}/delete" not in his.get("/images").text
    assert his.post(f"/images/{made.id}/delete").status_code == 403
    machines.create(ctx, bob, NewMachine(name="one", image="mine", size="tiny"))
    shown = hers.get("/images").text
    assert "1 machine" in shown
    assert f"/images/{made.id}/delete" not in shown
    assert hers.post(f"/images/{made.id}/delete").status_code == 409


def test_older_and_damaged_ones_are_told_apart(ctx: Context, admin: Caller, alice: Caller) -> None:
    brought(ctx, alice)
    newer = brought(ctx, alice, sha256="56" * 32)
    images.verified(ctx, newer.sha256, damaged="disk.qcow2")
    shown = browser(ctx, admin, alice).get("/images").text
    assert "Older images" in shown
    assert "Its stored file is damaged" in shown


def test_the_request_offers_what_one_may_use(ctx: Context, admin: Caller, alice: Caller) -> None:
    brought(ctx, alice, MINE)
    image_tasks.bring(ctx, alice, NewImage("later", "12" * 32, bytes=5))
    assert '<option value="mine"' in browser(ctx, admin, alice).get("/machines").text
    above = browser(ctx, admin, admin)
    assert '<option value="mine"' not in above.get("/machines").text
    assert "mine" in above.get("/images").text


def test_admins_build_what_ships(ctx: Context, admin: Caller, alice: Caller) -> None:
    ctx = replace(ctx, recipes=shipped(recipes.texts()))
    page = browser(ctx, admin, admin)
    shown = page.get("/images").text
    assert "Debian 12, Podman and Docker" in shown
    japanese = page.get("/images", Accept_Language="ja").text
    assert "用途" in japanese
    assert "Debian 12（Podman・Docker）" in japanese
    assert page.post("/images/recipes/debian-13/build").location == "/images#coming"
    [task] = image_tasks.listing(ctx, admin)
    assert (task.kind, task.name, task.visibility) == ("build", "debian-13", "all")
    assert page.get("/images").text.count('href="#coming"') == 1
    assert page.post("/images/recipes/debian-13/build").status_code == 303
    assert page.post("/images/recipes/debian-12-containers/build").status_code == 303, "laid over its base"
    assert page.post("/images/recipes/debian-1/build").status_code == 404
    token = api_tokens.create(ctx, admin, "ci")[1]
    api = make_flask(ctx).test_client()
    auth = {"Authorization": f"Bearer {token}"}
    image_tasks.cancel(ctx, admin, "debian-13")
    known = api.get("/api/v1/recipes", headers=auth).json["items"]
    assert {"name": "debian-13", "title": "Debian 13"} in known
    for body, status in (
        ({"name": "debian-12-gpu"}, 201),
        ({"name": "none"}, 404),
        ({}, 422),
        ({"name": "a", "recipe": "b"}, 422),
    ):
        assert api.post("/api/v1/image-builds", json=body, headers=auth).status_code == status
    hers = browser(ctx, admin, alice)
    assert "What it is for" not in hers.get("/images").text
    assert hers.post("/images/recipes/debian-13/build").status_code == 403


def test_every_recipe_that_ships_is_described() -> None:
    titles = {recipe.title for recipe in shipped(recipes.texts()).values()}
    assert {title for title in titles if not re.fullmatch(r"Debian \d+", title)} == set(image_words.TITLES)
    assert set(shipped(recipes.texts())) == set(image_words.RECIPES)


def test_a_long_gallery_comes_a_page_at_a_time_and_is_searched(ctx: Context, admin: Caller, alice: Caller) -> None:
    page = browser(ctx, admin, alice)
    assert 'type="search" id="search"' not in page.get("/images").text, "nothing to search among few"
    for number in range(lists.PAGE):
        images.register(ctx, f"arm-{number:02}", f"{number:064x}", {"name": f"arm-{number:02}"})
    first = page.get("/images").text
    assert ("arm-49" in first, "debian-12" in first, 'id="search"' in first) == (True, False, True)
    rest = page.get(html.unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])).text
    assert ("arm-48" in rest, "debian-12" in rest, 'rel="next"' in rest) == (False, True, False)
    found = page.get("/images?search=arm-3").text
    assert ("arm-30" in found, "arm-20" in found) == (True, False)
    assert "Nothing by that name." in page.get("/images?search=nothing").text
    assert page.get("/images?cursor=x").status_code == 422
