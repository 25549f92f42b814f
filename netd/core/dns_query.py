"""A question to a name server and the code of its answer (RFC 1035), as much as `netd doctor` asks; pure."""

from __future__ import annotations

import struct

A, IN = 1, 1
RECURSE = 0x0100
RESPONSE = 0x8000


def query(number: int, name: str) -> bytes:
    """For the IPv4 address of `name`; `number`: 16 bits that are drawn for it."""
    labels = b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.rstrip(".").split("."))
    return struct.pack("!6H", number, RECURSE, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, A, IN)


def rcode(answer: bytes) -> tuple[int, int] | None:
    """(number of the question, response code); None for what is no answer. 0: well, 3: no such name, 5: refused."""
    if len(answer) < 12:
        return None
    number, flags = struct.unpack("!HH", answer[:4])
    return (number, flags & 0xF) if flags & RESPONSE else None
