"""A line's queue and its filters in a namespace of their own, without an overlay.

glabc1 ──(veth)── far1      gsabc0: the queue that both lead to
up0 ─────(veth)── far2
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

BEGIN = """
import json, socket, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
from netd.core.shaping import CONTROL, Shape, jobs
from netd.shell.shaping import Tc, leaf, missing

def ip(*words):
    subprocess.run(["ip", *words], check=True)

def link(name, far, address):
    ip("link", "add", name, "type", "veth", "peer", "name", far)
    ip("link", "set", name, "up")
    ip("link", "set", far, "up")
    ip("address", "add", address + "/24", "dev", name)
    ip("neighbour", "add", address[:-1] + "2", "lladdr", "02:00:00:00:00:01", "dev", name)

def tc(*words):
    return subprocess.run(["tc", *words], check=True, capture_output=True, text=True).stdout

def queued():
    return int(tc("-s", "qdisc", "show", "dev", "gsabc0").split("Sent ")[1].split()[0])

def put(port, source, to, size):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", source))
    made.sendto(bytes(size), (to, port))

def sent(port=9, source=0, to="198.51.100.2"):
    "Whether a packet takes the queue. It counts what has left it, a moment later, so a longer one that certainly takes it comes after."
    before, end = queued(), time.monotonic() + 10
    put(port, source, to, 700)
    put(9, 0, "100.127.0.2", 1000)
    while queued() - before < 1000 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.1)
    return queued() - before > 1700  # the kernel's own neighbour discovery adds some 100

link("glabc1", "far1", "100.127.0.1")
link("up0", "far2", "198.51.100.1")
shape = Shape("gsabc0", "up0", 20, ("glabc1",), range(51820, 51920))
made = Tc(Path(sys.argv[1]))
"""


def within(state: Path, code: str) -> dict[str, Any]:
    """What `code` puts into `found`, run after BEGIN in a network namespace without a name."""
    text = f"{BEGIN}\nfound = {{}}\n{code}\nprint(json.dumps(found))"
    see = 'mount -t sysfs sysfs /sys && exec "$@"'  # the namespace's own devices
    argv = ["unshare", "-n", "-m", "sh", "-c", see, "sh", sys.executable, "-c", text, str(state)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_second_apply_changes_nothing_and_packets_take_their_way(tmp_path: Path) -> None:
    found = within(
        tmp_path,
        """
found["missing"] = missing()
wanted = jobs([shape], leaf())
found["first"], found["second"] = made.follow(wanted), made.follow(wanted)
found["another netd"] = Tc(Path(sys.argv[1])).follow(wanted)
found["link"] = sent(to="100.127.0.2")
found["internet"] = sent()
found["encrypted"] = sent(source=51821)
found["own network"] = made.follow(jobs([replace(shape, near=("198.51.100.0/24",))], leaf()))
found["near"] = sent()
""",
    )
    assert found.pop("missing") == ""
    assert len(found.pop("first")) == 3
    assert found.pop("second") == found.pop("another netd") == []
    assert found.pop("own network") == ["tc filters up0"]
    assert found == {"link": True, "internet": True, "encrypted": False, "near": False}


def test_what_others_take_away_comes_again(tmp_path: Path) -> None:
    """A queue that was deleted would swallow all packets of its filters, so that is seen at once."""
    found = within(
        tmp_path,
        """
wanted = jobs([shape], leaf())
made.follow(wanted)
ip("link", "delete", "gsabc0")
found["queue"] = len(made.follow(wanted))
found["sent"] = sent()
ip("link", "delete", "glabc1")
found["gone"] = made.follow(wanted)
link("glabc1", "far1", "100.127.0.1")
found["back"] = made.follow(wanted)
tc("filter", "delete", "dev", "up0", "egress")
found["undoubted"] = made.follow(wanted)
made.doubt(wanted)
found["doubted"] = made.follow(wanted)
""",
    )
    assert found == {
        **{"sent": True, "queue": 3, "gone": [], "back": ["tc filters glabc1"]},
        **{"undoubted": [], "doubted": ["tc filters up0"]},
    }


def test_only_what_is_ours_is_removed(tmp_path: Path) -> None:
    found = within(
        tmp_path,
        """
tc("qdisc", "add", "dev", "up0", "clsact")
tc("filter", "add", "dev", "up0", "ingress", "pref", "7", "protocol", "ip", "u32", "match", "u32", "0", "0", "flowid", "1:1")
made.follow(jobs([shape], leaf()))
found["first"] = made.stop()
found["left"] = tc("qdisc", "show", "dev", "up0").count("clsact") + tc("qdisc", "show", "dev", "glabc1").count("clsact")
found["theirs"] = "pref 7" in tc("filter", "show", "dev", "up0", "ingress")
found["ours"] = "6c61" in tc("qdisc", "show") or "pref 2" in tc("filter", "show", "dev", "up0", "egress")
found["again"] = made.stop()
""",
    )
    assert found.pop("first") == ["tc remove filters glabc1", "tc remove filters up0", "tc remove queue gsabc0"]
    assert found == {"left": 1, "theirs": True, "ours": False, "again": []}
    assert list(tmp_path.iterdir()) == []


def test_half_made_filters_are_removed_too(tmp_path: Path) -> None:
    found = within(
        tmp_path,
        """
wanted = jobs([shape], leaf())
broken = [*wanted[:2], replace(wanted[2], lines=(*wanted[2].lines[:3], "filter add nonsense"))]
try:
    made.follow(broken)
except Exception as error:
    found["error"] = type(error).__name__
found["again"] = made.follow(wanted)
found["stop"] = len(made.stop())
""",
    )
    assert found == {"error": "NetdError", "again": ["tc filters up0"], "stop": 3}
