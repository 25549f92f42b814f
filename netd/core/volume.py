"""What a site's lines have carried for the overlay in a month, and what follows from a cap; pure. Bytes; months are UTC's, "2026-11".

Counters belong to an interface and begin anew with it, so each is kept with what tells one interface from the next of the same name.
A month's end is taken from the server's clock, but not from one that has just jumped: `believe` says how long it is doubted.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

GIB = 1 << 30
WARN, SPARE, STOP = 0.80, 0.95, 1.0
"""Shares of the cap from which on it is told, from which on others should go other ways, and from which on nothing passes."""
JUMP = 600.0
"""Seconds by which a clock may differ from what was expected, before it is doubted."""
BELIEVED_AFTER = 3600.0
"""Seconds after which a clock that has jumped and goes on steadily is believed after all."""
MONTHS = 13
"""How many are remembered of a line."""
OVERHEAD = {4: 60, 6: 80}
"""Bytes that a packet grows by on the line: IPv4 (20) or IPv6 (40), UDP (8), WireGuard (32: its paper, section 5.4.6). Handshakes and
keepalives (5 MB a month and link) are not counted."""

Level = Literal["", "warn", "spare", "stop"]


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an interface's counters said last. `of` tells it from the next interface of that name (boot and index)."""

    of: str
    octets: int
    packets: int


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. `used`: line → month → bytes."""

    at: float
    """Believed time of the last entry, seconds since 1970."""
    used: dict[str, dict[str, int]] = {}
    marks: dict[str, Mark] = {}

    def of(self, line: str, month: str) -> int:
        return self.used.get(line, {}).get(month, 0)


@dataclass(frozen=True, slots=True)
class Reading:
    """An interface's counters now, both directions together, as they are inside the tunnel. `line`: the name of the one that carries
    it, None for none; `version`: of IP on that line."""

    of: str
    octets: int
    packets: int
    line: str | None
    version: int = 4


@dataclass(frozen=True, slots=True)
class Clock:
    """What the server's clock is believed to say. Offsets: seconds since 1970 less `steady`, a clock that never jumps."""

    offset: float
    doubted: float | None = None
    """Another offset that the clock has by now."""
    since: float = 0.0
    """When it came to be seen, on the steady clock."""

    def now(self, steady: float) -> float:
        return self.offset + steady


def begin(wall: float, steady: float, last: float) -> Clock:
    """After a start. `last`: of the ledger, 0.0 without one. A clock that is behind it is doubted: a server without a battery."""
    if wall >= last - JUMP:
        return Clock(wall - steady)
    return Clock(last - steady, wall - steady, steady)


def believe(clock: Clock, wall: float, steady: float) -> Clock:
    """After a look at both clocks; call it at least every few minutes. A jump is believed when it has held for `BELIEVED_AFTER`."""
    offset = wall - steady
    if abs(offset - clock.offset) <= JUMP:
        return Clock(offset)
    if clock.doubted is None or abs(offset - clock.doubted) > JUMP:
        return replace(clock, doubted=offset, since=steady)
    return Clock(offset) if steady - clock.since >= BELIEVED_AFTER else clock


def month(now: float) -> str:
    return time.strftime("%Y-%m", time.gmtime(max(0.0, now)))


def next_month(now: float) -> str:
    """Its first day, "2026-12-01"."""
    year, number = map(int, month(now).split("-"))
    return f"{year + number // 12:04}-{number % 12 + 1:02}-01"


def enter(ledger: Ledger, readings: Mapping[str, Reading], now: float, present: Collection[str] = ()) -> Ledger:
    """The ledger with what interfaces (by name) have carried since their marks, put to the month of `now`.

    An interface that is new, or that bears another one's name, has carried all its counters say. A ledger without any entry begins
    here: what was carried before nobody knows. A line that is None counts nothing, but its mark goes on, so that what it carried
    is not put to a line later. Marks of `present` interfaces stay, read or not.
    """
    used = {line: dict(months) for line, months in ledger.used.items()}
    first = not ledger.at
    for name, reading in readings.items():
        grown = 0 if first else _grown(ledger.marks.get(name), reading)
        if reading.line is not None and grown:
            months = used.setdefault(reading.line, {})
            months[month(now)] = months.get(month(now), 0) + grown
    marks = {name: mark for name, mark in ledger.marks.items() if name in present}
    marks |= {name: Mark(of=row.of, octets=row.octets, packets=row.packets) for name, row in readings.items()}
    return Ledger(at=now, used={line: _newest(months) for line, months in used.items()}, marks=marks)


def _grown(mark: Mark | None, reading: Reading) -> int:
    """Bytes on the line since the mark."""
    anew = mark is None or mark.of != reading.of or reading.octets < mark.octets or reading.packets < mark.packets
    octets, packets = (0, 0) if mark is None or anew else (mark.octets, mark.packets)
    return reading.octets - octets + (reading.packets - packets) * OVERHEAD[reading.version]


def _newest(months: Mapping[str, int]) -> dict[str, int]:
    return {name: months[name] for name in sorted(months)[-MONTHS:]}


def level(used: int, cap: int) -> Level:
    """`cap` in bytes; 0: none."""
    share = used / cap if cap else 0.0
    return "stop" if share >= STOP else "spare" if share >= SPARE else "warn" if share >= WARN else ""


def told(line: str, used: int, cap: int, now: float) -> str:
    """What an operator reads of a line; "" while there is nothing to say."""
    amount = f"line {line}: {used / GIB:.1f} of {cap / GIB:g} GiB are used in {month(now)}"
    return {
        "": "",
        "warn": amount,
        "spare": f"{amount}; other sites are asked to go other ways",
        "stop": f"{amount}; other sites' traffic is stopped until {next_month(now)} or a higher volume_gib",
    }[level(used, cap)]
