"""`netd status` and `netd plan` of a site in an overlay.

tsukuba (registry, 10.30.0.0/20) ──┐
nagoya  (10.41.0.0/20) ────────────┤ internet
osaka   (joins during the test) ───┤
mute    (its netd does not run) ───┘
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from netd.lab.parse import parse
from netd.lab.sites import SiteNode
from netd.lab.world import World
from tests.clinic import Clinic

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: shown
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 2ms}}}
  nagoya: {lines: {nagoya-line: {}}}
  osaka: {lines: {osaka-line: {}}}
  mute: {lines: {mute-line: {}}}
"""


@pytest.fixture(scope="module")
def clinic() -> Iterator[Clinic]:
    with World(parse(TOPOLOGY)) as world:
        made = Clinic(world, ("nagoya",))
        try:
            yield made
        finally:
            made.net.close()


def shown(site: SiteNode, command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.netd(command, "-o", "json"))
    return found


def test_a_running_site_shows_its_links_and_nothing_is_left_to_change(clinic: Clinic) -> None:
    site = clinic.net.sites["nagoya"]

    def well() -> bool:
        found = shown(site, "status")
        up = [link for link in found["overlay"]["links"] if link["state"] == "up" and link["rtt_ms"]]
        return found["overlay"]["daemon"] and bool(up) and not found["pending"]

    clinic.net.until(well, "nagoya is well, measured, and nothing waits", 90)
    overlay = shown(site, "status")["overlay"]
    assert (overlay["site"], overlay["domain"], overlay["paused"]) == ("nagoya", "garage.internal", False)
    link = next(link for link in overlay["links"] if link["peer_site"] == "tsukuba")
    assert link["rtt_ms"] > 1.5, "the registry's line delays 2 ms"
    assert link["received"] > 0 < link["sent"]
    assert 1280 <= link["mtu"] <= 1420
    assert link["endpoint"].startswith(str(clinic.world.nodes["tsukuba"].ipv4)) or link["endpoint"].startswith("[")
    assert (shown(site, "plan")["items"], shown(site, "plan")["overlay"]["changes"]) == ([], [])
    text = site.netd("status")
    assert f"{link['interface']}  tsukuba" in text
    assert "documents" in text


def test_plan_shows_what_the_registry_s_newest_documents_would_change(clinic: Clinic) -> None:
    """At a site whose netd does not run, so that they are not taken meanwhile; and the plan takes nothing, either."""
    before = shown(clinic.mute, "plan")
    assert not any("osaka" in change for change in before["overlay"]["changes"])
    clinic.join("osaka", 2)
    after = shown(clinic.mute, "plan")
    assert after["overlay"]["table_version"][1] > before["overlay"]["table_version"][1]
    assert any("osaka" in change for change in after["overlay"]["changes"])
    status = shown(clinic.mute, "status")["overlay"]
    assert (status["daemon"], status["table_version"]) == (False, before["overlay"]["table_version"][1])
    assert all(link["state"] == "waiting" for link in status["links"])
    assert "not running" in clinic.mute.netd("status")
    assert shown(clinic.mute, "plan")["overlay"]["changes"] == after["overlay"]["changes"]


def test_the_doctor_says_so_too(clinic: Clinic) -> None:
    found = clinic.visit("mute")
    assert (found["documents"]["level"], "newer" in found["documents"]["seen"]) == ("warn", True)
    assert found["udp"]["level"] == "fail", "the echo answers, and no link has a handshake"
    assert found["links"]["seen"].startswith("0 of ")
