"""Throughput by order of the registry, with real iperf3 inside real WireGuard, over lines that carry 20 Mb/s.

tsukuba (the registry) ──(4 ms, 20 Mb/s)──┬ internet
nagoya ──(6 ms, 30 Mb/s)──────────────────┘
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netd.core.throughput import PORT
from netd.lab.parse import parse
from netd.lab.world import World
from tests.overlaynet import OverlayNet

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: measuring
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 4ms, rate: 20mbit}}}
  nagoya: {lines: {nagoya-line: {delay: 6ms, rate: 30mbit}}}
"""
WIRE, CAP = 20e6, 4e6
LEAST, MOST = 0.3, 1.1
"""Shares that are measured: on a busy server less than the line's own forwarder lets through, and never more than the headers."""


@pytest.fixture(scope="module")
def net() -> Iterator[OverlayNet]:
    with World(parse(TOPOLOGY)) as world:
        made = OverlayNet(world, registry="tsukuba")
        try:
            made.prepare("nagoya", 1)
            made.join("nagoya", made.invite("nagoya", "--own-name", "tsukuba"))
            made.until(lambda: made.ping("nagoya", "10.30.0.1"), "the first ping", 40)
            made.until(lambda: links(made)[0]["state"] == "up", "both ends say that the link is up", 60)
            yield made
        finally:
            made.close()


def links(net: OverlayNet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(net.garage("-o", "json", "site", "links"))["items"]
    return found or [{"state": "none"}]


def measured(net: OverlayNet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(net.garage("-o", "json", "site", "measurements", "nagoya"))["items"]
    return found


def rules(net: OverlayNet, node: str) -> str:
    instance = net.own if node == "tsukuba" else net.sites[node].network.instance
    return net.run(node, ["nft", "list", "chain", "inet", f"garage_{instance}", "from_peer"])


def running(marker: bytes) -> list[int]:
    """Processes with this in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker in (line := path.read_bytes()) and line.startswith(b"iperf3"):
                found.append(int(path.parent.name))
    return found


def test_a_measurement_is_as_fast_as_the_line_in_both_directions(net: OverlayNet) -> None:
    found = json.loads(net.garage("-o", "json", "site", "measure", "nagoya", "tsukuba", "--seconds", "3"))
    assert (found["state"], found["site"], found["peer"], found["error"]) == ("done", "nagoya", "tsukuba", "")
    for way in ("sent_bps", "received_bps"):
        assert WIRE * LEAST < found[way] < WIRE * MOST, found
    (link,) = links(net)
    both = {link["a_to_b_bps"], link["b_to_a_bps"]}
    assert both == {found["sent_bps"], found["received_bps"]}
    assert link["measured_at"] == found["ended_at"]
    assert str(PORT) not in rules(net, "tsukuba") + rules(net, "nagoya")


def test_the_cap_holds(net: OverlayNet) -> None:
    found = json.loads(
        net.garage("-o", "json", "site", "measure", "nagoya", "tsukuba", "--mbit", "4", "--seconds", "1")
    )
    for way in ("sent_bps", "received_bps"):
        assert CAP * LEAST < found[way] < CAP * MOST, found


def test_the_port_is_open_for_the_link_alone_and_while_the_order_lasts(net: OverlayNet) -> None:
    net.garage("site", "measure", "nagoya", "tsukuba", "--seconds", "2", "--no-wait")
    net.until(lambda: str(PORT) in rules(net, "tsukuba"), "the server end opens its port", 20)
    opened = [line for line in rules(net, "tsukuba").splitlines() if str(PORT) in line]
    assert len(opened) == 1
    assert f'iifname "gl{net.own}' in opened[0]
    assert str(PORT) not in rules(net, "nagoya")
    gateway = ["timeout", "1", "bash", "-c", f"exec 3<>/dev/tcp/10.30.0.1/{PORT}"]
    assert subprocess.run(net.world.argv("nagoya", gateway), capture_output=True, check=False).returncode != 0
    net.until(lambda: measured(net)[0]["state"] == "done", "the measurement ends", 60)
    net.until(lambda: str(PORT) not in rules(net, "tsukuba"), "the port closes", 20)


def test_a_node_killed_while_it_measures_ends_the_measurement_and_the_next_one_is_done(net: OverlayNet) -> None:
    net.garage("site", "measure", "nagoya", "tsukuba", "--no-wait")
    process = net.processes["nagoya"]
    marker = f"-c\0{peer(net)}".encode()
    net.until(lambda: running(marker), "iperf3 runs at nagoya", 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    net.processes["nagoya"] = net.sites["nagoya"].start()
    net.until(lambda: measured(net)[0]["state"] == "failed", "it ends with a reason", 90)
    assert "netd was ended" in measured(net)[0]["error"]
    net.until(lambda: not running(marker), "nothing of it runs on", 40)
    again = json.loads(net.garage("-o", "json", "site", "measure", "nagoya", "tsukuba", "--seconds", "1"))
    assert again["state"] == "done"


def peer(net: OverlayNet) -> str:
    """The address at the other end of nagoya's link: it makes this test's iperf3 known among others'."""
    instance = net.sites["nagoya"].network.instance
    text = net.run("nagoya", ["sh", "-c", f"ip -o -4 addr show | grep -o 'gl{instance}[^ ]* *inet [0-9.]*'"])
    own = text.split()[-1]
    head, last = own.rsplit(".", 1)
    return f"{head}.{int(last) ^ 1}"


def test_series_for_prometheus_at_the_registry_and_at_every_node(net: OverlayNet) -> None:
    (path,) = net.folder.glob("nagoya/**/metrics.prom")
    text = path.read_text()
    assert 'netd_link_up{site="nagoya"' in text
    for body in (text, net.run("tsukuba", ["curl", "-sk", f"{net.url}/metrics"])):
        checked = subprocess.run(["promtool", "check", "metrics"], input=body, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")
