"""The laboratory does what its file says: real namespaces, real NATs, real sockets.

                                        ┌── 192.0.2.1:3478, :3479
far ────(30 ms ± 3, 10 % lost)──────────┤ INTERNET (reflects where a packet seems to come from)
slow ───(20 Mb/s)───────────────────────┤── 192.0.2.2:3478
quick ──(1 ms)──────────────────────────┤
plain ──────────────────────────────────┤
mute ───(no UDP)────────────────────────┤
port, address, any ──[cone]─────────────┤    who may answer from outside: see netd/lab/model.py
sym ──[symmetric]───────────────────────┤
mape ──[40960-41199]────────────────────┤
twin1, twin2 ──[cone, 8000 → twin1]─────┤
dslite1, dslite2 ─────[isp: ds-lite]────┘
two ──(two-fibre)── and ──(two-lte)── to the internet
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from netd.errors import NetdError
from netd.lab import processes
from netd.lab.parse import parse
from netd.lab.removal import namespaces_of, remove, remove_abandoned
from netd.lab.state import labs, started
from netd.lab.world import World

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
TOPOLOGY = """
name: t
carriers: {isp: ds-lite}
sites:
  far: {lines: {far-line: {delay: 30ms, jitter: 3ms, loss: 10%}}}
  slow: {lines: {slow-line: {rate: 20Mb/s}}}
  quick: {lines: {quick-line: {delay: 1ms}}}
  plain: {lines: {plain-line: {}}}
  mute: {lines: {mute-line: {block: [udp]}}}
  port: {lines: {port-line: {nat: cone}}}
  address: {lines: {address-line: {nat: {kind: cone, filter: address}}}}
  any: {lines: {any-line: {nat: {kind: cone, filter: any}}}}
  sym: {lines: {sym-line: {nat: symmetric}}}
  mape: {lines: {mape-line: {nat: map-e}}}
  twins: {nodes: [twin1, twin2], lines: {twin-line: {nat: {kind: cone, filter: any, forward: {8000: twin1}}}}}
  pair: {nodes: [pair1, pair2], lines: {pair-line: {nat: cone}}}
  dslite1: {lines: {ds1-line: {carrier: isp}}}
  dslite2: {lines: {ds2-line: {carrier: isp}}}
  two: {lines: {two-fibre: {mtu: 1400}, two-lte: {ipv6: false}}}
"""
SMALL = "name: small\nsites: {a: {lines: {a-line: {delay: 1ms}}}, b: {lines: {b-line: {}}}}\n"

REFLECTOR = """
import json, select, socket, threading
sockets = {}
for where in (("192.0.2.1", 3478), ("192.0.2.1", 3479), ("192.0.2.2", 3478)):
    sockets[where] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sockets[where].bind(where)
listener = socket.create_server(("192.0.2.1", 80))
def swallow(one):
    while one.recv(1 << 20):
        pass
def accept():
    while True:
        threading.Thread(target=swallow, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
print("up", flush=True)
while True:
    for ready in select.select(list(sockets.values()), [], [])[0]:
        seen = ready.recvfrom(2048)[1]
        for where, one in sockets.items():
            one.sendto(json.dumps([*where, *seen]).encode(), seen)
"""
ASK = """
import json, socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 51820))
answers = {}
for where in sys.argv[2:]:
    one.sendto(b"?", (where, 3478))
    one.settimeout(float(sys.argv[1]))
    rows = []
    try:
        while True:
            rows.append(json.loads(one.recv(2048)))
            one.settimeout(0.25)  # all answers are sent at once
    except TimeoutError:
        answers[where] = rows
print(json.dumps(answers))
"""
SEND = """
import socket, sys, time
one = socket.create_connection(("192.0.2.1", 80), timeout=20)
sent, begin = 0, time.monotonic()
while time.monotonic() < begin + 1.0:
    sent += one.send(bytes(65536))
one.shutdown(socket.SHUT_WR)
one.recv(1)  # until all has arrived
print(sent * 8 / (time.monotonic() - begin))
"""
ORDER = """
import socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == "hear":
    one.bind(("192.0.2.2", 9000))
    one.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE: also when nobody reads for a while
    print("up", flush=True)
    one.settimeout(20)
    heard = []
    while not heard or heard[-1] < 1000:
        heard.append(int.from_bytes(one.recv(100), "big"))
    print(len(heard), heard == sorted(heard))
