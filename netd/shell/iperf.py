"""iperf3, niced and under `timeout`: whatever happens to netd, it ends."""

from __future__ import annotations

import shutil

from netd.core import throughput
from netd.errors import NetdError
from netd.shell.run import run
from netd.wire import Link, Order

GRACE = 5.0
"""Seconds beyond `timeout`'s own, which ends first."""


def serve(order: Order, link: Link) -> None:
    """One run for the peer, if it comes within `START_SECONDS`; raises throughput.Failed."""
    throughput.check(_run(throughput.server_argv(order, link)))


def ask(order: Order, link: Link, *, reverse: bool) -> tuple[float, int]:
    """(bits per second, retransmits) of one run; raises throughput.Failed."""
    return throughput.parse(_run(throughput.client_argv(order, link, reverse=reverse)))


def _run(argv: list[str]) -> str:
    if shutil.which("iperf3") is None:
        raise throughput.Failed("iperf3 is not installed")
    try:
        return run(argv, check=False, timeout=throughput.LONGEST + GRACE)
    except NetdError as error:
        raise throughput.Failed(error.text[:150]) from None
