"""`netd lab up` as people type it: a registry, two sites that join it, and a machine at each; and nothing when it is over.

a/vm1 ─(bridge)─ a, the registry ──(a-line: 2 ms)── internet ──(b-line: 3 ms, cone)── b ─(bridge)─ b/vm1
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netd.lab import observe
from netd.lab.removal import remove
from netd.lab.state import ROOT
from netd.lab.world import World
from tests.lableft import Traces

pytestmark = pytest.mark.kernel

CHECKOUT = Path(__file__).parents[2]
TOPOLOGY = """
name: two
sites:
  a: {lines: {a-line: {delay: 2ms}}}
  b: {lines: {b-line: {delay: 3ms, nat: cone, ipv6: false}}}
"""
B = "vm1.lab.b.garage.internal"


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    file = tmp_path / "two.yaml"
    file.write_text(TOPOLOGY)
    return file


@pytest.fixture
def name() -> Iterator[str]:
    own = f"lo-{os.getpid()}"
    yield own
    remove(own)


def command(*words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "netd.lab.cli", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=seconds)


def said(*words: str) -> str:
    done = command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said("status", name, "-o", "json"))["items"][0]
    return found


def kill(name: str, node: str, role: str) -> None:
    """SIGKILL, seen by all: the other site's BFD does not notice, its BGP does."""
    for pid, found in observe.roles(World.attach(name), node):
        if found == role:
            os.kill(pid, signal.SIGKILL)
    time.sleep(1)


def pings(name: str, address: str) -> bool:
    """From a, which has no other way than b's word."""
    return (
        " 0% packet loss"
        in command("exec", "--lab", name, "a", "--", "ping", "-n", "-c", "1", "-W", "1", address).stdout
    )


def test_two_sites_from_up_to_down(topology: Path, name: str) -> None:
    up = said("up", str(topology), "--name", name)
    assert [line.split()[2] for line in up.splitlines() if " s  " in line] == [
        *["world", "registry", "b", "machines", "overlay"]
    ]
    assert f"lab {name} is up" in up
    traces = Traces(name)
    assert {"namespaces", "files", "folder", "processes"} <= traces.left().keys()

    at = ("exec", "--lab", name)
    for family in ("-4", "-6"):
        assert " 0% packet loss" in said(*at, "a/vm1", "--", "ping", family, "-c", "1", B)
    assert "1 of 1 links up" in said(*at, "b", "--", "netd", "status")
    sites = json.loads(said(*at, "a", "--", "garage", "-o", "json", "site", "list"))["items"]
    assert {site["name"]: site["state"] for site in sites} == {"a": "up", "b": "up"}
    assert "10.30.0.0/20" in said(*at, "b", "--", "vtysh", "-c", "show bgp ipv4 unicast")

    shown = status(name)
    kill(name, "b", "bgpd")
    began = time.monotonic()
    while not pings(name, "10.41.0.1") or not pings(name, "fd41::1"):
        assert time.monotonic() < began + 60, "bgpd was started again, and says what is b's"
        time.sleep(0.3)

    shown = status(name)
    assert [(row["a"], row["b"], row["state"]) for row in shown["links"]] == [("a", "b", "up")]
    assert all(not node["missing"] for node in shown["processes"].values())
    assert f"lab {name} is up already" in said("up", str(topology), "--name", name)

    assert said("down", name) == f"lab {name} is down\n"
    assert traces.left() == {}


def test_down_after_up_was_killed(topology: Path, name: str) -> None:
    """In the middle: the registry serves, b's netd runs and is about to join."""
    argv = [sys.executable, "-m", "netd.lab.cli", "up", str(topology), "--name", name]
    builder = subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (ROOT / name / "overlay/b/join.log").exists():
        assert time.monotonic() < deadline
        assert builder.poll() is None
        time.sleep(0.02)
    builder.kill()
    builder.wait()
    traces = Traces(name)
    assert {"namespaces", "folder", "processes"} <= traces.left().keys()
    assert f"was left half built: netd lab down {name}" in said("status", name)
    assert said("down", name) == f"lab {name} is down\n"
    assert traces.left() == {}
