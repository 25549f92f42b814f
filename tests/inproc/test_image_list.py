"""The list of images, a page at a time."""

from __future__ import annotations

from typing import Any

import pytest

from garage.api.app import make_flask
from garage.services import api_tokens, image_views, images
from garage.services.context import Caller, Context


@pytest.fixture
def many(ctx: Context) -> Context:
    """Beside `debian-12` four names, two of them with an older image."""
    for number, name in enumerate(("arm", "a-rm", "a.rm", "zoo", "arm", "zoo")):
        images.register(ctx, name, f"{number:064x}", {"name": name})
    return ctx


def over_http(ctx: Context, who: Caller, query: str) -> Any:
    headers = {"Authorization": f"Bearer {api_tokens.create(ctx, who, 'test')[1]}"}
    return make_flask(ctx).test_client().get(f"/api/v1/images?{query}", headers=headers)


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 50])
def test_its_pages_are_the_whole_list_in_its_order(many: Context, alice: Caller, limit: int) -> None:
    whole = [image.id for image in image_views.page(many, alice).items]
    found, cursor, turns = list[str](), None, 0
    while turns == 0 or cursor:
        page = image_views.page(many, alice, cursor=cursor, limit=limit)
        found += [image.id for image in page.items]
        cursor, turns = page.cursor, turns + 1
    assert (found, turns) == (whole, -(-len(whole) // limit))
    assert len(whole) == 7


def test_it_is_looked_through(many: Context, alice: Caller) -> None:
    def names(query: str) -> list[str]:
        return [image["name"] for image in over_http(many, alice, query).json["items"]]

    assert names("only=current") == ["a-rm", "a.rm", "arm", "debian-12", "zoo"]
    assert names("only=older&search=RM") == ["arm"]
    assert names("search=a.r") == ["a.rm"]
    assert names("search=%25") == []


def test_a_cursor_comes_with_the_page_before(many: Context, alice: Caller) -> None:
    first = over_http(many, alice, "limit=3").json
    rest = over_http(many, alice, f"cursor={first['cursor']}").json
    assert (len(first["items"]), len(rest["items"]), rest["cursor"]) == (3, 4, None)
    wrong = over_http(many, alice, "cursor=7~x~y")
    assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "/cursor")
