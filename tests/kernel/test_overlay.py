"""Six sites, one of them with two nodes, joined with one command each: all real, in namespaces.

tsukuba (the registry) ──(4 ms)─────────────────────────┐
nagoya, nagoya2 (one site) ──(6 ms)─────────────────────┤
osaka ──[cone, no IPv6]──(5 ms)─────────────────────────┤ internet (9.9.9.9)
sendai ──[cone, no IPv6]──(8 ms)────────────────────────┤
kyoto ──[symmetric, no IPv6]──(7 ms)────────────────────┤
naha ──(18 ms, 1460 bytes)──[isp: DS-Lite]──────────────┘

All are linked to tsukuba and nagoya, which have no NAT, naha by IPv6. The others among themselves:

osaka ═[cone]══ a link ══[cone]═ sendai          both begin, each where tsukuba and nagoya see the other: a hole in both NATs
osaka, sendai ─[cone]  none  [symmetric]─ kyoto  a port for each destination, which nobody can tell beforehand: by a hub
osaka, sendai, kyoto   none  [DS-Lite]─── naha   the carrier's NAT draws ports, too: by a hub
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import permutations
from pathlib import Path

import pytest

from netd.core.overlay import interface
from netd.lab.parse import parse
from netd.lab.world import World
from netd.wire import Link, LinkSpec, decode
from netd.wire.envelope import Envelope
from tests.kernel.probes import SERVER
from tests.overlayguests import add_guest, machine
from tests.overlaynet import OverlayNet
from tests.overlaypings import Pings

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: six
carriers: {isp: ds-lite}
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 4ms}}}
  nagoya: {nodes: [nagoya, nagoya2], lines: {nagoya-line: {delay: 6ms}}}
  osaka: {lines: {osaka-line: {delay: 5ms, nat: cone, ipv6: false}}}
  sendai: {lines: {sendai-line: {delay: 8ms, nat: cone, ipv6: false}}}
  kyoto: {lines: {kyoto-line: {delay: 7ms, nat: symmetric, ipv6: false}}}
  naha: {lines: {naha-line: {delay: 18ms, mtu: 1460, carrier: isp}}}
"""
NUMBERS = {"nagoya": 1, "osaka": 2, "kyoto": 3, "naha": 4, "sendai": 5}
SECOND = 6
"""nagoya's other node."""
GATEWAYS = {"tsukuba": "10.30.0.1", **{site: f"10.{40 + number}.0.1" for site, number in NUMBERS.items()}}
GATEWAYS6 = {"tsukuba": "fd30::1", **{site: f"fd{40 + number}::1" for site, number in NUMBERS.items()}}
PATIENCE = 90.0
"""Seconds until everybody reaches everybody, NATs included, on a loaded server."""
BFD_SECONDS = 3.0
"""After which a peer that is not heard is given up."""


