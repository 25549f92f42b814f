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
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netd.lab.parse import parse
from netd.lab.sites import NETD
from netd.lab.world import World
from tests.clinic import Clinic, Examined

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


@pytest.fixture(scope="module")
def clinic() -> Iterator[Clinic]:
    with World(parse(TOPOLOGY)) as world:
        made = Clinic(world, ("nagoya", "osaka"))
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
    with clinic.impostor(tmp_path):
        found = clinic.doctor("nagoya", "--registry", "https://192.0.2.1:9443")
    assert found["clock"]["level"] == "fail"
    ahead = re.search(r"(\d+) s ahead", found["clock"]["seen"])
    assert ahead, found.text
    assert 295 <= int(ahead[1]) <= 310
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