else:
    for number in [*range(1000), *[1000] * 50]:
        one.sendto(number.to_bytes(4, "big"), ("192.0.2.2", 9000))
        time.sleep(0.0005)  # many within the jitter, and no queue on the way overflows
"""


def root_devices() -> set[str]:
    return {row["ifname"] for row in json.loads(subprocess.check_output(["ip", "-json", "link"]))}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(parse(TOPOLOGY)) as made:
        reflector = made.popen("internet", [sys.executable, "-c", REFLECTOR], stdout=subprocess.PIPE)
        assert reflector.stdout is not None
        assert reflector.stdout.readline() == "up\n"
        yield made


def ping(world: World, node: str, *words: str, count: int = 5) -> tuple[int, float]:
    """(answers, median round trip in ms) of echoes to 192.0.2.1 unless an address is given last.

    By fping, which waits 1.5 s for each answer; ping(8) gives the last one two round trips, too few on a busy server.
    """
    argv = ["fping", "-q", "-C", str(count), "-p", "10", "-t", "1500", *(words or ("192.0.2.1",))]
    done = subprocess.run(world.argv(node, argv), capture_output=True, text=True, check=False)
    found = re.search(rf"^\S+ +: ((?:[\d.]+|-)(?: (?:[\d.]+|-)){{{count - 1}}})$", done.stderr, re.M)
    assert found, done.stderr
    times = [float(word) for word in found[1].split() if word != "-"]
    return len(times), median(times) if times else 0.0


def ask(world: World, node: str, *hosts: str, patience: float = 5.0) -> dict[str, Any]:
    """What the reflector says to a UDP socket on port 51820: `ports` and `addresses` by host asked, `let_in` from the first's answer."""
    hosts = hosts or ("192.0.2.1", "192.0.2.2")
    answers = json.loads(world.exec(node, [sys.executable, "-c", ASK, str(patience), *hosts]))
    first = [row for row in answers[hosts[0]] if row[2:]]
    own = {where: [row for row in rows if row[:2] == [where, 3478]] for where, rows in answers.items()}
    return {
        "let_in": {(row[0], row[1]) for row in first},
        "ports": [rows[0][3] for rows in own.values() if rows],
        "addresses": {rows[0][2] for rows in own.values() if rows},
    }


SAME, PORT, OTHER = ("192.0.2.1", 3478), ("192.0.2.1", 3479), ("192.0.2.2", 3478)


def test_every_node_reaches_every_other_by_ipv6(world: World) -> None:
    nodes = {name: node for name, node in world.nodes.items() if name not in ("far", "mute")}
    for name in nodes:
        others = [node.ipv6 for other, node in nodes.items() if other != name and node.ipv6]
        assert ping(world, name, str(others[len(name) % len(others)]), count=2)[0] == 2


def test_round_trip_and_loss_follow_the_file(world: World) -> None:
    answers, typical = ping(world, "far", count=400)
    assert 57 < typical < 80, "twice 30 ms; it may grow, for nothing overtakes"
    assert 0.70 < answers / 400 < 0.91, "0.9 x 0.9 come back"
    assert ping(world, "plain")[1] < 20


def test_packets_stay_in_order(world: World) -> None:
    hearing = world.popen("internet", [sys.executable, "-c", ORDER, "hear"], stdout=subprocess.PIPE)
    assert hearing.stdout is not None
    assert hearing.stdout.readline() == "up\n"
    world.exec("far", [sys.executable, "-c", ORDER, "say"])
    count, in_order = hearing.communicate(timeout=40)[0].split()
    assert int(count) > 700
    assert in_order == "True"


def test_rate_is_kept_and_the_forwarder_is_no_bottleneck(world: World) -> None:
    slow, quick = (float(world.exec(node, [sys.executable, "-c", SEND])) for node in ("slow", "quick"))
    print(f"slow {slow / 1e6:.1f} Mb/s, quick {quick / 1e6:.0f} Mb/s")
    assert 5e6 < slow < 20e6
    assert quick > 2 * slow


def test_mtu_is_the_line_s(world: World) -> None:
    assert ping(world, "two", "-M", "-b", str(1400 - 28), "192.0.2.1", count=1)[0] == 1
    assert ping(world, "two", "-M", "-b", str(1401 - 28), "192.0.2.1", count=1)[0] == 0


# NAT