class Six:
    """The overlay with a machine at nagoya, nagoya2, osaka, naha."""

    def __init__(self, world: World) -> None:
        self.net = OverlayNet(world, registry="tsukuba")
        for site, number in NUMBERS.items():
            self.net.prepare(site, number, site=site, machines=(machine(self.net, number, 1),))
        second = machine(self.net, 1, 2, "vm2", node=SECOND)
        self.net.prepare("nagoya2", SECOND, of=1, site="nagoya", machines=(second,))
        self.tokens = {site: self.net.invite(site, "--own-name", "tsukuba") for site in NUMBERS}
        with ThreadPoolExecutor(len(NUMBERS)) as pool:
            list(pool.map(lambda site: self.net.join(site, self.tokens[site]), NUMBERS))
        self.net.join("nagoya2", self.net.invite("nagoya", "--node"))
        self.guests = {
            site: add_guest(self.net, site, machine(self.net, NUMBERS[site], 1)) for site in ("nagoya", "osaka", "naha")
        } | {"nagoya2": add_guest(self.net, "nagoya2", second)}
        self.wait_for_all()

    def wait_for_all(self) -> None:
        gateways = {site: (GATEWAYS[site], GATEWAYS6[site]) for site in GATEWAYS}
        try:
            self.net.until(lambda: not self.net.lab.unreached(gateways), "everybody reaches everybody", PATIENCE)
        except AssertionError as error:
            error.add_note(f"unreached: {self.net.lab.unreached(gateways)}")
            raise

    def instance(self, node: str) -> str:
        return self.net.own if node == "tsukuba" else self.net.sites[node].network.instance

    def links(self, node: str) -> list[str]:
        return re.findall(rf"gl{self.instance(node)}\w+", self.net.run(node, ["ip", "-br", "link"]))

    def links_to(self, node: str, peer: str) -> dict[str, Link]:
        """A node's links to another site by interface, as the document in force says."""
        sealed = (self.net.sites[node].state / "overlay" / "link.json").read_bytes()
        links = decode(decode(sealed, Envelope).payload, LinkSpec).links
        return {interface(self.instance(node), link.number): link for link in links if link.peer_site == peer}

    def device_to(self, node: str, address: str) -> str:
        """The interface by which it sends."""
        return self.net.run(node, ["ip", "route", "get", address]).split(" dev ")[1].split()[0]

    def noted(self, action: str, site: str) -> float:
        """When the registry did it, in seconds since 1970: its audit log's word."""
        rows = json.loads(self.net.garage("-o", "json", "audit", "list"))["items"]
        at = next(row["at"] for row in rows if (row["action"], row["subject"]) == (action, site))
        return datetime.fromisoformat(at).timestamp()

    def vtysh(self, node: str, command: str) -> str:
        return self.net.run(node, ["vtysh", "-N", f"garage_{self.instance(node)}", "-c", command])


@pytest.fixture(scope="module")
def six() -> Iterator[Six]:
    with World(parse(TOPOLOGY)) as world:
        world.exec("internet", ["ip", "address", "add", "9.9.9.9/32", "dev", "lo"])
        made = Six(world)
        try:
            yield made
        finally:
            made.net.close()


