"""What tc is told to keep a line's queue: devices in order, exact ports, control first."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from netd.core.shaping import CONTROL, SHARES, Shape, blocks, jobs, priority_rules, queue_name

SHAPE = Shape(queue_name("abc", 0), "eth1", 20, ("glabc1", "glabc2"), range(51820, 51920), ("198.51.100.0/28",))


@given(st.integers(0, 65_000), st.integers(0, 500))
def test_blocks_match_exactly_the_ports(first: int, count: int) -> None:
    matched = [
        port for start, mask in blocks(range(first, first + count)) for port in range(start, start + 0x1_0000 - mask)
    ]
    assert matched == list(range(first, first + count))
    assert all(start & mask == start for start, mask in blocks(range(first, first + count)))


def test_nothing_is_redirected_to_a_queue_that_is_not_there_yet() -> None:
    found = jobs([SHAPE, replace(SHAPE, queue="gsabc1", device="eth2", links=("glabc3",))], "bfifo")
    kinds = [job.kind for job in found]
    assert kinds == sorted(kinds, reverse=True), "queues first"
    made = [job.device for job in found if job.kind == "queue"]
    assert made == ["gsabc0", "gsabc1"]
    targets = {re.findall(r"redirect dev (\S+)", line)[0] for job in found for line in job.lines if "redirect" in line}
    assert targets == set(made)


def test_encrypted_packets_and_what_is_near_pass_and_all_else_is_queued() -> None:
    uplink = jobs([SHAPE], "bfifo")[-1]
    assert uplink.device == "eth1"
    for family in ("ip", "ipv6"):
        lines = [line for line in uplink.lines if f"protocol {family} " in line]
        assert ["redirect" in line for line in lines] == [False] * (len(lines) - 1) + [True]
    text = "\n".join(uplink.lines)
    assert "sport 51820 0xfffc" in text
    for near in ("192.168.0.0/16", "198.51.100.0/28", "fe80::/10"):
        assert f"dst {near}" in text


def test_the_classes_fit_in_a_little_less_than_the_line() -> None:
    queue = jobs([SHAPE], "bfifo")[0]
    rates = {
        minor: (int(rate), int(ceil))
        for minor, rate, ceil in re.findall(
            r"classid 6c61:(\w+) htb rate (\d+)bit ceil (\d+)bit", "\n".join(queue.lines)
        )
    }
    assert rates.pop("1") == (19_000_000, 19_000_000)
    assert sum(rate for rate, _ in rates.values()) <= 19_000_000
    assert all(ceil <= 19_000_000 for _, ceil in rates.values())
    assert set(rates) == {f"{minor:x}" for minor in SHARES}
    assert f"classid {CONTROL >> 16:x}:{CONTROL & 0xFFFF:x} htb" in "\n".join(queue.lines)


def test_a_better_queue_is_for_bulk_alone() -> None:
    plain, better = (jobs([SHAPE], leaf)[0].lines for leaf in ("bfifo", "fq_codel"))
    assert [line.split()[-1] for line in better if line.startswith("qdisc") and "root" not in line][1:] == [
        "fq_codel"
    ] * 2
    assert sum("bfifo" in line for line in better) == 1
    assert sum("bfifo" in line for line in plain) == 3


def test_equal_wishes_have_equal_digests_and_others_other_ones() -> None:
    assert [job.digest for job in jobs([SHAPE], "bfifo")] == [job.digest for job in jobs([SHAPE], "bfifo")]
    before, after = jobs([SHAPE], "bfifo"), jobs([replace(SHAPE, mbit=30)], "bfifo")
    assert [a.digest == b.digest for a, b in zip(before, after, strict=True)] == [False, True, True, True]


def test_a_measurement_of_throughput_does_not_go_first() -> None:
    lines = priority_rules("glabc*").splitlines()
    assert [line for line in lines if "peers" in line][-1] == lines[2]
    assert all(line.endswith("6c61:20") and "tcp" in line for line in lines[3:])
