"""All looks of `netd doctor` at once: one that hangs or breaks spoils none of the others."""

from __future__ import annotations

import threading
import time
from pathlib import Path as FilePath

from netd.doctor import Findings, Subject, judge, look
from tests.verdicts import by_check


def test_a_look_that_hangs_is_told_and_left_behind() -> None:
    stop = threading.Event()
    began = time.monotonic()
    try:
        found = look({"names": stop.wait, "disk": lambda: 3, "ports": lambda: 1 // len("")}, 0.3)
    finally:
        stop.set()
    assert time.monotonic() - began < 5
    assert (found.values, sorted(found.troubles)) == ({"disk": 3}, ["names", "ports"])


def test_looks_that_came_to_nothing_are_told() -> None:
    subject = Subject(FilePath("/nowhere"), "https://192.0.2.1:8443", 51_820, 100)
    found = by_check(judge(subject, Findings({}, {"registry": "took too long", "disk": "gone"}), 0.0))
    assert {name: verdict.level for name, verdict in found.items()} == {"registry": "fail", "look disk": "warn"}
