"""“Where do you see me?” over UDP: the Binding method of STUN (RFC 8489), as much of it as tells what stands before a node; pure.

An answer is never larger than its question, so that nobody who asks in another's name makes more traffic than is made anyway.
"""

from __future__ import annotations

import ipaddress
import struct

COOKIE = 0x2112A442
REQUEST, SUCCESS = 0x0001, 0x0101
XOR_MAPPED_ADDRESS, SOFTWARE = 0x0020, 0x8022
HEADER = 20
SMALLEST = 64
"""Bytes of a question; an answer has 32 (IPv4) or 44 (IPv6)."""
LARGEST = 65_000
MOST_TEXT = 760
"""Bytes of one SOFTWARE attribute (section 14.14: at most 763), which is what a question is filled up with."""


def request(transaction: bytes, size: int = SMALLEST) -> bytes:
    """A question of `size` bytes, a multiple of 4; `transaction`: 12 bytes that are drawn for it."""
    filling = b""
    while (left := size - HEADER - len(filling)) > 0:
        text = min(MOST_TEXT, left - 4)
        text -= 4 if left - 4 - text in range(1, 4) else 0
        filling += struct.pack("!HH", SOFTWARE, text) + b" " * text
    return struct.pack("!HHI", REQUEST, len(filling), COOKIE) + transaction + filling


def answer(asked: bytes, address: str, port: int) -> bytes | None:
    """What a server says to whom it sees at `address` and `port`; None to what is no question."""
    if len(asked) < SMALLEST or len(asked) % 4:
        return None
    kind, length, cookie = struct.unpack("!HHI", asked[:8])
    if (kind, length, cookie) != (REQUEST, len(asked) - HEADER, COOKIE):
        return None
    seen = ipaddress.ip_address(address)
    seen = getattr(seen, "ipv4_mapped", None) or seen
    hidden = bytes(a ^ b for a, b in zip(seen.packed, _mask(asked[8:HEADER]), strict=False))
    value = struct.pack("!BBH", 0, 1 if seen.version == 4 else 2, port ^ (COOKIE >> 16)) + hidden
    body = struct.pack("!HH", XOR_MAPPED_ADDRESS, len(value)) + value
    return struct.pack("!HHI", SUCCESS, len(body), COOKIE) + asked[8:HEADER] + body


def mapped(answered: bytes, transaction: bytes) -> tuple[str, int] | None:
    """(address, port) that an answer to `transaction` tells; None for anything else."""
    if len(answered) < HEADER or answered[8:HEADER] != transaction:
        return None
    kind, length, cookie = struct.unpack("!HHI", answered[:8])
    if (kind, length, cookie) != (SUCCESS, len(answered) - HEADER, COOKIE):
        return None
    rest = answered[HEADER:]
    while len(rest) >= 4:
        name, size = struct.unpack("!HH", rest[:4])
        if name == XOR_MAPPED_ADDRESS:
            return _address(rest[4 : 4 + size], transaction)
        rest = rest[4 + (size + 3) // 4 * 4 :]
    return None


def _address(value: bytes, transaction: bytes) -> tuple[str, int] | None:
    if len(value) not in (8, 20) or value[1] != (1 if len(value) == 8 else 2):
        return None
    plain = bytes(a ^ b for a, b in zip(value[4:], _mask(transaction), strict=False))
    return str(ipaddress.ip_address(plain)), int(struct.unpack("!H", value[2:4])[0]) ^ (COOKIE >> 16)


def _mask(transaction: bytes) -> bytes:
    return struct.pack("!I", COOKIE) + transaction
