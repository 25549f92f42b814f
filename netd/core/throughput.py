"""Measuring throughput by iperf3: what is run at either end of a link, and what its JSON says; pure."""

from __future__ import annotations

import msgspec

from netd.wire import Link, Order, Outcome

PORT = 5259
"""Ours, so that an operator's own iperf3 (5201) neither is in the way nor can be reached. Never the registry's to choose: it is opened."""
START_SECONDS = 12.0
"""How long either end waits for the other one: specs arrive within a second, a round of tending is another."""
SLACK_SECONDS = 8
"""Beyond what is sent: connecting, the exchange of results, a line that holds seconds of packets in its queue."""
LIMIT_SHARE = 2
"""The server end ends a measurement that carries so many times more than was allowed: TCP's bursts are short of that."""
CONNECT_MS = 1500
LONGEST = START_SECONDS + 5 + SLACK_SECONDS
"""Seconds of the longest run of a server end."""
NICE = "19"


class Failed(Exception):
    """iperf3 did not measure; the text is its own."""

    @property
    def early(self) -> bool:
        """The other end does not listen yet, or is not done with the run before."""
        return any(word in str(self) for word in ("unable to connect", "server is busy", "refused", "timed out"))


class _Sum(msgspec.Struct):
    bits_per_second: float = 0.0
    retransmits: int = 0


class _End(msgspec.Struct):
    sum_sent: _Sum | None = None
    sum_received: _Sum | None = None


class _Result(msgspec.Struct):
    """As much of iperf3's JSON as is read."""

    end: _End = msgspec.field(default_factory=_End)
    error: str = ""


def limit(order: Order) -> int:
    """Seconds after which `timeout` ends a run of either end, whatever happens to netd."""
    return order.seconds + SLACK_SECONDS


def window(order: Order) -> float:
    """Seconds from an order's begin to the end of both directions, all told."""
    return 2 * (START_SECONDS + limit(order))


def server_argv(order: Order, link: Link) -> list[str]:
    """Serve one run, waiting `START_SECONDS` for it; the peer's wish for speed is not believed."""
    argv = ["iperf3", "-s", "-1", "-J", "-4", "-B", link.ipv4, "-p", str(PORT)]
    argv += ["--server-bitrate-limit", f"{order.mbit * LIMIT_SHARE}M"]
    return _bounded(argv, round(START_SECONDS) + limit(order))


def client_argv(order: Order, link: Link, *, reverse: bool) -> list[str]:
    """Send for so many seconds, or with `reverse` have the peer send."""
    argv = ["iperf3", "-c", link.peer_ipv4, "-J", "-i", "0", "-4", "-B", link.ipv4, "-p", str(PORT)]
    argv += ["-t", str(order.seconds), "-b", f"{order.mbit}M", "--connect-timeout", str(CONNECT_MS)]
    return _bounded(argv + (["-R"] if reverse else []), limit(order))


def _bounded(argv: list[str], seconds: int) -> list[str]:
    return ["nice", "-n", NICE, "timeout", "-k", "1", str(seconds), *argv]


def parse(text: str) -> tuple[float, int]:
    """(bits per second at the receiver, retransmits of the sender) of one run; raises Failed."""
    result = _read(text)
    if result.error:
        raise Failed(result.error.removeprefix("error - ")[:150])
    sent, received = result.end.sum_sent, result.end.sum_received
    if received is None or received.bits_per_second <= 0:
        raise Failed("nothing arrived")
    return received.bits_per_second, sent.retransmits if sent else 0


def check(text: str) -> None:
    """Whether a server end has served its run; raises Failed."""
    if error := _read(text).error:
        raise Failed(error.removeprefix("error - ")[:150])


def _read(text: str) -> _Result:
    if not text.strip():
        raise Failed("iperf3 was ended before it was done")
    try:
        return msgspec.json.decode(text, type=_Result)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Failed(f"iperf3's answer cannot be read: {error}"[:150]) from None


def outcome(order: Order, sent: tuple[float, int], received: tuple[float, int]) -> Outcome:
    return Outcome(
        id=order.id,
        sent_bps=round(sent[0]),
        sent_retransmits=sent[1],
        received_bps=round(received[0]),
        received_retransmits=received[1],
    )


def failed(order: Order, reason: str) -> Outcome:
    return Outcome(id=order.id, error=reason[:200] or "unknown")


def late(order: Order, now: float) -> str:
    """Why an order cannot be begun any more; "" when it can."""
    if now < order.not_after:
        return ""
    return "the order came too late, or this node's clock is wrong"


def link_of(order: Order, links: tuple[Link, ...]) -> Link | None:
    return next((link for link in links if link.number == order.link), None)
