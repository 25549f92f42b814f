"""ICMP echo requests and replies as bytes; pure."""

from __future__ import annotations

import struct

REQUEST4, REPLY4, REQUEST6, REPLY6 = 8, 0, 128, 129
"""Types (RFC 792; RFC 4443, section 4)."""
HEADER = 8


def request4(identifier: int, sequence: int, body: bytes) -> bytes:
    """With its checksum (RFC 1071); without the IP header."""
    message = struct.pack("!HH", identifier, sequence) + body
    words = message + bytes(len(message) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words)) + (REQUEST4 << 8)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBH", REQUEST4, 0, ~total & 0xFFFF) + message


def request6(identifier: int, sequence: int, body: bytes) -> bytes:
    """Its checksum is the kernel's work (RFC 3542, section 3.1)."""
    return struct.pack("!BBHHH", REQUEST6, 0, 0, identifier, sequence) + body


def replied4(packet: bytes, identifier: int) -> tuple[int, bytes] | None:
    """(sequence number, body) of an echo reply to us in an IPv4 packet; None for anything else."""
    start = (packet[0] & 15) * 4 if packet else 0
    return _replied(packet[start:], identifier, REPLY4)


def replied6(message: bytes, identifier: int) -> tuple[int, bytes] | None:
    """The same of an ICMPv6 message."""
    return _replied(message, identifier, REPLY6)


def _replied(message: bytes, identifier: int, kind: int) -> tuple[int, bytes] | None:
    if len(message) < HEADER or message[0] != kind:
        return None
    found, sequence = struct.unpack("!HH", message[4:HEADER])
    return (sequence, message[HEADER:]) if found == identifier else None
