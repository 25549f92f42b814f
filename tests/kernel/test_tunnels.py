"""Tunnels of a node, real, whose links come, go and get in each other's way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netlab import NetLab

pytestmark = pytest.mark.kernel

INSIDE = """
import dataclasses, json, pathlib, socket, sys
import msgspec
from netd.core.overlay import interface
from netd.errors import NetdError
from netd.shell.tunnels import WireGuard
from tests.bgpwanted import wanted

INSTANCE, SECRET = "tun", "c" * 42 + "A="
guard = WireGuard(pathlib.Path(sys.argv[1]))

def want(ports):
    found = wanted(INSTANCE, ["kyoto"], dict.fromkeys(ports, "kyoto"))
    links = tuple(msgspec.structs.replace(link, port=ports[link.number], psk=SECRET, peer_key=SECRET) for link in found.spec.links)
    return dataclasses.replace(found, spec=msgspec.structs.replace(found.spec, links=links))

def carried():
    known = {interface(INSTANCE, number): number for number in range(1, 10)}
    return {known[name]: seen.port for name, seen in guard._present(INSTANCE).items()}

def follow(ports):
    try:
        guard.follow(want(ports))
    except NetdError as error:
        return [carried(), str(error)]
    return [carried(), guard.plan(want(ports))]

found = {"first": follow({1: 51821, 2: 51822})}
found["the port goes on to a new link"] = follow({2: 51822, 3: 51821})
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
    other.bind(("0.0.0.0", 51824))
    found["somebody holds a port"] = follow({2: 51822, 4: 51824, 5: 51825})
found["and lets it go"] = follow({2: 51822, 4: 51824, 5: 51825})
guard.stop(INSTANCE)
found["stopped"] = carried()
print(json.dumps(found))
"""


@pytest.fixture
def lab() -> Iterator[NetLab]:
    made = NetLab()
    yield made
    made.close()


def test_a_port_goes_from_link_to_link_and_one_that_fails_holds_up_no_other(lab: NetLab, tmp_path: Path) -> None:
    argv = ["ip", "netns", "exec", lab.node, sys.executable, "-c", INSIDE, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["first"] == [{"1": 51821, "2": 51822}, []]
    assert found["the port goes on to a new link"] == [{"2": 51822, "3": 51821}, []]
    carried, trouble = found["somebody holds a port"]
    assert carried["2"] == 51822
    assert carried["5"] == 51825
    assert "3" not in carried
    assert carried.get("4") != 51824
    assert "in use" in trouble
    assert found["and lets it go"] == [{"2": 51822, "4": 51824, "5": 51825}, []]
    assert found["stopped"] == {}
