"""Five sites, one of them with two nodes, joined with one command each: all real, in namespaces.

tsukuba (the registry) ──(4 ms)─────────────────────────┐
nagoya, nagoya2 (one site) ──(6 ms)─────────────────────┤
osaka ──[cone]──(5 ms)──────────────────────────────────┤ internet (9.9.9.9)
kyoto ──[symmetric, no IPv6]──(7 ms)────────────────────┤
naha ──(18 ms, 1460 bytes)──[isp: DS-Lite]──────────────┘
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import permutations

import pytest

from netd.lab.parse import parse
from netd.lab.world import World
from tests.kernel.probes import SERVER
from tests.overlayguests import add_guest, machine
from tests.overlaynet import OverlayNet
from tests.overlaypings import Pings

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: five
carriers: {isp: ds-lite}
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 4ms}}}
  nagoya: {nodes: [nagoya, nagoya2], lines: {nagoya-line: {delay: 6ms}}}
  osaka: {lines: {osaka-line: {delay: 5ms, nat: cone}}}
  kyoto: {lines: {kyoto-line: {delay: 7ms, nat: symmetric, ipv6: false}}}
  naha: {lines: {naha-line: {delay: 18ms, mtu: 1460, carrier: isp}}}
"""
NUMBERS = {"nagoya": 1, "osaka": 2, "kyoto": 3, "naha": 4}
GATEWAYS = {"tsukuba": "10.30.0.1", **{site: f"10.{40 + number}.0.1" for site, number in NUMBERS.items()}}
GATEWAYS6 = {"tsukuba": "fd30::1", **{site: f"fd{40 + number}::1" for site, number in NUMBERS.items()}}
JOINED_WITHIN = 40.0
"""Seconds after the last join until everybody reaches everybody, NATs included, on a loaded server."""


class Five:
    """The overlay with a machine at nagoya, nagoya2, osaka, naha."""

    def __init__(self, world: World) -> None:
        self.net = OverlayNet(world, registry="tsukuba")
        for site, number in NUMBERS.items():
            self.net.prepare(site, number, site=site, machines=(machine(self.net, number, 1),))
        second = machine(self.net, 1, 2, "vm2", node=5)
        self.net.prepare("nagoya2", 5, of=1, site="nagoya", machines=(second,))
        self.tokens = {site: self.net.invite(site, "--own-name", "tsukuba") for site in NUMBERS}
        for site in NUMBERS:
            self.net.join(site, self.tokens[site])
        self.net.join("nagoya2", self.net.invite("nagoya", "--node"))
        self.guests = {
            site: add_guest(self.net, site, machine(self.net, NUMBERS[site], 1)) for site in ("nagoya", "osaka", "naha")
        } | {"nagoya2": add_guest(self.net, "nagoya2", second)}
        self.wait_for_all()

    def wait_for_all(self, seconds: float = JOINED_WITHIN) -> None:
        for gateways in (GATEWAYS, GATEWAYS6):
            for one, other in permutations(gateways, 2):
                self.net.until(
                    lambda a=one, b=gateways[other]: self.net.ping(a, b, seconds=0.5), f"{one} reaches {other}", seconds
                )

    def instance(self, node: str) -> str:
        return self.net.own if node == "tsukuba" else self.net.sites[node].network.instance

    def links(self, node: str) -> list[str]:
        return re.findall(rf"gl{self.instance(node)}\w+", self.net.run(node, ["ip", "-br", "link"]))

    def vtysh(self, node: str, command: str) -> str:
        return self.net.run(node, ["vtysh", "-N", f"garage_{self.instance(node)}", "-c", command])


@pytest.fixture(scope="module")
def five() -> Iterator[Five]:
    with World(parse(TOPOLOGY)) as world:
        world.exec("internet", ["ip", "address", "add", "9.9.9.9/32", "dev", "lo"])
        made = Five(world)
        try:
            yield made
        finally:
            made.net.close()


