"""Several servers: emptied while an admin looks on, silent, partly reachable; in both languages, themes and widths."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from garage.core.drain import Way
from garage.core.node_checks import Wish, findings, parse
from garage.db.models import Machine, Node
from garage.db.node_models import Adoption, NodeTask
from garage.errors import GarageError
from garage.services import accounts, drains, machines, moving
from garage.services.context import Caller
from tests.browser.conftest import Opener
from tests.browser.site import PASSWORD, Site
from tests.browser.test_screens import LOOKS, checked

FACTS = {"vcpus": 8, "memory_mib": 4096, "disk_free_gib": 120.0, "disk_total_gib": 200.0, "virtualisation": "tcg"}


@pytest.fixture(scope="module")
def garage(site: Site) -> tuple[Site, Caller, Caller, dict[str, str]]:
    """(site, its admin, alice, her machines' ids by name): three machines on node1, two more nodes."""
    admin = accounts.accept_invitation(
        site.ctx, accounts.reset_link(site.ctx, site.admin, "admin"), PASSWORD, "192.0.2.1"
    )[0]
    alice = site.user("alice")
    ids = {name: site.make(alice, name) for name in ("arm-test", "lidar-log", "slow-03")}
    ids["big-data"] = site.make(alice, "big-data", size="medium")
    for name in ("arm-test", "lidar-log", "big-data"):
        site.wait(ids[name], "ready")
    machines.stop(site.ctx, alice, ids["lidar-log"])
    site.wait(ids["lidar-log"], "stopped")
    with site.ctx.db.write() as session:
        for name in ("node2", "node3"):
            session.add(Node(name=name, hypervisor="fake://", facts=FACTS, reported_at=time.time(), applied_version=1))
    return site, admin, alice, ids


def fresh(site: Site) -> None:
    """All nodes have just reported."""
    with site.ctx.db.write() as session:
        for node in session.query(Node):
            node.reported_at = time.time()


def set_node(site: Site, name: str, **values: object) -> None:
    with site.ctx.db.write() as session:
        node = session.get_one(Node, name)
        for key, value in values.items():
            setattr(node, key, value)


def begin(site: Site, ref: str, target: str) -> None:
    with site.ctx.db.write() as session:
        machine = session.get_one(Machine, ref)
        moving.begin(session, site.ctx, machine, session.get_one(Node, target), Way.LIVE)


def tell(site: Site, ref: str, told: moving.MoveNote) -> None:
    with site.ctx.db.write() as session:
        machine = session.get_one(Machine, ref)
        assert moving.note(session, site.ctx, session.get_one(Node, machine.node), machine, told)


def test_a_drain_is_shown_confirmed_and_followed_live(
    garage: tuple[Site, Caller, Caller, dict[str, str]], open_tab: Opener
) -> None:
    site, admin, alice, ids = garage
    fresh(site)
    page, hers = open_tab(admin, "/nodes").page, open_tab(alice, "/machines/arm-test").page
    page.locator("li", has_text="node1").get_by_role("link", name="Empty it…").click()
    there = page.get_by_role("table").first
    expect(there.get_by_role("row", name="arm-test.alice")).to_contain_text("while it runs")
    expect(there.get_by_role("row", name="lidar-log.alice")).to_contain_text("off as it is")
    expect(there.get_by_role("row", name="slow-03.alice")).to_contain_text("when it is up")
    expect(there.get_by_role("row", name="big-data.alice")).to_contain_text("stays")
    expect(there.get_by_role("row", name="big-data.alice")).to_contain_text("this size needs 4096 MiB")
    page.get_by_role("button", name="Empty it").click()
    expect(page.locator("#node header")).to_contain_text("is being emptied")
    expect(hers.get_by_role("status").first).to_contain_text("Its server node1 is being emptied")
    begin(site, ids["arm-test"], "node2")
    expect(page.get_by_role("heading", name="arm-test.alice moves to node2")).to_be_visible()
    tell(site, ids["arm-test"], moving.MoveProgress(ids["arm-test"], 40))
    expect(page.locator("#node")).to_contain_text("40 %")
    expect(hers.get_by_role("status").first).to_contain_text("It moves to node2: 40 %")
    tell(site, ids["arm-test"], moving.MoveDone(ids["arm-test"], 83.4))
    moved = page.locator("section", has=page.get_by_role("heading", name="Moves from here"))
    expect(moved.get_by_role("row", name="arm-test.alice")).to_contain_text("83 ms")
    expect(hers.get_by_text("Its server node1 is being emptied")).to_have_count(0)
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator("#node header")).to_contain_text("takes machines")


