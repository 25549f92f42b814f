"""netd as a real process in a namespace, against a small controller: cache, adoption, SIGKILL, refusals (topology: tests/netlab.py)."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from netd.wire import seal
from tests.kernel.conftest import BRIDGE, ONE, TWO, make_node, spec
from tests.netlab import NetLab

pytestmark = pytest.mark.kernel

CONTROLLER = """
import http.server, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers["Authorization"] != "Bearer node-token": return self.answer(401, b"who?")
        after = int(self.path.split("after=")[1].split("&")[0]); end = time.time() + (10 if (folder / "slow").exists() else 2)
        (folder / "polled").write_text(self.path)
        while time.time() < end:
            if (folder / "version").exists() and int((folder / "version").read_text()) > after:
                return self.answer(200, (folder / "spec").read_bytes(), (folder / "requests").read_text())
            time.sleep(0.02)
        self.answer(204, b"")
    def do_POST(self):
        (folder / "report").write_bytes(self.rfile.read(int(self.headers["Content-Length"]))); self.answer(204, b"")
    def answer(self, status, body, requests=""):
        self.send_response(status)
        if requests: self.send_header("Garage-Requests", requests)
        self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""


class World:
    """A node, its netd process and the controller's folder."""

    def __init__(self, folder: Path) -> None:
        self.lab = NetLab()
        self.node = make_node(self.lab, folder, "http://127.0.0.1:8099")
        self.folder = folder
        self.netd: subprocess.Popen[str] | None = None
        self.controller: subprocess.Popen[str] | None = None
        self.start_controller()

    def start_controller(self) -> None:
        self.controller = self.lab.popen(self.lab.node, [sys.executable, "-c", CONTROLLER, str(self.folder)])

    def start(self) -> None:
        (self.folder / "report").unlink(missing_ok=True)
        self.netd = self.node.netd("run")

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.netd is not None
        self.netd.send_signal(number)
        self.netd.wait(timeout=20)

    def send(self, sealed: bytes, version: int, requests: str = "") -> None:
        """`requests`: of whom a real controller says that they asked for it."""
        (self.folder / "spec").write_bytes(sealed)
        (self.folder / "requests").write_text(requests)
        (self.folder / "version").write_text(str(version))

    def report(self) -> dict[str, object]:
        try:
            said: dict[str, object] = json.loads((self.folder / "report").read_bytes())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return said

    def wait(self, done: Callable[[], bool], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, self.report()
            time.sleep(0.05)

    def dnsmasq(self) -> int:
        """Its pid; 0 while it has none."""
        try:
            return int((self.node.state / "dns.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def close(self) -> None:
        for process in (self.netd, self.controller):
            if process is not None:
                process.kill()
                process.wait()
        self.lab.close()


@pytest.fixture(scope="module")
def world(open_folder: Path) -> Iterator[World]:
    made = World(open_folder)
    yield made
    made.close()


def test_a_spec_is_applied_and_reported(world: World) -> None:
    world.send(seal(spec(3, ONE), world.node.key), 3)
    world.start()
    world.wait(lambda: world.report().get("applied_version") == 3)
    assert "gttst1" in world.lab.exec(world.lab.node, "nft list table bridge garage_tst")
    assert world.report()["node"] == "node1"


def test_killed_it_leaves_all_in_force_and_adopts_it_again(world: World) -> None:
    before = world.dnsmasq()
    world.kill()
    assert "gttst1" in world.lab.exec(world.lab.node, "nft list table bridge garage_tst")
    assert Path(f"/proc/{before}").exists()
    world.start()
    world.send(seal(spec(4, ONE, TWO), world.node.key), 4, "r-1, r-2")
    world.wait(lambda: world.report().get("applied_version") == 4)
    assert world.dnsmasq() == before


def test_sigterm_ends_it_at_once_and_leaves_all_in_force(world: World) -> None:
    before = world.dnsmasq()
    (world.folder / "slow").touch()
    (world.folder / "polled").unlink()
    world.wait((world.folder / "polled").exists)
    began = time.monotonic()
    world.kill(signal.SIGTERM)
    assert time.monotonic() - began < 5, "in the middle of a long poll, which would last ten"
    (world.folder / "slow").unlink()
    assert world.netd is not None
    assert world.netd.returncode == 0
    assert world.netd.stdout is not None
    assert "version 4 in force for the requests r-1, r-2\n" in world.netd.stdout.read()
    assert Path(f"/proc/{before}").exists()
    assert "gttst2" in world.lab.exec(world.lab.node, "nft list table bridge garage_tst")
    world.start()
    world.wait(lambda: world.report().get("applied_version") == 4)


def test_a_damaged_policy_file_is_told_and_the_rules_stay(world: World) -> None:
    office = world.node.config.parent.parent / "office.networks"
    good = office.read_text()
    office.write_text("192.168.77.0/24\nnot a network\n")
    world.wait(lambda: "line 2" in str(world.report().get("trouble")))
    assert world.report()["applied_version"] == 4
    world.kill()
    world.start()
    world.wait(lambda: "line 2" in str(world.report().get("trouble")))
    assert "192.168.0.0/16" in world.lab.exec(world.lab.node, "nft list table inet garage_tst")
    office.write_text(good)
    world.wait(lambda: not world.report().get("trouble"))


def test_without_a_controller_it_comes_up_from_the_last_good_spec(world: World) -> None:
    world.kill(signal.SIGTERM)
    assert world.controller is not None
    world.controller.kill()
    world.controller.wait()
    done = world.node.netd("down")
    assert done.wait(timeout=20) == 0
    assert world.lab.exec(world.lab.node, "nft list tables").strip() == ""
    assert "gbtst" not in world.lab.exec(world.lab.node, "ip link")
    assert "10.31.0.0/20" not in world.lab.exec(world.lab.node, "ip route")
    assert "fd31:4:5::/48" not in world.lab.exec(world.lab.node, "ip -6 route")
    world.start()
    world.wait(lambda: "gbtst" in world.lab.exec(world.lab.node, "ip link"))
    world.wait(lambda: "gttst2" in world.lab.exec(world.lab.node, "nft list table bridge garage_tst", check=False))


def test_what_is_removed_behind_its_back_comes_back(world: World) -> None:
    world.wait(lambda: (world.node.state / "dns.pid").exists())
    old = world.dnsmasq()
    world.lab.exec(world.lab.node, f"kill -9 {old}")
    world.lab.exec(world.lab.node, "nft delete table inet garage_tst")
    world.wait(
        lambda: (
            world.dnsmasq() not in (0, old) and "garage_tst" in world.lab.exec(world.lab.node, "nft list tables inet")
        )
    )


def test_a_flushed_ruleset_comes_back_at_once(world: World) -> None:
    """As `systemctl restart nftables` does it. The loop looks every five seconds, so it alone would hardly be in time five times."""

    def back() -> bool:
        both = world.lab.exec(world.lab.node, "nft list tables")
        return both.count("garage_tst") == 2 and "gttst2" in world.lab.exec(
            world.lab.node, "nft list table bridge garage_tst", check=False
        )

    for _ in range(5):
        world.lab.exec(world.lab.node, "nft flush ruleset")
        world.wait(back, 2.5)


ELSEWHERE = msgspec.structs.replace(BRIDGE, ipv4="192.168.5.1", site_ipv4="192.168.5.0/24")
STRAY = msgspec.structs.replace(BRIDGE, site_ipv4="10.31.0.0/28")


def test_bad_specs_are_refused_with_a_reason_and_the_last_good_one_stays(world: World) -> None:
    world.start_controller()
    world.wait(lambda: world.report().get("applied_version") == 4)
    stranger = Ed25519PrivateKey.generate()
    good = seal(spec(20, ONE), world.node.key)
    broken = base64.b64encode(b'{"schema":1,"surprise":true}')
    cases: list[tuple[int, bytes, str, str]] = [
        (10, seal(spec(10, bridge=ELSEWHERE), world.node.key), "content", "no site's prefixes"),
        (11, seal(spec(11, ONE, bridge=STRAY), world.node.key), "content", "outside of the site"),
        (12, seal(spec(12, ONE, ONE), world.node.key), "content", "twice"),
        (13, seal(spec(13, ONE), stranger), "signature", "not signed"),
        (14, b'{"payload":"%s","signature":"AAAA"}' % broken, "signature", "not signed"),
        (15, good[:-40], "schema", ""),
    ]
    for version, sealed, code, text in cases:
        world.send(sealed, version)
        world.wait(lambda code=code, text=text: refused(world, code, text))  # type: ignore[misc]
        assert world.report()["applied_version"] == 4
    world.send(good, 20)
    world.wait(lambda: world.report().get("applied_version") == 20 and world.report().get("refusal") is None)


def test_begun_anew_it_asks_once_more_for_the_spec_in_force_and_says_what_it_knows(world: World) -> None:
    """The one that it has may have been made for a netd that knew less."""
    world.kill()
    world.send(seal(spec(20, msgspec.structs.replace(ONE, net_mbit=9)), world.node.key), 20)
    world.start()
    listing = "nft list set bridge garage_tst sends"
    world.wait(lambda: f'{ONE.tap}" limit rate over 1125000 bytes' in world.lab.exec(world.lab.node, listing))
    world.wait(lambda: "after=20&" in (world.folder / "polled").read_text())
    assert "knows=limits" in (world.folder / "polled").read_text()


def refused(world: World, code: str, text: str) -> bool:
    refusal = world.report().get("refusal")
    return isinstance(refusal, dict) and refusal["code"] == code and text in refusal["text"]
