"""`netd doctor` names what is wrong, in a world where it is.

                                          ┌── internet: a registry's impostor whose clock is off (192.0.2.1:9443)
tsukuba (registry, 10.30.0.0/20) ─────────┤
nagoya  (10.41.0.0/20, healthy) ──────────┤
osaka   (10.42.0.0/20, goes away) ────────┤
mute    (10.41.0.0/20 too; no UDP) ───────┤   joined, but its netd does not run
sendai ──[cone]───────────────────────────┤
kyoto ───[symmetric, IPv4 alone]──────────┤   these have joined nothing
naha ────[map-e]──────────────────────────┤
sapporo ─[isp: ds-lite, 1460 bytes]───────┘
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netd.lab.parse import parse
from netd.lab.sites import NETD, Network, SiteNode
from netd.lab.world import World
from tests.overlaynet import OverlayNet

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: doctor
carriers: {isp: ds-lite}
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 2ms}}}
  nagoya: {lines: {nagoya-line: {}}}
  osaka: {lines: {osaka-line: {}}}
  mute: {lines: {mute-line: {block: [udp]}}}
  sendai: {lines: {sendai-line: {nat: cone}}}
  kyoto: {lines: {kyoto-line: {nat: symmetric, ipv6: false}}}
  naha: {lines: {naha-line: {nat: map-e}}}
  sapporo: {lines: {sapporo-line: {mtu: 1460, carrier: isp}}}
"""
JOIN = """
import sys
from pathlib import Path
from netd import config, joining
joining.join(config.load(Path(sys.argv[1])), sys.argv[2], sys.stdin.read())
"""
IMPOSTOR = """
import http.server, ssl, sys, time
class Late(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() - 300)
    def do_GET(self):
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("192.0.2.1", 9443), Late)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("up", flush=True)
server.serve_forever()
"""
HOLD = (
    "import socket; one = socket.socket(type=socket.SOCK_DGRAM); one.bind(('', {})); print('up', flush=True); input()"
)
EXPECTED = {"time service", "link mute"}
"""What a laboratory can't give, as all its sites have one clock; and whom nobody reaches here, which is as it should be."""


class Examined:
    """One run: exit code, verdicts by name, all of them."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode in (0, 1), f"{done.returncode}\n{done.stdout}{done.stderr}"
        shown = json.loads(done.stdout)
        self.code, self.level = done.returncode, shown["level"]
        self.rows: list[dict[str, Any]] = shown["verdicts"]
        self.text = "\n".join(f"{row['level']} {row['check']}: {row['seen']} → {row['todo']}" for row in self.rows)

    def __getitem__(self, check: str) -> dict[str, Any]:
        found = [row for row in self.rows if row["check"] == check]
        assert len(found) == 1, f"no {check} in\n{self.text}"
        return found[0]

    def wrong(self, level: str) -> set[str]:
        return {row["check"] for row in self.rows if row["level"] == level} - EXPECTED


class Clinic:
    """The world, its overlay, and the site whose netd does not run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.net = OverlayNet(world, registry="tsukuba")
        for number, name in ((1, "nagoya"), (2, "osaka")):
            self.net.prepare(name, number, site=name)
            self.net.join(name, self.net.invite(name, "--own-name", "tsukuba"))
        self.mute = self._mute()
        self.net.until(lambda: self.net.ping("nagoya", "10.30.0.1"), "the first ping", 60)
        self.net.until(lambda: self.net.ping("nagoya", "10.42.0.1"), "nagoya reaches osaka", 60)

    def _mute(self) -> SiteNode:
        site = self.net.lab.site_of("mute", Network(self.net.instance(3), "10.41.0.0/20", "fd41::/48", "mute"))
        site.prepare()
        token = self.net.invite("mute", "--own-name", "tsukuba")
        self.net.run("mute", [sys.executable, "-c", JOIN, str(site.config), self.net.url], input=token)
        return site

    def doctor(self, place: str, *words: str, site: SiteNode | None = None) -> Examined:
        config = site.config if site else self.net.folder / "nothing" / "netd.toml"
        argv = self.world.argv(place, [*NETD, "doctor", *words, "-o", "json", "--config", str(config)])
        return Examined(subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False))

    def visit(self, name: str) -> Examined:
        """Of a site of the overlay."""
        return self.doctor(name, site=self.mute if name == "mute" else self.net.sites[name])

    @contextmanager
    def process(self, place: str, *argv: str) -> Iterator[None]:
        """A program that says when it is up, for a while."""
        begun = self.world.popen(place, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert begun.stdout is not None
            assert begun.stdout.readline() == "up\n"
            yield
        finally:
            begun.kill()
            begun.wait()

    def holding(self, place: str, port: int) -> Any:
        return self.process(place, sys.executable, "-c", HOLD.format(port))


@pytest.fixture(scope="module")
def clinic() -> Iterator[Clinic]:
    with World(parse(TOPOLOGY)) as world:
        made = Clinic(world)
        try:
            yield made
        finally:
            made.net.close()


# a site that is well


def test_a_healthy_site_is_well_in_everything(clinic: Clinic) -> None:
    """Its controller's name for the registry's own site takes some seconds."""
    deadline = time.monotonic() + 60
    while (found := clinic.visit("nagoya")).wrong("warn") and time.monotonic() < deadline:
        time.sleep(1)
    assert found.wrong("warn") | found.wrong("fail") == set(), found.text
    assert found.code == 0
    assert "as promised" in found["registry"]["seen"]
    assert "1500 bytes" in found["mtu"]["seen"]
    assert "no NAT" in found["nat ipv4"]["seen"]
    assert "handshake" in found["udp"]["seen"]
    assert "tsukuba" in found["names"]["seen"]


def test_the_registry_s_own_site_is_well_too(clinic: Clinic) -> None:
    config = clinic.net.lab.home("tsukuba") / "netd" / "netd.toml"
    argv = clinic.world.argv("tsukuba", [*NETD, "doctor", "-o", "json", "--config", str(config)])
    found = Examined(subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False))
    assert (found.code, found.wrong("fail")) == (0, set()), found.text