def test_machines_of_two_sites_reach_each_other_by_name_and_address(five: Five) -> None:
    nagoya, naha = five.guests["nagoya"], five.guests["naha"]
    assert naha.fqdn == "vm.lab.naha.garage.internal"
    assert nagoya.dig(naha.fqdn, "A") == naha.address4
    assert nagoya.dig(naha.fqdn, "AAAA") == naha.address6
    assert nagoya.dig("-x", naha.address4) == nagoya.dig("-x", naha.address6) == f"{naha.fqdn}."
    server = subprocess.Popen(naha.argv(["python3", "-c", SERVER, "7000"]), stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        for address in (naha.address4, naha.address6):
            assert nagoya.pings(address, seconds=2)
            code = f"import socket; print(socket.create_connection(('{address}', 7000), 3).recv(9).decode())"
            assert nagoya.run("python3", "-c", code) == "hello"
    finally:
        server.kill()
        server.wait()


def test_large_packets_pass_a_line_of_1460_bytes(five: Five) -> None:
    """1,600 bytes of TCP in both directions: the segments' size is clamped to the link's."""
    nagoya, naha = five.guests["nagoya"], five.guests["naha"]
    echo = "import socket; s = socket.create_server(('', 7001)); print('up', flush=True); c = s.accept()[0]\n" + (
        "d = b''\nwhile len(d) < 200000: d += c.recv(65536)\nc.sendall(d); c.close()"
    )
    server = subprocess.Popen(naha.argv(["python3", "-c", echo]), stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        code = (
            f"import socket; s = socket.create_connection(('{naha.address4}', 7001), 3); s.settimeout(8)\n"
            "s.sendall(bytes(200000)); d = 0\nwhile n := len(s.recv(65536)): d += n\nprint(d)"
        )
        assert nagoya.run("python3", "-c", code) == "200000"
    finally:
        server.kill()
        server.wait()


def test_the_internet_is_reached_through_ones_own_site(five: Five) -> None:
    nagoya = five.guests["nagoya"]
    assert nagoya.pings("9.9.9.9")
    hop = nagoya.run("ping", "-n", "-c", "1", "-t", "2", "-W", "1", "9.9.9.9", check=False)
    assert "Time to live exceeded" in hop
    assert not re.search(r"From (100\.127|10)\.", hop), "the second hop is a link"


def test_two_nodes_of_a_site_know_each_others_machines(five: Five) -> None:
    """From another site, whichever node it arrives at, and from one node's machine to the other's."""
    inside = five.guests["nagoya2"]
    assert five.guests["naha"].pings(inside.address4, count=3, seconds=2)
    assert five.guests["naha"].pings(inside.address6, count=3, seconds=2)
    assert five.guests["nagoya"].pings(inside.address4, seconds=2)
    routes = five.net.run("nagoya", ["ip", "route", "show", "proto", "bgp"])
    assert f"{inside.address4} " in routes


def test_what_cannot_be_linked_goes_through_a_hub(five: Five) -> None:
    """osaka's cone and kyoto's symmetric NAT let no tunnel through."""
    links = {
        item["number"]: item for item in json.loads(five.net.garage("-o", "json", "site", "show", "kyoto"))["links"]
    }
    waiting = [item for item in links.values() if item["state"] == "waiting"]
    assert {item["a_site"] for item in waiting} | {item["b_site"] for item in waiting} >= {"kyoto", "osaka"}
    assert five.net.ping("osaka", GATEWAYS["kyoto"], count=3)


def test_an_absent_site_delays_nobody_elses_names(five: Five) -> None:
    nagoya, osaka = five.guests["nagoya"], five.guests["osaka"]
    five.net.world.break_line("naha-line", loss=1.0)
    try:
        for _ in range(3):
            asking = subprocess.Popen(
                nagoya.argv(["dig", "+time=3", "+tries=1", f"@{nagoya.gateway4}", "other.lab.naha.garage.internal"]),
                stdout=subprocess.DEVNULL,
            )
            began = time.monotonic()
            assert nagoya.dig(osaka.fqdn, "A") == osaka.address4
            assert time.monotonic() - began < 1.0
            asking.wait()
    finally:
        five.net.world.heal("naha-line")
    five.wait_for_all()


def test_a_second_apply_changes_nothing_and_resets_no_session(five: Five) -> None:
    net = five.net
    net.until(lambda: len(_uptimes(five, "nagoya")) >= 3, "sessions stand")
    before = _uptimes(five, "nagoya")
    folder = net.sites["nagoya"].state / "overlay"
    reload = [
        "/usr/lib/frr/frr-reload.py",
        "--test",
        "--pathspace",
        f"garage_{five.instance('nagoya')}",
        str(folder / "frr.conf"),
    ]
    said = net.run("nagoya", reload)
    assert (
        "Lines To Delete" not in said
        or not said.split("Lines To Delete")[1].split("=\n")[-1].split("Lines To Add")[0].strip()
    )
    net.sites["nagoya"].netd("resume")  # applies all again
    time.sleep(1)
    after = _uptimes(five, "nagoya")
    assert after.keys() >= before.keys()
    assert all(after[peer] == before[peer] for peer in before)


def _uptimes(five: Five, node: str) -> dict[str, int]:
    """When each session was established, by peer."""
    found = json.loads(five.vtysh(node, "show bgp ipv4 unicast summary json"))
    return {
        peer: round(item["peerUptimeEstablishedEpoch"] / 3)
        for peer, item in found.get("peers", {}).items()
        if item["state"] == "Established"
    }


def test_netd_killed_loses_no_packet_and_its_successor_changes_nothing(five: Five) -> None:
    with Pings(five.guests["nagoya"].argv, five.guests["osaka"].address4) as pings:
        process = five.net.processes["nagoya"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1)
        five.net.processes["nagoya"] = five.net.sites["nagoya"].start()
        time.sleep(4)
    assert pings.sent > 80
    assert pings.lost == 0, pings.text


def test_pause_stops_foreign_traffic_at_once_and_resume_lets_it_through(five: Five) -> None:
    with Pings(five.guests["nagoya"].argv, five.guests["osaka"].address4) as pings:
        began = time.time()
        five.net.sites["osaka"].netd("pause")
        time.sleep(1.5)
    assert max(pings.times) - began < 1.0
    assert five.guests["osaka"].pings("9.9.9.9"), "its own internet stays"
    five.net.sites["osaka"].netd("resume")
    five.net.until(lambda: five.guests["nagoya"].pings(five.guests["osaka"].address4), "traffic after resume")


def test_new_keys_lose_no_packet(five: Five) -> None:
    """A second interface, a route that shifts over, the first one goes."""
    before = _interfaces(five, "osaka")
    with Pings(five.guests["nagoya"].argv, five.guests["osaka"].address4) as pings:
        five.net.garage("site", "rotate", "osaka")
        five.net.until(lambda: not _interfaces(five, "osaka") & before, "all of osaka's links are new", 60)
    assert pings.lost == 0, pings.text


def _interfaces(five: Five, node: str) -> set[str]:
    return set(five.links(node))


def test_a_node_comes_up_without_the_registry_from_its_last_good_documents(five: Five) -> None:
    net, node = five.net, "naha"
    net.web.send_signal(signal.SIGSTOP)
    try:
        _crash(five, node)
        assert not net.ping(node, GATEWAYS["osaka"], seconds=0.3)
        net.processes[node] = net.sites[node].start()
        for site in ("nagoya", "osaka", "tsukuba"):
            net.until(lambda s=site: net.ping(node, GATEWAYS[s], seconds=0.5), f"naha reaches {site} again")
    finally:
        net.web.send_signal(signal.SIGCONT)


def _crash(five: Five, node: str) -> None:
    """As after a power cut: no process of the node is left, no tunnel, no route, no filter."""
    net, namespace = five.net, five.net.world.namespace(node)
    for pid in subprocess.run(
        ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True
    ).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    net.processes[node].wait()
    for name in five.links(node):
        net.run(node, ["ip", "link", "delete", name], check=False)
    for table in ("inet", "bridge"):
        net.run(node, ["nft", "delete", "table", table, f"garage_{five.instance(node)}"])


def test_roaming_is_followed(five: Five) -> None:
    """osaka gets another address behind its router, and loses IPv6: its tunnels go on from the new one."""
    net = five.net
    old, line = net.world.nodes["osaka"].lines[0].ipv4, net.world.nodes["osaka"].lines[0].line
    assert old is not None
    new = old.rsplit(".", 1)[0] + ".77"
    gateway = net.run("osaka", ["ip", "-4", "route", "show", "default"]).split("via ")[1].split()[0]
    for words in (
        f"-6 route flush dev {line} proto static",
        f"-6 route delete default dev {line}",
        f"-6 address flush dev {line} scope global",
        f"-4 address flush dev {line}",
        f"address add {new}/24 dev {line}",
        f"route replace default via {gateway} dev {line}",
    ):
        net.run("osaka", ["ip", *words.split()])
    net.until(lambda: net.ping("osaka", GATEWAYS["tsukuba"], seconds=0.5), "osaka from its new address", 60)


def test_who_leaves_is_dropped_by_all_and_keeps_its_own(five: Five) -> None:
    net = five.net
    began = time.monotonic()
    net.sites["kyoto"].netd("leave")
    for site in ("tsukuba", "nagoya", "osaka"):
        net.until(lambda s=site: "10.43.0.0/20" not in _allowed(five, s), f"{site} drops kyoto", 5)
    assert time.monotonic() - began < 5
    net.until(lambda: not five.links("kyoto"), "no link is left at kyoto", 3)
    assert f"gb{five.instance('kyoto')}" in net.run("kyoto", ["ip", "-br", "link"])


def test_who_is_removed_is_dropped_by_every_peer(five: Five) -> None:
    net = five.net
    net.garage("site", "remove", "naha")
    began = time.monotonic()
    for site in ("tsukuba", "nagoya", "osaka"):
        net.until(lambda s=site: "10.44.0.0/20" not in _allowed(five, s), f"{site} drops naha", 5)
    assert time.monotonic() - began < 5
    assert not five.guests["naha"].pings(five.guests["nagoya"].address4)
    assert "naha" not in [item["name"] for item in json.loads(net.garage("-o", "json", "site", "list"))["items"]]


def _allowed(five: Five, site: str) -> str:
    return five.net.run(site, ["nft", "list", "set", "inet", f"garage_{five.instance(site)}", "overlay4"])