def test_without_nat_all_is_seen_as_it_is(world: World) -> None:
    seen = ask(world, "plain")
    assert (seen["ports"], seen["addresses"]) == ([51820, 51820], {world.nodes["plain"].ipv4})
    assert seen["let_in"] == {SAME, PORT, OTHER}


@pytest.mark.parametrize(
    ("node", "let_in"), [("port", {SAME}), ("address", {SAME, PORT}), ("any", {SAME, PORT, OTHER})]
)
def test_cone(world: World, node: str, let_in: set[tuple[str, int]]) -> None:
    seen = ask(world, node)
    assert (seen["ports"], seen["addresses"]) == ([51820, 51820], {world.nodes[node].outside4})
    assert seen["let_in"] == let_in


def test_symmetric(world: World) -> None:
    seen = ask(world, "sym")
    assert len(set(seen["ports"])) == 2, "another port for every destination"
    assert seen["let_in"] == {SAME}


def test_map_e(world: World) -> None:
    seen = ask(world, "mape")
    assert len(seen["ports"]) == 2
    assert len(set(seen["ports"])) == 1
    assert 40_960 <= seen["ports"][0] <= 41_199


def test_ds_lite(world: World) -> None:
    one, other = (ask(world, node) for node in ("dslite1", "dslite2"))
    assert one["addresses"] == other["addresses"] == {"192.0.2.66"}, "shared"
    assert world.nodes["dslite1"].outside4 is None
    assert len(set(one["ports"])) == len(set(other["ports"])) == 1
    assert one["ports"] != other["ports"]
    assert one["let_in"] == {SAME}
    ipv6 = world.nodes["dslite2"].ipv6
    assert ping(world, "plain", str(ipv6))[0] == 5, "native IPv6 comes in"


def test_two_nodes_behind_one_cone_have_a_port_each(world: World) -> None:
    one, other = ask(world, "pair1", "192.0.2.1"), ask(world, "pair2", "192.0.2.2")
    assert one["ports"] == [51820] != other["ports"], "also where Linux by itself would give both the same"
    one, other = ask(world, "twin1"), ask(world, "twin2")
    assert one["addresses"] == other["addresses"]
    assert [len(set(seen["ports"])) for seen in (one, other)] == [1, 1]
    assert one["ports"] != other["ports"]
    assert one["let_in"] == other["let_in"] == {SAME, PORT, OTHER}


