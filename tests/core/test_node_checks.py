"""What is found wrong with a server, by what it says of itself; nonsense counts as the worst."""

from __future__ import annotations

from itertools import pairwise

import pytest

from garage.core.node_checks import Wish, findings, parse
from garage.core.node_steps import STEPS, percent

WISH = Wish("x86_64", "tst", "a" * 32, "c" * 64, "https://garage.example:8443")
GOOD = {
    "uid": "0", "system": "debian-12", "system_name": "Debian GNU/Linux 12 (bookworm)", "arch": "x86_64", "kernel": "6.1.0-18-amd64",
    "vcpus": "8", "memory_mib": "32000", "disk_free_mib": "400000", "disk_total_mib": "500000", "flag": "yes", "kvm": "yes",
    "tun": "yes", "machine_id": "b" * 32, "reaches": "yes",
}  # fmt: skip


def found(clock_off: float = 0.1, **other: str) -> list[tuple[str, str]]:
    text = "".join(f"{key}={value}\n" for key, value in (GOOD | other).items())
    return [(one.level, one.what) for one in findings(parse(text, clock_off), WISH)]


def test_a_good_server_has_nothing_wrong_with_it() -> None:
    assert found() == []
    assert found(instance="tst", authority="c" * 64) == [], "it is this garage's already"


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"uid": "1000"}, ("error", "root")),
        ({"garage": "yes"}, ("error", "garage")),
        ({"machine_id": "a" * 32}, ("error", "machine_id")),
        ({"machine_id": ""}, ("error", "machine_id")),
        ({"instance": "xyz"}, ("error", "led")),
        ({"authority": "d" * 64}, ("error", "authority")),
        ({"system": "debian-11"}, ("error", "system")),
        ({"arch": "aarch64"}, ("error", "arch")),
        ({"kernel": "5.4.0"}, ("error", "kernel")),
        ({"kernel": "nonsense"}, ("error", "kernel")),
        ({"kernel": "5.10.0"}, None),
        ({"tun": "no"}, ("error", "tun")),
        ({"vcpus": "-1"}, ("error", "cpu")),
        ({"memory_mib": "2047"}, ("error", "memory")),
        ({"memory_mib": "4096"}, ("warning", "memory")),
        ({"memory_mib": "9" * 30}, ("error", "memory")),
        ({"disk_free_mib": "1000"}, ("error", "disk")),
        ({"disk_free_mib": "20000"}, ("warning", "disk")),
        ({"flag": "no"}, ("warning", "kvm")),
        ({"kvm": "no"}, ("warning", "kvm")),
        ({"reaches": "no"}, ("error", "controller")),
    ],
)
def test_each_fault_has_its_name(said: dict[str, str], wrong: tuple[str, str] | None) -> None:
    assert found(**said) == ([wrong] if wrong else [])


def test_a_clock_is_wrong_in_both_directions() -> None:
    assert [found(off) for off in (1.9, -1.9)] == [[], []]
    assert [found(off) for off in (2.1, -29.0)] == [[("warning", "clock")]] * 2
    assert [found(off) for off in (31.0, -1e9)] == [[("error", "clock")]] * 2


def test_errors_come_first_and_every_one_says_how_to_mend_it() -> None:
    faults = findings(parse("", 100.0), WISH)
    levels = [one.level for one in faults]
    assert levels == sorted(levels)
    assert {"root", "system", "kernel", "memory", "disk", "clock", "controller", "machine_id"} <= {
        one.what for one in faults
    }
    assert all(one.hint and "<" not in one.message for one in faults)


def test_what_a_hostile_server_says_is_bounded_and_plain() -> None:
    server = parse("system_name=\x1b[31m" + "x" * 1000 + "\n" + "junk=1\n" * 100_000 + "uid=0\n", 0.0)
    assert len(server.system_name) <= 201
    assert "\x1b" not in server.system_name
    assert server.uid == 1, "lines beyond the bound are not read"


def test_the_steps_follow_one_another_up_to_the_end() -> None:
    edges = list(STEPS.values())
    assert edges[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert [percent(step, share) for step in STEPS for share in (0.0, 2.0)] == [edge for pair in edges for edge in pair]