def test_the_table_is_text_for_people(clinic: Clinic) -> None:
    text = clinic.net.sites["nagoya"].netd("doctor", check=False)
    assert "ok    frr" in text
    assert "to mend" in text.strip().splitlines()[-1]


# before joining: NATs


def kind(clinic: Clinic, place: str) -> tuple[str, str]:
    found = clinic.doctor(place, "--registry", clinic.net.url)
    assert found["registry"]["level"] == "ok", found.text
    assert found["udp"]["seen"] == "passes: the registry's echo answers"
    return found["nat ipv4"]["level"], found["nat ipv4"]["seen"]


def test_cone(clinic: Clinic) -> None:
    level, seen = kind(clinic, "sendai")
    assert (level, seen.startswith("a cone NAT")) == ("ok", True)
    assert str(clinic.world.nodes["sendai"].outside4) in seen


def test_symmetric(clinic: Clinic) -> None:
    level, seen = kind(clinic, "kyoto")
    assert (level, seen.startswith("a symmetric NAT")) == ("warn", True), "there is no IPv6 to go round it"


@pytest.mark.parametrize("place", ["naha", "sapporo"])
def test_shared_address(clinic: Clinic, place: str) -> None:
    level, seen = kind(clinic, place)
    assert (level, seen.startswith("an address shared with others")) == ("ok", True), "native IPv6 goes round it"


def test_a_narrow_line_s_mtu(clinic: Clinic) -> None:
    found = clinic.doctor("sapporo", "--registry", clinic.net.url)
    assert "IPv4 1460 bytes" in found["mtu"]["seen"]


def test_no_nat_and_no_settings(clinic: Clinic) -> None:
    """A server where nothing is set up yet: what is missing is said, all else is looked at."""
    found = clinic.doctor("nagoya", "--registry", clinic.net.url)
    assert "no NAT" in found["nat ipv4"]["seen"]
    assert (found["settings"]["level"], found.code) == ("fail", 1)
    assert "make up" in found["settings"]["todo"]


def test_udp_that_does_not_pass(clinic: Clinic) -> None:
    before = clinic.doctor("mute", "--registry", clinic.net.url)
    assert (before["udp"]["level"], before["registry"]["level"]) == ("warn", "ok")
    assert "blocked" in before["udp"]["seen"]
    after = clinic.visit("mute")
    assert (after["udp"]["level"], after["registry"]["level"], after.code) == ("fail", "ok", 1)
    assert "blocked" in after["udp"]["seen"]


# a registry that is not as it should be


def test_a_clock_that_is_off(clinic: Clinic, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*argv, "-keyout", f"{both}.key", "-out", f"{both}.crt"], check=True, capture_output=True)
    both.write_text(Path(f"{both}.key").read_text() + Path(f"{both}.crt").read_text())
    with clinic.process("internet", sys.executable, "-c", IMPOSTOR, str(both)):
        found = clinic.doctor("nagoya", "--registry", "https://192.0.2.1:9443")
    assert found["clock"]["level"] == "fail"
    assert "300 s ahead" in found["clock"]["seen"] or "299 s ahead" in found["clock"]["seen"]
    assert "chrony" in found["clock"]["todo"]


def test_a_registry_that_does_not_answer(clinic: Clinic) -> None:
    host = clinic.net.url.rpartition(":")[0]
    closed = clinic.doctor("nagoya", "--registry", f"{host}:9")
    assert (closed["registry"]["level"], closed.code) == ("fail", 1)
    assert "nothing listens there" in closed["registry"]["seen"]
    dark = clinic.doctor("nagoya", "--registry", "https://192.0.2.99")
    assert dark["registry"]["level"] == "fail"
    assert dark["frr"]["level"] == "ok", "all else is looked at all the same"


