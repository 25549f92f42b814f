"""Nothing but the internet at large is fetched on anybody's behalf, whatever is asked and whatever a server or a name server answers.

The world is the loopback of a namespace of the test's own (fetch_inside.py): where a guard failed nobody outside would be reached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netlab import NetLab, sh

pytestmark = pytest.mark.kernel
ADDRESSES = (
    *(
        "9.9.9.9/32",
        "8.8.4.4/32",
        "10.0.0.1/32",
        "10.0.0.2/32",
        "169.254.169.254/32",
        "192.168.77.7/32",
        "5.5.5.5/32",
        "172.16.0.1/32",
    ),
    *(
        "100.64.0.1/32",
        "192.0.2.9/32",
        "198.18.0.1/32",
        "2a0f:1::9/128",
        "2a0f:1::5/128",
        "fd00::1/128",
        "64:ff9b::7f00:1/128",
    ),
    *("2002:7f00:1::1/128", "2001:db8::1/128", "64:ff9b:1::1/128"),
)
INTERNET = ["2a0f:1::9", "9.9.9.9"]
FETCHED = [
    *(f"http://good.example/{path}" for path in ("file", "chunked", "to-good", "to-path", "a?b=c")),
    *("http://9.9.9.9/file", "http://[2a0f:1::9]/file", "http://six.example/file", "http://GOOD.example./file"),
]
FORBIDDEN = [
    *(
        f"http://{host}/file"
        for host in (
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
        )
    ),
    *(
        f"http://{host}/file"
        for host in ("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]")
    ),
    *(
        f"http://{host}/file"
        for host in ("[64:ff9b:1::1]", "[2002:7f00:1::1]", "[2001:db8::1]", "[fd00::1]", "[fe80::1]", "[ff02::1]")
    ),
    *(
        f"http://{host}/file"
        for host in ("10.0.0.1", "10.0.0.2:8080", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.2.9", "198.18.0.1")
    ),
    *(f"http://{host}/file" for host in ("169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1")),
    *(f"http://{host}/file" for host in ("192.168.77.7", "5.5.5.5", "8.8.4.4", "[2a0f:1::5]")),
    *(f"http://{host}/file" for host in ("evil.example", "mixed.example")),
    *(f"http://good.example/to-{where}" for where in ("loopback", "metadata", "special", "evil")),
]
REFUSED = {
    **{f"http://good.example/to-{where}": "invalid_field" for where in ("file", "gopher", "nothing", "password")},
    **dict.fromkeys(("file:///etc/passwd", "ftp://9.9.9.9/", "http://a@9.9.9.9/", "http://9.9.9.9\\@127.0.0.1/"), "invalid_field"),
    **{f"http://good.example/{path}": "network_error" for path in ("to-itself", "missing", "cut", "noise", "many-headers", "long-header")},
    **{f"http://good.example/{path}": "too_large" for path in ("huge", "endless", "endless-chunks")},
    **{f"http://good.example/{path}": "timeout" for path in ("slow-head", "slow-headers", "silent")},
    "http://none.example/file": "network_error",
    "https://9.9.9.9:80/file": "network_error",
    "http://9.9.9.9:81/file": "network_error",
}  # fmt: skip
"""URL → why it is not fetched, though nothing is wrong with its address."""


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """A namespace with nothing but its loopback."""
    lab = NetLab.__new__(NetLab)
    lab._made = []
    name = lab.add("fetch")
    sh(f"ip -n {name} link set lo up")
    for address in ADDRESSES:
        sh(f"ip -n {name} addr add {address} dev lo{' nodad' if ':' in address else ''}")
    try:
        yield name
    finally:
        lab.close()


def inside(place: str, module: str, given: Any) -> Any:
    argv = ["ip", "netns", "exec", place, sys.executable, "-m", module]
    done = subprocess.run(argv, input=json.dumps(given), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(place: str) -> Any:
    return inside(place, "tests.kernel.fetch_inside", [*FETCHED, *FORBIDDEN, *REFUSED])


def test_what_is_on_the_internet_is_fetched(found: Any) -> None:
    assert {url: found["results"][url] for url in FETCHED} == dict.fromkeys(FETCHED, "the file")


def test_nothing_special_is_and_nothing_of_the_office_or_of_ours(found: Any) -> None:
    assert {url: found["results"][url] for url in FORBIDDEN} == dict.fromkeys(FORBIDDEN, "forbidden")


def test_servers_that_never_end_or_lie_are_left(found: Any) -> None:
    assert {url: found["results"][url] for url in REFUSED} == REFUSED


def test_no_other_address_was_ever_connected_to(found: Any) -> None:
    assert found["reached"] == INTERNET


def test_what_the_root_owned_file_allows_is_fetched(place: str) -> None:
    """A single address and port: a mirror beside us."""
    found = inside(place, "tests.kernel.fetch_inside", ["http://10.0.0.2/file", "http://10.0.0.1/file"])
    assert found["results"] == {"http://10.0.0.2/file": "the file", "http://10.0.0.1/file": "forbidden"}
    assert found["reached"] == ["10.0.0.2"]


def test_a_name_is_looked_up_once_for_each_request(place: str) -> None:
    """DNS rebinding: whatever a name server says the second time, the first answer is what was checked and connected to."""
    urls = ["http://rebind.example/file", "http://late.example/file", "http://good.example/to-late"]
    found = inside(place, "tests.kernel.fetch_inside", urls)
    assert found["results"] == {urls[0]: "the file", urls[1]: "the file", urls[2]: "forbidden"}
    assert (found["reached"], found["asked"]) == (
        ["9.9.9.9"],
        {"rebind.example": 1, "late.example": 2, "good.example": 1},
    )


def test_a_servers_own_addresses_and_files_are_read(place: str, tmp_path: Path) -> None:
    """Here all of the world is ours, so that even the internet is out of reach."""
    (tmp_path / "office.networks").write_text("1.1.1.0/24  # the office\n")
    (tmp_path / "allow.networks").write_text("10.0.0.2 tcp 443\n")
    script = f"""
import json, pathlib
from garage.shell.outward_fetch import server_guard
guard, said = server_guard(pathlib.Path({str(tmp_path)!r})), {{}}
for address, port in (("9.9.9.9", 80), ("2a0f:1::9", 80), ("1.1.1.1", 443), ("10.0.0.2", 443), ("10.0.0.2", 80), ("9.9.9.10", 80)):
    try:
        guard.check(address, port)
        said[f"{{address}} {{port}}"] = "ok"
    except Exception as error:
        said[f"{{address}} {{port}}"] = error.code
print(json.dumps(said))
"""
    argv = ["ip", "netns", "exec", place, sys.executable, "-c", script]
    said = json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout)
    bad = dict.fromkeys(("9.9.9.9 80", "2a0f:1::9 80", "1.1.1.1 443", "10.0.0.2 80"), "forbidden")
    assert said == bad | {"10.0.0.2 443": "ok", "9.9.9.10 80": "ok"}
