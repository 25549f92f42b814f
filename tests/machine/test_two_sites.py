"""The headline: two organisations' garages, each with controller, libvirt and machines of its own, become one network by one token.

machine a ── garage tsukuba (registry) ── line ── internet ── line ── garage nagoya ── machine b
             10.77.0.0/20, fd77::/48                           10.78.0.0/20, fd78::/48
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from garage.shell.images import Manifest
from netd.lab.parse import parse
from netd.lab.world import World
from tests.machine.garage_inside import BIN, Garage

pytestmark = pytest.mark.machine

TOPOLOGY = """
name: headline
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 4ms}}}
  nagoya: {lines: {nagoya-line: {delay: 6ms}}}
"""


class Pair:
    """Both garages with a machine each; started side by side."""

    def __init__(self, world: World, store: Path) -> None:
        self.world, self._store = world, store
        self.url = f"https://{world.nodes['tsukuba'].ipv4}:8443"
        with ThreadPoolExecutor() as pool:
            self.tsukuba, self.nagoya = pool.map(self._garage, ("tsukuba", "nagoya"), (77, 78))

    def _garage(self, node: str, number: int) -> Garage:
        settings = {
            "instance": f"h{number}",
            "site_ipv4": f"10.{number}.0.0/20",
            "site_ipv6": f"fd{number}::/48",
            "listen": self.url.removeprefix("https://") if node == "tsukuba" else "127.0.0.1:8078",
        }
        made = Garage(self._store, lambda argv: self.world.argv(node, argv), settings)
        made.garage("machine", "create", f"arm-{node}", "--size", "tiny")
        return made

    def close(self) -> None:
        for garage in (self.tsukuba, self.nagoya):
            garage.close()


@pytest.fixture(scope="module")
def pair(image_store: tuple[Path, Manifest]) -> Iterator[Pair]:
    with World(parse(TOPOLOGY)) as world:
        made = Pair(world, image_store[0])
        try:
            yield made
        finally:
            made.close()


def test_one_token_makes_two_garages_one_network(pair: Pair) -> None:
    invitation = json.loads(
        pair.tsukuba.garage("-o", "json", "site", "invite", "nagoya", "--own-name", "tsukuba", "--ttl", "1h")
    )
    said = pair.nagoya.run([str(BIN / "netd"), "join", pair.url], input=invitation["token"])
    assert "joined as site nagoya" in said
    names = {site: f"arm-{site}.admin.{site}.garage.internal" for site in ("tsukuba", "nagoya")}
    assert "site tsukuba answers over IPv4 and IPv6" in said, "joined means that machines reach each other, by name"
    assert pair.nagoya.show("arm-nagoya")["fqdn"] == names["nagoya"]
    assert "3 received" in pair.tsukuba.ssh("arm-tsukuba", f"ping -c 3 {names['nagoya']}")
    assert "3 received" in pair.nagoya.ssh("arm-nagoya", f"ping -4 -c 3 {names['tsukuba']}")


OTHER = """
import sys, time
from netd.core.token import parse_token
from netd.shell.registry import join
from netd.wire import JoinRequest
token = parse_token(sys.stdin.read())
wanted = {"ipv4": "10.78.0.0/20", "ipv6": "fd78::/48", "key": "q" * 42 + "o=", "port": 51820}
join(sys.argv[1], token, JoinRequest(token=token.secret, node="node1", time=time.time(), **wanted))
"""
"""Joins as netd does, for prefixes alone."""


def test_a_site_whose_prefixes_are_taken_is_renumbered_by_a_plan(pair: Pair) -> None:
    pair.nagoya.run([str(BIN / "netd"), "leave"])
    before = pair.nagoya.show("arm-nagoya")
    other = json.loads(pair.tsukuba.garage("-o", "json", "site", "invite", "other", "--ttl", "1h"))
    pair.nagoya.run([sys.executable, "-c", OTHER, pair.url], input=other["token"])
    again = json.loads(pair.tsukuba.garage("-o", "json", "site", "invite", "nagoya", "--ttl", "1h"))
    said = pair.nagoya.run([str(BIN / "netd"), "join", pair.url], input=again["token"])
    assert "garage site renumber" in said
    _until(lambda: "restarts" in pair.nagoya.garage("site", "renumber", "--plan"), "the plan names the machine")
    assert pair.nagoya.show("arm-nagoya") == before
    assert "machines that restart: 1" in pair.nagoya.garage("site", "renumber", "--yes")
    _until(lambda: pair.nagoya.show("arm-nagoya")["state"] != "ready", "the restart")
    after = pair.nagoya.wait_state("arm-nagoya", "ready")
    assert (after["ipv4"], after["ipv6"]) != (before["ipv4"], before["ipv6"])
    _until(lambda: after["ipv6"] in _addresses(pair.nagoya), "DHCPv6, which no login waits for")
    assert after["ipv4"] in _addresses(pair.nagoya)
    assert before["ipv4"] not in _addresses(pair.nagoya)
    assert "3 received" in pair.nagoya.ssh("arm-nagoya", "ping -c 3 arm-tsukuba.admin.tsukuba.garage.internal")
    assert "3 received" in pair.tsukuba.ssh("arm-tsukuba", f"ping -4 -c 3 {after['fqdn']}")
    site = json.loads(pair.tsukuba.garage("-o", "json", "site", "show", "nagoya"))
    assert site["renumber"] is False


def _addresses(garage: Garage) -> str:
    return garage.ssh("arm-nagoya", "ip -brief address show")


def _until(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
