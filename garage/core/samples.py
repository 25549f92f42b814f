"""Measurements of an hour in 300 bytes: 60 samples of RTT and jitter (0.1 ms), and loss (1/254). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SHAPE = struct.Struct("<HHB")
PER_HOUR = 60
EMPTY = b"\xff" * (SHAPE.size * PER_HOUR)
NO_TIME, NO_LOSS = 0xFFFF, 0xFF


@dataclass(frozen=True, slots=True)
class Sample:
    """One minute; None where nothing was measured. Times in ms, up to 6553.4; loss from 0 to 1."""

    rtt_ms: float | None = None
    jitter_ms: float | None = None
    loss: float | None = None


def put(hour: bytes, minute: int, sample: Sample) -> bytes:
    """`hour` with this minute's sample, replacing an earlier one."""
    packed = SHAPE.pack(
        _time(sample.rtt_ms), _time(sample.jitter_ms), NO_LOSS if sample.loss is None else round(sample.loss * 254)
    )
    place = minute * SHAPE.size
    return hour[:place] + packed + hour[place + SHAPE.size :]


def _time(value: float | None) -> int:
    return NO_TIME if value is None else min(round(value * 10), NO_TIME - 1)


def read(hour: bytes) -> list[Sample]:
    """The 60 minutes in order."""
    return [
        Sample(
            None if rtt == NO_TIME else rtt / 10,
            None if jitter == NO_TIME else jitter / 10,
            None if loss == NO_LOSS else round(loss / 254, 3),
        )
        for rtt, jitter, loss in SHAPE.iter_unpack(hour)
    ]