@pytest.mark.parametrize(("language", "theme", "phone"), [LOOKS[0], ("ja-JP", "dark", True)])
def test_how_it_looks(
    language: str, theme: str, phone: bool, garage: tuple[Site, Caller, Caller, dict[str, str]], open_tab: Opener
) -> None:
    site, admin, alice, ids = garage
    fresh(site)
    name = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}"
    drains.drain(site.ctx, admin, "node1")
    machine = ids["lidar-log"]
    begin(site, machine, "node2")
    tell(site, machine, moving.MoveProgress(machine, 62))
    page = open_tab(admin, "/nodes/node1", language=language, theme=theme, phone=phone).page
    problems = checked(page, "node-drain", name, phone)
    hers = open_tab(alice, "/machines/lidar-log", language=language, theme=theme, phone=phone).page
    problems += checked(hers, "machine-moving", name, phone)
    tell(site, machine, moving.MoveEnded(machine, {"code": "hypervisor_error", "text": "libvirt refused: {reason}",
                                                   "hint": "", "params": {"reason": "disk is busy"}}))  # fmt: skip
    set_node(site, "node2", hypervisor_error="end of file", silent_since=time.time() - 40, reported_at=time.time() - 55)
    set_node(site, "node3", hypervisor_error="no route to host")
    page.goto("/nodes")
    problems += checked(page, "nodes-silent", name, phone)
    set_node(site, "node3", silent_since=time.time() - 20, reported_at=time.time() - 30)
    page.reload()
    problems += checked(page, "nodes-ours", name, phone)
    for node in ("node2", "node3"):
        set_node(site, node, hypervisor_error="", silent_since=None)
    drains.activate(site.ctx, admin, "node1")
    assert problems == []


@pytest.mark.parametrize(("language", "theme", "phone"), [LOOKS[0], ("ja-JP", "dark", True)])
def test_how_servers_on_their_way_a_restore_and_an_explanation_look(
    language: str, theme: str, phone: bool, garage: tuple[Site, Caller, Caller, dict[str, str]], open_tab: Opener
) -> None:
    site, admin, alice, ids = garage
    fresh(site)
    name = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}"
    set_node(site, "node3", state="maintenance")
    page = open_tab(alice, f"/machines/{ids['arm-test']}/why", language=language, theme=theme, phone=phone).page
    problems = checked(page, "machine-why", name, phone)
    key, now = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOqYLx7kJrmEKHu0DDo3rpsCdfOv7hk9PBCx2NBFLkrD", time.time()
    common = {"kind": "add", "host_key": key, "asked_by": "admin", "asked_at": now, "changed_at": now}
    small = parse("uid=0\nsystem=debian-12\nmemory_mib=1024\nvcpus=2\ntun=yes\nreaches=yes", 0.0)
    fault = next(
        one
        for one in findings(small, Wish("x86_64", "brn", "here", "", "https://garage.example"))
        if one.what == "memory"
    )
    seen = {ids["lidar-log"]: ["running", "other"], "0" * 20: ["running", "other"]}
    with site.ctx.db.write() as session:
        session.add(NodeTask(name="node4", address="root@192.0.2.44", state="running", step="packages", percent=45,
                             said="Setting up libvirt-daemon-system (9.0.0-4+deb12u2) …", **common))  # fmt: skip
        session.add(NodeTask(name="node5", address="root@192.0.2.45", state="failed", findings=[fault.as_dict()], **common,
                             error=GarageError("unfit_node", fault.text, hint=fault.hint, **fault.params).as_dict()))  # fmt: skip
        session.add(Adoption(node="node2", since=now - 60, seen_at=now, domains=seen))
        session.add(Adoption(node="node3", since=now - 60, seen_at=None, domains={}))
    page = open_tab(admin, "/nodes", language=language, theme=theme, phone=phone).page
    problems += checked(page, "nodes-coming", name, phone)
    with site.ctx.db.write() as session:
        for row in (*session.query(NodeTask), *session.query(Adoption)):
            session.delete(row)
    set_node(site, "node3", state="active")
    assert problems == []