def test_another_certificate_than_was_promised(clinic: Clinic) -> None:
    path = clinic.mute.state / "overlay" / "membership.json"
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"certificate": "ab" * 32}))
    try:
        found = clinic.visit("mute")
    finally:
        path.write_text(before)
    assert found["registry"]["level"] == "fail"
    assert "promised was abababababababab" in found["registry"]["seen"]
    assert not any(row["check"] == "credential" for row in found.rows), "nothing secret is said to a stranger"


def test_a_credential_that_is_void(clinic: Clinic) -> None:
    path = clinic.mute.state / "overlay" / "credential"
    before = path.read_text()
    path.write_text("x" * len(before))
    try:
        found = clinic.visit("mute")
    finally:
        path.write_text(before)
    assert (found["credential"]["level"], found["registry"]["level"]) == ("fail", "ok")


# the server itself


def test_a_port_that_is_taken(clinic: Clinic) -> None:
    with clinic.holding("nagoya", 51_860):
        found = clinic.visit("nagoya")
    assert (found["ports"]["level"], "51860 is taken by python" in found["ports"]["seen"]) == ("warn", True)
    port = json.loads(clinic.mute.netd("status", "-o", "json"))["overlay"]["links"][0]["port"]
    with clinic.holding("mute", port):
        needed = clinic.visit("mute")
    assert (needed["ports"]["level"], str(port) in needed["ports"]["todo"]) == ("fail", True)
    assert clinic.visit("mute")["ports"]["level"] == "ok"


def test_somebody_else_s_firewall(clinic: Clinic) -> None:
    rules = "table inet office { chain door { type filter hook input priority 0; policy drop;\n%s}\n}\n"
    base = 'ct state established,related accept\niifname "lo" accept\nicmpv6 type != 1 accept\ntcp dport 22 accept\n'
    for more, level in (
        ("", "warn"),
        ("udp dport { 53, 51800-51950 } accept\n", "ok"),
        ("udp dport 53 accept\n", "warn"),
    ):
        clinic.world.exec("mute", ["nft", "-f", "-"], input=rules % (base + more))
        try:
            found = clinic.visit("mute")["firewall"]
        finally:
            clinic.world.exec("mute", ["nft", "delete", "table", "inet", "office"])
        assert found["level"] == level
        assert level == "ok" or "inet office door" in found["seen"]


def test_netd_that_does_not_run_and_prefixes_that_are_another_s(clinic: Clinic) -> None:
    found = clinic.visit("mute")
    assert (found["netd"]["level"], found["prefixes"]["level"]) == ("fail", "fail")
    assert "10.41.0.0/20" in found["prefixes"]["seen"]
    assert "garage site renumber" in found["prefixes"]["todo"]
    assert found["documents"]["level"] in ("ok", "warn")


# the overlay


def test_a_pause(clinic: Clinic) -> None:
    site = clinic.net.sites["nagoya"]
    site.netd("pause")
    try:
        found = clinic.visit("nagoya")
    finally:
        site.netd("resume")
    assert (found["pause"]["level"], found["pause"]["todo"]) == ("warn", "netd resume ends it")


def test_a_name_server_that_hangs(clinic: Clinic) -> None:
    number = int((clinic.net.sites["nagoya"].state / "dns.pid").read_text())
    os.kill(number, signal.SIGSTOP)
    try:
        found = clinic.visit("nagoya")
    finally:
        os.kill(number, signal.SIGCONT)
    assert (found["names"]["level"], found.code) == ("fail", 1)


def test_a_site_that_goes_away(clinic: Clinic) -> None:
    """Its link is named; others' names are as quick as before."""

    def told(found: Examined) -> bool:
        return any(row["check"] == "link osaka" and "last handshake" in row["seen"] for row in found.rows)

    clinic.net.until(lambda: clinic.net.ping("nagoya", "10.42.0.1"), "nagoya reaches osaka", 60)
    clinic.world.break_line("osaka-line", loss=1.0)
    try:
        clinic.net.until(lambda: told(clinic.visit("nagoya")), "it is told", 60)
        found = clinic.visit("nagoya")
    finally:
        clinic.world.heal("osaka-line")
    assert found["link osaka"]["level"] == "warn"
    assert str(clinic.world.nodes["osaka"].ipv6) in found["link osaka"]["seen"]
    assert found["names"]["level"] == "ok", found.text
    assert "osaka" in found["names"]["seen"].partition("away: ")[2], found.text
    assert found["links"]["seen"] == "1 of 3 up", "tsukuba's is; nobody ever reached mute"


def test_it_leaves_nothing_behind(clinic: Clinic) -> None:
    """Nothing is changed by a look: neither interfaces nor files."""

    def state() -> tuple[str, list[str]]:
        links = clinic.net.run("mute", ["ip", "-br", "link"])
        return links, sorted(str(path) for path in clinic.mute.folder.rglob("*"))

    before = state()
    clinic.visit("mute")
    assert state() == before