def test_machines_of_two_sites_reach_each_other_by_name_and_address(six: Six) -> None:
    nagoya, naha = six.guests["nagoya"], six.guests["naha"]
    assert naha.fqdn == "vm.lab.naha.garage.internal"
    six.net.until(lambda: nagoya.dig(naha.fqdn, "A") == naha.address4, "nagoya has naha's names")
    assert nagoya.dig(naha.fqdn, "AAAA") == naha.address6
    assert nagoya.dig("-x", naha.address4) == nagoya.dig("-x", naha.address6) == f"{naha.fqdn}."
    server = subprocess.Popen(naha.argv(["python3", "-c", SERVER, "7000"]), stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        for address in (naha.address4, naha.address6):
            assert nagoya.pings(address)
            code = f"import socket; print(socket.create_connection(('{address}', 7000), 10).recv(9).decode())"
            assert nagoya.run("python3", "-c", code) == "hello"
    finally:
        server.kill()
        server.wait()


def test_large_packets_pass_a_line_of_1460_bytes(six: Six) -> None:
    """1,600 bytes of TCP in both directions: the segments' size is clamped to the link's."""
    nagoya, naha = six.guests["nagoya"], six.guests["naha"]
    echo = "import socket; s = socket.create_server(('', 7001)); print('up', flush=True); c = s.accept()[0]\n" + (
        "d = b''\nwhile len(d) < 200000: d += c.recv(65536)\nc.sendall(d); c.close()"
    )
    server = subprocess.Popen(naha.argv(["python3", "-c", echo]), stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        code = (
            f"import socket; s = socket.create_connection(('{naha.address4}', 7001), 10); s.settimeout(30)\n"
            "s.sendall(bytes(200000)); d = 0\nwhile n := len(s.recv(65536)): d += n\nprint(d)"
        )
        assert nagoya.run("python3", "-c", code) == "200000"
    finally:
        server.kill()
        server.wait()


def test_the_internet_is_reached_through_ones_own_site(six: Six) -> None:
    nagoya = six.guests["nagoya"]
    assert nagoya.pings("9.9.9.9")
    hop = nagoya.run("ping", "-n", "-c", "1", "-t", "2", "-W", "5", "9.9.9.9", check=False)
    assert "Time to live exceeded" in hop
    assert not re.search(r"From (100\.127|10)\.", hop), "the second hop is a link"


def test_two_nodes_of_a_site_know_each_others_machines(six: Six) -> None:
    """From another site, whichever node it arrives at, and from one node's machine to the other's."""
    inside = six.guests["nagoya2"]
    assert six.guests["naha"].pings(inside.address4, count=3)
    assert six.guests["naha"].pings(inside.address6, count=3)
    assert six.guests["nagoya"].pings(inside.address4)
    routes = six.net.run("nagoya", ["ip", "route", "show", "proto", "bgp"])
    assert f"{inside.address4} " in routes


def test_two_sites_behind_nats_open_the_hole_together(six: Six) -> None:
    """Both let in only whom they have spoken to. Sessions of BGP stand on the link, and traffic takes it."""
    net = six.net
    for node, peer in (("osaka", "sendai"), ("sendai", "osaka")):
        ((device, link),) = six.links_to(node, peer).items()
        both = {link.peer_ipv4, link.peer_ipv6}
        net.until(lambda n=node, b=both: b <= _sessions(six, n).keys(), f"{node}'s sessions with {peer}", PATIENCE)
        seen_at = net.run(node, ["wg", "show", device, "endpoints"]).split()[1]
        assert seen_at.rpartition(":")[0] == net.world.nodes[peer].outside4, "by IPv4, through the other's NAT"
        for gateway in (GATEWAYS[peer], GATEWAYS6[peer]):
            assert six.device_to(node, gateway) == device
            assert net.ping(node, gateway, count=3)


def test_what_cannot_be_linked_goes_through_a_hub(six: Six) -> None:
    """osaka's cone and kyoto's symmetric NAT let no tunnel through."""
    links = {
        item["number"]: item for item in json.loads(six.net.garage("-o", "json", "site", "show", "kyoto"))["links"]
    }
    waiting = [item for item in links.values() if item["state"] == "waiting"]
    assert {item["a_site"] for item in waiting} | {item["b_site"] for item in waiting} >= {"kyoto", "osaka"}
    assert six.net.ping("osaka", GATEWAYS["kyoto"], count=3)


def test_an_absent_site_delays_nobody_elses_names(six: Six) -> None:
    nagoya, osaka = six.guests["nagoya"], six.guests["osaka"]
    six.net.world.break_line("naha-line", loss=1.0)
    try:
        for _ in range(3):
            asking = subprocess.Popen(
                nagoya.argv(["dig", "+time=3", "+tries=1", f"@{nagoya.gateway4}", "other.lab.naha.garage.internal"]),
                stdout=subprocess.DEVNULL,
            )
            answer, took = nagoya.dig_timed(osaka.fqdn, "A")
            assert answer == osaka.address4
            assert took < 2.0, "not as long as naha's name is waited for"
            asking.wait()
    finally:
        six.net.world.heal("naha-line")
    six.wait_for_all()


def test_a_second_apply_changes_nothing_and_resets_no_session(six: Six) -> None:
    net = six.net
    applied = net.sites["nagoya"].state / "overlay" / "frr.conf"
    net.until(lambda: len(_sessions(six, "nagoya")) >= 8, "sessions stand, of both families")
    before = _sessions(six, "nagoya")
    with _standing_still(six, "nagoya", applied):
        said = _frr_reload(six, "nagoya", applied.read_text())
        control = _frr_reload(six, "nagoya", applied.read_text().replace("coalesce-time 50", "coalesce-time 51"))
        applied.unlink()  # what netd believes to be in force: it looks at FRR itself again
    assert "Lines To Add" in control, control
    assert "Lines To" not in said, said
    net.sites["nagoya"].netd("resume")  # filters and names, at once
    net.until(applied.exists, "routes are applied again")
    with _standing_still(six, "nagoya", applied):
        after = _sessions(six, "nagoya")
    assert after.keys() >= before.keys()
    anew = {peer: (at, after[peer]) for peer, at in before.items() if abs(after[peer] - at) > 2}
    assert not anew, f"sessions that began anew: {anew}"


def _frr_reload(six: Six, node: str, config: str) -> str:
    """What FRR's own tool would change to come to this configuration."""
    space, file = f"garage_{six.instance(node)}", six.net.folder / "wanted.conf"
    file.write_text(config)
    return six.net.run(node, ["/usr/lib/frr/frr-reload.py", "--test", "--pathspace", space, str(file)])


@contextmanager
def _standing_still(six: Six, node: str, applied: Path) -> Iterator[None]:
    """Meanwhile netd does nothing, and has just nothing to do with FRR: it removes the file while it changes something there."""
    netd = six.net.processes[node]

    def stopped() -> bool:
        netd.send_signal(signal.SIGSTOP)
        if not applied.exists():
            netd.send_signal(signal.SIGCONT)
        return applied.exists()

    six.net.until(stopped, "netd rests")
    try:
        yield
    finally:
        netd.send_signal(signal.SIGCONT)


def _sessions(six: Six, node: str) -> dict[str, int]:
    """When each session was established, in seconds since 1970 and off by one at times, by peer."""
    found = json.loads(six.vtysh(node, "show bgp summary json"))
    return {
        peer: item["peerUptimeEstablishedEpoch"]
        for family in found.values()
        if isinstance(family, dict)
        for peer, item in family.get("peers", {}).items()
        if item["state"] == "Established"
    }


def test_netd_killed_loses_no_packet_and_its_successor_changes_nothing(six: Six) -> None:
    with Pings(six.guests["nagoya"].argv, six.guests["osaka"].address4) as pings:
        process, log = six.net.processes["nagoya"], six.net.sites["nagoya"].folder / "netd.log"
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1)
        before = len(log.read_text())
        six.net.processes["nagoya"] = six.net.sites["nagoya"].start()
        six.net.until(lambda: "INFO site nagoya: " in log.read_text()[before:], "its successor has come up")
        time.sleep(3)  # it brings BGP after what it measures, too
    assert "INFO site nagoya: 0 changes" in log.read_text()[before:]
    assert pings.sent > 80
    assert pings.lost == 0, pings.text


def test_pause_stops_foreign_traffic_at_once_and_resume_lets_it_through(six: Six) -> None:
    with Pings(six.guests["nagoya"].argv, six.guests["osaka"].address4) as pings:
        six.net.sites["osaka"].netd("pause")
        asked = (six.net.sites["osaka"].state / "overlay" / "paused").stat().st_mtime
    print(f"the last answer came {max(pings.times) - asked:.2f} s after it was asked for")
    assert max(pings.times) - asked < 1.0
    assert six.guests["osaka"].pings("9.9.9.9"), "its own internet stays"
    six.net.sites["osaka"].netd("resume")
    six.net.until(lambda: six.guests["nagoya"].pings(six.guests["osaka"].address4), "traffic after resume")
    time.sleep(BFD_SECONDS)  # whoever has not given osaka up by now does not
    for one, other in permutations(("nagoya", "osaka"), 2):
        six.net.until(
            lambda a=one, b=other: six.device_to(a, GATEWAYS[b]) in six.links_to(a, b),
            f"{one} has no detour to {other}",
        )


def test_new_keys_lose_no_packet(six: Six) -> None:
    """A second interface, a route that shifts over, the first one goes."""
    before = _interfaces(six, "osaka")
    with Pings(six.guests["nagoya"].argv, six.guests["osaka"].address4) as pings:
        six.net.garage("site", "rotate", "osaka")
        six.net.until(lambda: not _interfaces(six, "osaka") & before, "all of osaka's links are new", 120)
    assert pings.lost == 0, pings.text


def _interfaces(six: Six, node: str) -> set[str]:
    return set(six.links(node))


def test_a_node_comes_up_without_the_registry_from_its_last_good_documents(six: Six) -> None:
    net, node = six.net, "naha"
    net.web.send_signal(signal.SIGSTOP)
    try:
        _crash(six, node)
        assert not net.ping(node, GATEWAYS["osaka"], seconds=0.3)
        net.processes[node] = net.sites[node].start()
        for site in ("nagoya", "osaka", "tsukuba"):
            net.until(lambda s=site: net.ping(node, GATEWAYS[s], seconds=0.5), f"naha reaches {site} again")
    finally:
        net.web.send_signal(signal.SIGCONT)


def _crash(six: Six, node: str) -> None:
    """As after a power cut: no process of the node is left, no tunnel, no route, no filter."""
    net, namespace = six.net, six.net.world.namespace(node)
    net.processes[node].send_signal(signal.SIGKILL)  # first, as it starts others
    net.processes[node].wait()
    net.until(lambda: not _killed(namespace), "no process is left")
    for name in six.links(node):
        net.run(node, ["ip", "link", "delete", name], check=False)
    for table in ("inet", "bridge"):
        net.run(node, ["nft", "delete", "table", table, f"garage_{six.instance(node)}"])


def _killed(namespace: str) -> list[int]:
    """Processes that are still there."""
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    for pid in (pids := [int(word) for word in found.stdout.split()]):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def test_roaming_is_followed(six: Six) -> None:
    """osaka gets another address behind its router: its tunnels go on from the new one."""
    net = six.net
    old, line = net.world.nodes["osaka"].lines[0].ipv4, net.world.nodes["osaka"].lines[0].line
    assert old is not None
    new = old.rsplit(".", 1)[0] + ".77"
    gateway = net.run("osaka", ["ip", "-4", "route", "show", "default"]).split("via ")[1].split()[0]
    for words in (
        f"-4 address flush dev {line}",
        f"address add {new}/24 dev {line}",
        f"route replace default via {gateway} dev {line}",
    ):
        net.run("osaka", ["ip", *words.split()])
    net.until(lambda: net.ping("osaka", GATEWAYS["tsukuba"], seconds=0.5), "osaka from its new address", PATIENCE)


def test_who_loses_ipv6_goes_on_through_the_carriers_nat(six: Six) -> None:
    net, line = six.net, six.net.world.nodes["naha"].lines[0].line
    (device,) = six.links_to("naha", "tsukuba")

    def at() -> str:
        """Where naha's link finds tsukuba."""
        return net.run("naha", ["wg", "show", device, "endpoints"]).split()[1]

    assert at().startswith("["), "native IPv6 is preferred"
    for words in (f"route delete default dev {line}", f"address flush dev {line} scope global"):
        net.run("naha", ["ip", "-6", *words.split()])
    net.until(lambda: not at().startswith("[") and net.ping("naha", GATEWAYS["tsukuba"]), "naha by IPv4", PATIENCE)


def test_who_leaves_is_dropped_by_all_and_keeps_its_own(six: Six) -> None:
    net = six.net
    net.sites["kyoto"].netd("leave")
    _dropped(six, "site.leave", "kyoto", "10.43.0.0/20")
    net.until(lambda: not six.links("kyoto"), "no link is left at kyoto")
    assert f"gb{six.instance('kyoto')}" in net.run("kyoto", ["ip", "-br", "link"])


def test_who_is_removed_is_dropped_by_every_peer(six: Six) -> None:
    net = six.net
    net.garage("site", "remove", "naha")
    _dropped(six, "site.remove", "naha", "10.44.0.0/20")
    assert not six.guests["naha"].pings(six.guests["nagoya"].address4)
    assert "naha" not in [item["name"] for item in json.loads(net.garage("-o", "json", "site", "list"))["items"]]


def _dropped(six: Six, action: str, site: str, prefix: str) -> None:
    """`make test-overlay` measures how long it takes."""
    for peer in ("tsukuba", "nagoya", "osaka", "sendai"):
        six.net.until(lambda p=peer: prefix not in _allowed(six, p), f"{peer} drops {site}")
    took = time.time() - six.noted(action, site)
    print(f"{site} was dropped by all after {took:.2f} s at most")


def _allowed(six: Six, site: str) -> str:
    return six.net.run(site, ["nft", "list", "set", "inet", f"garage_{six.instance(site)}", "overlay4"])
