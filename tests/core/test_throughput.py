"""netd's side of measuring: what is run, what is read, what is opened, when nothing is done; its own series."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.core import throughput
from netd.core.desired import Desired
from netd.core.floor import Floor
from netd.core.metrics_text import render
from netd.core.nft_overlay import from_links_here
from netd.core.overlay import make_overlay
from netd.core.throughput import Failed
from netd.core.wanted import Wanted
from netd.measuring import Throughput
from netd.metrics import Metrics
from netd.wire import Allotment, Link, LinkReport, LinkSpec, LinkState, Order, Outcome, Table
from tests.kernel.conftest import spec as node_spec

KEY = "A" * 43 + "="
LINK = Link(
    number=17,
    peer_site="tsukuba",
    peer_node="one",
    peer_asn=4_200_000_001,
    ipv4="100.64.0.1",
    peer_ipv4="100.64.0.0",
    ipv6="fd01::1",
    peer_ipv6="fd01::",
    own_key=1,
    peer_key=KEY,
    psk=KEY,
    port=51_820,
)
OTHER = msgspec.structs.replace(LINK, number=18, ipv4="100.64.0.3", peer_ipv4="100.64.0.2", port=51_821)
ORDER = Order(id="m1", link=17, role="client", seconds=3, mbit=50, not_after=2000.0)
SERVE = msgspec.structs.replace(ORDER, role="server")
TABLE = Table(
    version=1,
    domain="garage.internal",
    sites=(
        Allotment(
            site="nagoya", asn=4_200_000_000, ipv4="10.1.0.0/20", ipv6="fd11::/48", dns4="10.1.0.1", dns6="fd11::1"
        ),
    ),
)


def links(order: Order | None = None) -> LinkSpec:
    return LinkSpec(site="nagoya", node="two", version=5, asn=4_200_000_000, links=(LINK, OTHER), order=order)


def wanted(order: Order | None = None) -> Wanted:
    return Wanted("tst", links(order), TABLE, "10.1.0.1", "fd11::1", "gbtst", {})


def result(sent: float = 2e7, received: float = 1.9e7, retransmits: int = 4, **more: Any) -> str:
    sums = {
        "sum_sent": {"bits_per_second": sent, "retransmits": retransmits},
        "sum_received": {"bits_per_second": received},
    }
    return json.dumps({"start": {"version": "iperf 3.12"}, "end": sums | {"cpu_utilization_percent": {}}, **more})


def test_what_arrived_counts_and_what_was_sent_again() -> None:
    assert throughput.parse(result()) == (1.9e7, 4)


@pytest.mark.parametrize(
    ("text", "words", "early"),
    [
        ("", "ended before", False),
        ("iperf3: command not found", "cannot be read", False),
        (result(received=0), "nothing arrived", False),
        ('{"end": {}}', "nothing arrived", False),
        ('{"end": {}, "error": "error - unable to connect to server: Connection refused"}', "refused", True),
        ('{"end": {}, "error": "error - the server is busy running a test. try again later"}', "busy", True),
        ('{"end": {}, "error": "total required bandwidth is larger than server limit"}', "larger", False),
    ],
)
def test_what_is_no_measurement_is_said_in_its_words(text: str, words: str, early: bool) -> None:
    with pytest.raises(Failed, match=words) as caught:
        throughput.parse(text)
    assert caught.value.early == early


def test_both_ends_are_niced_bounded_in_time_and_bound_to_the_link() -> None:
    for argv, own in (
        (throughput.server_argv(SERVE, LINK), "100.64.0.1"),
        (throughput.client_argv(ORDER, LINK, reverse=True), "100.64.0.1"),
    ):
        assert argv[:3] == ["nice", "-n", "19"]
        assert argv[3:6] == ["timeout", "-k", "1"]
        assert 3 < int(argv[6]) < throughput.window(ORDER)
        assert int(argv[6]) <= throughput.LONGEST
        assert argv[argv.index("-B") + 1] == own
    client = throughput.client_argv(ORDER, LINK, reverse=False)
    assert (client[client.index("-t") + 1], client[client.index("-b") + 1]) == ("3", "50M")
    assert "-R" not in client
    assert "--server-bitrate-limit" in throughput.server_argv(SERVE, LINK)


def rules(order: Order | None, now: float) -> str:
    floor = Floor(networks=())
    overlay = make_overlay("tst", links(order), TABLE, floor, (), now=now)
    return from_links_here(Desired(node_spec(1), floor, overlay))


def test_one_port_is_open_for_one_peer_while_there_is_an_order_to_serve() -> None:
    assert str(throughput.PORT) not in rules(None, 1000.0) + rules(ORDER, 1000.0) + rules(SERVE, 2000.0)
    text = rules(SERVE, 1999.0)
    assert text.count(str(throughput.PORT)) == 1
    assert f'iifname "gltsth" ip saddr 100.64.0.0 ip daddr 100.64.0.1 tcp dport {throughput.PORT} accept' in text


class FakeEnds:
    """A line of 20 Mb/s up and 10 down, and what was asked of it."""

    def __init__(self, *fails: str) -> None:
        self.fails, self.asked = list(fails), list[str]()
        self.gate = threading.Event()
        self.gate.set()

    def serve(self, order: Order, link: Link) -> None:
        self._act(f"serve {link.number}")

    def ask(self, order: Order, link: Link, *, reverse: bool) -> tuple[float, int]:
        self._act(f"{'from' if reverse else 'to'} {link.number}")
        return (1e7, 1) if reverse else (2e7, 0)

    def _act(self, what: str) -> None:
        self.asked.append(what)
        assert self.gate.wait(10)
        if self.fails and (text := self.fails.pop(0)):
            raise Failed(text)


def until(true: Callable[[], object]) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < 20
        time.sleep(0.01)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "START_SECONDS", 0.5)


def measuring(folder: Path, ends: FakeEnds, now: float = 1000.0) -> Throughput:
    return Throughput(folder, ends, lambda: now)


def test_an_order_is_done_once_also_after_a_restart(tmp_path: Path) -> None:
    ends = FakeEnds()
    part = measuring(tmp_path, ends)
    part.follow(wanted(ORDER))
    until(part.outcome)
    done = Outcome(id="m1", sent_bps=2e7, received_bps=1e7, received_retransmits=1)
    assert part.outcome() == done
    part.follow(wanted(ORDER))
    again = measuring(tmp_path, ends)
    again.follow(wanted(ORDER))
    assert (again.busy, again.outcome(), ends.asked) == (False, done, ["to 17", "from 17"])
    again.follow(wanted(msgspec.structs.replace(ORDER, id="m2")))
    until(again.outcome)
    assert len(ends.asked) == 4


def test_a_netd_that_was_killed_meanwhile_says_so_and_does_not_measure_again(tmp_path: Path) -> None:
    ends = FakeEnds()
    ends.gate.clear()
    part = measuring(tmp_path, ends)
    part.follow(wanted(ORDER))
    until(lambda: ends.asked)
    assert part.outcome() is None
    after = measuring(tmp_path, FakeEnds())
    after.follow(wanted(ORDER))
    found = after.outcome()
    assert found is not None
    assert "ended while it measured" in found.error
    ends.gate.set()
    until(part.outcome)


def test_a_peer_that_does_not_listen_yet_is_asked_again(tmp_path: Path) -> None:
    ends = FakeEnds("unable to connect to server: Connection refused", "", "the server is busy")
    part = measuring(tmp_path, ends)
    part.follow(wanted(ORDER))
    until(part.outcome)
    assert part.outcome().error == ""  # type: ignore[union-attr]
    assert ends.asked == ["to 17", "to 17", "from 17", "from 17"]


@pytest.mark.usefixtures("short")
def test_a_peer_that_never_listens_ends_the_order_and_the_next_one_is_done(tmp_path: Path) -> None:
    ends = FakeEnds(*["unable to connect to server"] * 50)
    part = measuring(tmp_path, ends)
    part.follow(wanted(ORDER))
    until(part.outcome)
    assert "unable to connect" in part.outcome().error  # type: ignore[union-attr]
    ends.fails.clear()
    part.follow(wanted(msgspec.structs.replace(ORDER, id="m2")))
    until(lambda: (found := part.outcome()) and found.id == "m2")
    assert part.outcome().error == ""  # type: ignore[union-attr]


def test_an_order_that_is_withdrawn_is_not_tried_on(tmp_path: Path) -> None:
    ends = FakeEnds(*["unable to connect to server"] * 50)
    part = measuring(tmp_path, ends)
    part.follow(wanted(ORDER))
    part.follow(wanted(None))
    until(part.outcome)
    assert len(ends.asked) <= 2


def test_a_late_order_is_not_begun(tmp_path: Path) -> None:
    ends = FakeEnds()
    part = measuring(tmp_path, ends, now=2000.0)
    part.follow(wanted(ORDER))
    until(part.outcome)
    assert "clock" in part.outcome().error  # type: ignore[union-attr]
    assert ends.asked == []


def test_the_server_end_serves_both_runs_and_blocks_nobody(tmp_path: Path) -> None:
    ends = FakeEnds()
    ends.gate.clear()
    part = measuring(tmp_path, ends)
    began = time.monotonic()
    part.follow(wanted(SERVE))
    assert time.monotonic() - began < 5
    assert part.busy
    ends.gate.set()
    until(part.outcome)
    assert (ends.asked, part.outcome()) == (["serve 17"] * 2, Outcome(id="m1"))


SAID = LinkReport(
    applied_version=1_700_000_000_123,
    table_version=3,
    alarms=("site x announces 10.0.0.0/8, which is not its own",),
    links=(
        LinkState(
            number=17,
            state="up",
            preference=3,
            rtt_ms=12.5,
            jitter_ms=0.4,
            loss=0.0125,
            mtu=1420,
            received=10**13,
            sent=7,
        ),
        LinkState(number=18, state="waiting"),
    ),
)


def test_a_nodes_series_are_what_prometheus_likes(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.write(wanted(), SAID)
    text = metrics.path.read_text()
    assert metrics.path.stat().st_mode & 0o777 == 0o644
    labels = 'site="nagoya",node="two",link="17",peer_site="tsukuba",peer_node="one"'
    for line in (
        f"netd_link_up{{{labels}}} 1",
        f"netd_link_rtt_seconds{{{labels}}} 0.0125",
        f"netd_link_received_bytes_total{{{labels}}} 10000000000000",
        'netd_overlay_alarms{site="nagoya",node="two"} 1',
        'netd_overlay_spec_version{site="nagoya",node="two"} 1700000000123',
    ):
        assert line in text.splitlines()
    assert text.count("netd_link_rtt_seconds{") == 1, "what was not measured has no series"
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    metrics.remove()
    metrics.remove()
    assert not metrics.path.exists()


def test_without_links_there_is_no_empty_family() -> None:
    text = render(links(), LinkReport(applied_version=1, table_version=1), 5.0)
    assert "netd_link" not in text