def test_only_a_forwarded_port_is_open(world: World) -> None:
    code = "import socket; one = socket.create_server(('', {0})); print('up', flush=True); one.accept()"
    for node, port in (("twin1", 8000), ("twin2", 8001)):
        server = world.popen(node, [sys.executable, "-c", code.format(port)], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
    outside = world.nodes["twin1"].outside4
    knock = f"import socket; socket.create_connection(({outside!r}, {{}}), timeout={{}})"
    world.exec("plain", [sys.executable, "-c", knock.format(8000, 10)])
    with pytest.raises(NetdError, match="TimeoutError"):
        world.exec("plain", [sys.executable, "-c", knock.format(8001, 0.5)])


def test_an_early_packet_does_not_take_the_port_of_a_hole(world: World) -> None:
    """Both ends open the hole together, and one of the two is always first."""
    outside = world.nodes["port"].outside4
    bound = "import socket; one = socket.socket(type=socket.SOCK_DGRAM); one.bind(({!r}, {})); "
    early = f"{bound.format('192.0.2.2', 3500)} one.sendto(b'x', ({outside!r}, 51820))"
    world.exec("internet", [sys.executable, "-c", early])
    later = f"{bound.format('', 51820)} one.sendto(b'x', ('192.0.2.2', 3500))"
    hear = (
        f"{bound.format('192.0.2.2', 3500)} one.settimeout(20); print('up', flush=True); print(one.recvfrom(9)[1][1])"
    )
    hearing = world.popen("internet", [sys.executable, "-c", hear], stdout=subprocess.PIPE)
    assert hearing.stdout is not None
    assert hearing.stdout.readline() == "up\n"
    world.exec("port", [sys.executable, "-c", later])
    assert hearing.communicate(timeout=30)[0].strip() == "51820"


def test_udp_is_blocked_and_tcp_passes(world: World) -> None:
    assert ask(world, "mute", patience=0.5)["ports"] == []
    assert float(world.exec("mute", [sys.executable, "-c", SEND])) > 1e6


# breaking


def test_break_and_heal(world: World) -> None:
    world.break_line("quick-line", delay=0.1)
    assert 199 < ping(world, "quick")[1] < 300
    world.break_line("quick-line", loss=1.0)
    assert ping(world, "quick")[0] == 0
    assert world.broken() == {"quick-line": {"delay": 0.1, "loss": 1.0}}
    world.heal("quick-line")
    answers, typical = ping(world, "quick")
    assert (answers, world.broken()) == (5, {})
    assert typical < 100, "the 200 ms are gone"


def test_a_plain_line_can_be_cut(world: World) -> None:
    world.break_line("plain-line", loss=1.0)
    assert ping(world, "plain")[0] == 0
    world.break_line("plain-line", loss=0.3)
    assert 50 < ping(world, "plain", count=200)[0] < 150, "0.7 x 0.7 come back"
    with pytest.raises(NetdError, match="plain line"):
        world.break_line("plain-line", delay=0.1)
    world.heal()
    assert ping(world, "plain")[0] == 5


def test_the_second_line_of_a_site_carries_on_its_own(world: World) -> None:
    fibre, lte = world.nodes["two"].lines
    assert ping(world, "two", "-S", str(lte.ipv4), "192.0.2.1")[0] == 5
    world.break_line("two-fibre", loss=1.0)
    assert ping(world, "two", "-S", str(fibre.ipv4), "192.0.2.1")[0] == 0
    assert ping(world, "two", "-S", str(lte.ipv4), "192.0.2.1")[0] == 5, "answers leave by the line they came over"
    world.heal()


def test_a_dead_forwarder_is_told_and_healed(world: World) -> None:
    pid = processes.alive(world.state.folder, "quick-line")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert world.counters("quick-line") is None
    assert ping(world, "quick")[0] == 0
    world.heal("quick-line")
    assert ping(world, "quick")[0] == 5


# keeping to itself


def test_no_way_out(world: World) -> None:
    """Devices of a lab lead into the lab: their other ends are not in the server's own namespace."""
    for name in world.plan.namespaces:
        rows = json.loads(subprocess.check_output(["ip", "-n", name, "-json", "-details", "link"]))
        kinds = {row["ifname"]: row.get("linkinfo", {}).get("info_kind") for row in rows}
        assert set(kinds.values()) <= {None, "veth", "tun", "bridge"}
        assert {device for device, kind in kinds.items() if kind is None} == {"lo"}
    links = json.loads(subprocess.check_output(["ip", "-json", "link"]))
    names = dict(
        re.findall(r"nsid (\d+).*?name: (\S+)", subprocess.check_output(["ip", "netns", "list-id"], text=True))
    )
    assert not [row for row in links if names.get(str(row.get("link_netnsid"))) in world.plan.namespaces]


def test_the_server_s_own_services_are_out_of_reach(world: World) -> None:
    """Also under an address of the server that the lab happens to use itself."""
    rows = json.loads(subprocess.check_output(["ip", "-json", "addr"]))
    own = [row["local"] for card in rows for row in card["addr_info"] if row["scope"] == "global"]
    knock = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))"
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as door:
        port = str(door.getsockname()[1])
        subprocess.run([sys.executable, "-c", knock, "127.0.0.1", port, "10"], check=True)
        for address in ("127.0.0.1", *own[:4]):
            with pytest.raises(NetdError, match=r"refused|unreachable|TimeoutError"):
                world.exec("plain", [sys.executable, "-c", knock, address, port, "0.5"])


def test_two_labs_at_once_keep_apart() -> None:
    before = root_devices()
    with World(parse(SMALL), name="one-lab") as one, World(parse(SMALL), name="one-lab-more") as other:
        assert one.nodes["b"].ipv4 == other.nodes["b"].ipv4
        one.break_line("a-line", loss=1.0)
        assert ping(one, "a", str(one.nodes["b"].ipv4))[0] == 0
        assert ping(other, "a", str(other.nodes["b"].ipv4))[0] == 5
        one.close()
        assert ping(other, "a", str(other.nodes["b"].ipv4))[0] == 5
        assert root_devices() == before
    assert namespaces_of("one-lab") == namespaces_of("one-lab-more") == []


def left(name: str) -> tuple[list[str], list[int], bool]:
    folder = Path("/run/garage-lab") / name
    return namespaces_of(name), processes.forwarders(folder), folder.exists()


