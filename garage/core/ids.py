"""Identifiers: time-ordered, so that the newest is also the last in an index."""

from __future__ import annotations


def make_id(now: float, random_bits: int) -> str:
    """20 hexadecimal digits: 48 bits of milliseconds since 1970, then 32 random bits (the idea of UUID version 7, RFC 9562)."""
    return f"{int(now * 1000) & (1 << 48) - 1:012x}{random_bits & 0xFFFFFFFF:08x}"
