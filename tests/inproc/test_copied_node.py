"""A server whose files were copied to another one: both report as the same node, with the same key and credential."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from garage.metrics import render
from garage.services import sites
from garage.services.context import Caller, Context
from netd.shell.installation import installation
from tests.inproc.overlay_nodes import FakeNode, member
from tests.inproc.served import Served, serving

FIRST, COPY = {"start": "aa", "place": "01"}, {"start": "bb", "place": "02"}


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


def tell(served: Served, node: FakeNode, who: dict[str, str], address: str) -> httpx.Response:
    """Every ten seconds, as netd does."""
    served.ctx.clock.forward(10)  # type: ignore[attr-defined]
    said = msgspec.json.encode(node.said(endpoints=(f"{address}:51820",), **who))
    headers = {"Authorization": f"Bearer {node.answer.credential}"}
    return served.http.post("/overlay/v1/report", content=said, headers=headers)


def test_a_copy_is_named_refused_and_moves_no_link(served: Served, ctx: Context, admin: Caller) -> None:
    one, other = member(ctx, admin, "one", 1), member(ctx, admin, "other", 2)
    assert tell(served, one, FIRST, "203.0.113.1").status_code == 204
    other.poll()
    before = [link.endpoints for link in other.to("one")]
    assert before == [("203.0.113.1:51820",)]
    answers = []
    for _ in range(4):
        answers.append(tell(served, one, COPY, "203.0.113.77"))
        assert tell(served, one, FIRST, "203.0.113.1").status_code == 204
        other.poll()
        assert [link.endpoints for link in other.to("one")] == before
        there = "198.51.100.7" if len(answers) % 2 else "198.51.100.8"
        number = other.to("one")[0].number
        other.report(links=tuple(msgspec.structs.replace(s, seen_at=f"{there}:51820") for s in other.said().links))
        other.poll()
        assert other.to("one")[0].number == number
    assert [answer.status_code for answer in answers][2:] == [409, 409]
    assert answers[-1].json()["code"] == "key_in_use"
    assert "its files were copied" in answers[-1].json()["hint"]
    view = sites.get(ctx, admin, "one")
    assert (view.state, view.nodes[0].addresses) == ("copied", ["203.0.113.1"])
    assert view.alarms == ["two servers report as node1: its files were copied"]
    assert 'garage_overlay_alarms{site="one"} 1.0' in render(ctx)[0].decode()
    assert sites.get(ctx, admin, "other").state == "up"
    ctx.clock.forward(400)  # type: ignore[attr-defined]
    assert tell(served, one, FIRST, "203.0.113.1").status_code == 204
    view = sites.get(ctx, admin, "one")
    assert (view.state, view.alarms) == ("up", [])


def test_a_node_that_starts_again_is_no_copy(served: Served, ctx: Context, admin: Caller) -> None:
    one = member(ctx, admin, "one", 1)
    for n in range(6):
        who = {"start": f"{n:x}", "place": "01"}
        assert tell(served, one, who, f"203.0.113.{n + 1}").status_code == 204
        view = sites.get(ctx, admin, "one")
        assert (view.state, view.alarms, view.nodes[0].addresses) == ("up", [], [f"203.0.113.{n + 1}"])


def test_an_installation_is_another_one_once_its_files_are_copied(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("0123\n")
    folder, copy = tmp_path / "overlay", tmp_path / "copy"
    folder.mkdir()
    shutil.copytree(folder, copy)
    mine = installation(folder, tmp_path / "id")
    assert mine == installation(folder, tmp_path / "id") != installation(copy, tmp_path / "id")
    (tmp_path / "id").write_text("4567\n")
    assert installation(folder, tmp_path / "id") not in ("", mine)
    assert installation(tmp_path / "none", tmp_path / "id") == ""