def test_a_world_whose_process_was_killed_is_removed_by_the_next() -> None:
    code = f"""
        import time
        from netd.lab.parse import parse
        from netd.lab.world import World
        world = World(parse({SMALL!r}))
        world.build()
        world.popen("a", ["sleep", "600"])
        print(world.name, flush=True)
        time.sleep(60)
    """
    builder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert builder.stdout is not None
    name = builder.stdout.readline().strip()
    spaces, pids, folder = left(name)
    assert (len(spaces), len(pids), folder) == (3, 1, True)
    builder.kill()
    builder.wait()
    inside = processes.inside(spaces)
    assert len(inside) == 2, "the forwarder and what was started in a node"
    assert name in remove_abandoned()
    assert left(name) == ([], [], False)
    assert not any(map(started, inside))


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "netd.lab.cli", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


@pytest.mark.parametrize("sign", ["topology.json", "far-line.json", "slow-line.pid", "quick-line.sock"])
def test_down_after_the_builder_was_killed(tmp_path: Path, sign: str) -> None:
    name = f"kill-{os.getpid()}"
    (tmp_path / "t.yaml").write_text(TOPOLOGY)
    argv = [sys.executable, "-m", "netd.lab.cli", "up", str(tmp_path / "t.yaml"), "--bare", "--name", name]
    builder = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (Path("/run/garage-lab") / name / sign).exists():
        assert time.monotonic() < deadline
    builder.kill()
    builder.wait()
    assert f"netd lab down {name}" in command("status", name).stdout
    assert command("down", name).stdout == f"lab {name} is down\n"
    time.sleep(0.2)
    assert left(name) == ([], [], False)


def test_up_mends_what_a_killed_builder_left(tmp_path: Path) -> None:
    name = f"mend-{os.getpid()}"
    world = World(parse(SMALL), name=name, keep=True)
    try:
        assert world.build()
        world.state.write(ready=False)
        assert world.build(), "built anew"
        assert ping(world, "a")[0] == 5
        assert not world.build(), "it is up"
    finally:
        world.close()
    assert left(name) == ([], [], False)


def test_the_command_line(tmp_path: Path) -> None:
    name = f"cli-{os.getpid()}"
    file = tmp_path / "t.yaml"
    file.write_text(SMALL)
    try:
        assert "is up: 2 nodes, 2 lines" in command("up", str(file), "--bare", "--name", name).stdout
        inodes = [(processes.NETNS / place).stat().st_ino for place in namespaces_of(name)]
        again = command("up", str(file), "--bare", "--name", name)
        assert (again.returncode, "is up already" in again.stdout) == (0, True)
        assert inodes == [(processes.NETNS / place).stat().st_ino for place in namespaces_of(name)]
        assert "5 received" in command("exec", "--lab", name, "a", "--", "ping", "-c5", "-i0.2", "203.0.113.10").stdout
        assert command("exec", "--lab", name, "a", "--", "sh", "-c", "exit 7").returncode == 7
        assert command("break", "--lab", name, "a-line").stdout == "a-line: cut\n"
        assert "0 received" in command("exec", "--lab", name, "a", "--", "ping", "-c1", "-W1", "203.0.113.10").stdout
        shown = json.loads(command("status", name, "-o", "json").stdout)["items"][0]
        lines = {line["name"]: line for line in shown["lines"]}
        assert (lines["a-line"]["broken"], lines["b-line"]["broken"]) == ({"loss": 1.0}, {})
        assert lines["a-line"]["packets"]["out"]["lost"] > 0
        assert [node["lines"][0]["ipv4"] for node in shown["nodes"]] == ["203.0.113.6", "203.0.113.10"]
        assert re.search(r"a-line +a +cut +- +- +broken", command("status", name).stdout)
        assert "1ms" in command("heal", "--lab", name, "a-line").stdout
        wrong = command("break", "--lab", name, "c-line")
        assert (wrong.returncode, "its lines: a-line, b-line" in wrong.stderr) == (50, True)
        assert "its nodes: a, b" in command("exec", "--lab", name, "c", "--", "true").stderr
    finally:
        remove(name)
    assert left(name) == ([], [], False)
    assert name not in labs()


def test_five_sites_are_up_in_a_few_seconds() -> None:
    sites = ", ".join(f"s{n}: {{lines: {{l{n}: {{delay: 5ms, nat: cone}}}}}}" for n in range(5))
    began = time.monotonic()
    with World(parse(f"name: five\nsites: {{{sites}}}")) as world:
        up = time.monotonic() - began
        assert ping(world, "s4")[0] == 5
    print(f"up in {up:.2f} s")
    assert up < 15
