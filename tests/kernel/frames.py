"""Raw Ethernet frames, as a guest with root could send them."""

from __future__ import annotations

import ipaddress
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac(text: str) -> bytes:
    return bytes(int(part, 16) for part in text.split(":"))


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp4(source: str, target: str, sport: int, dport: int, payload: bytes) -> bytes:
    """An IPv4 packet with UDP, checksum 0 (allowed by RFC 768)."""
    length = 28 + len(payload)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(target).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, 17, 0) + addresses
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ipv6(source: str, target: str, proto: int, payload: bytes) -> bytes:
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    return struct.pack("!IHBB", 0x60000000, len(payload), proto, 255) + addresses + payload


def udp6(source: str, target: str, sport: int, dport: int, payload: bytes) -> bytes:
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return ipv6(source, target, 17, _with_sum(source, target, 17, body, 6))


def icmp6(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return ipv6(source, target, 58, _with_sum(source, target, 58, struct.pack("!BBH", kind, 0, 0) + payload, 2))


def _with_sum(source: str, target: str, proto: int, body: bytes, at: int) -> bytes:
    pseudo = (
        ipaddress.IPv6Address(source).packed
        + ipaddress.IPv6Address(target).packed
        + struct.pack("!II", len(body), proto)
    )
    return body[:at] + struct.pack("!H", checksum(pseudo + body)) + body[at + 2 :]


def arp(operation: int, sender_mac: str, sender: str, target: str, marker: bytes) -> bytes:
    """An ARP packet; what follows it in the frame is padding, where `marker` fits."""
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac(sender_mac) + ipaddress.IPv4Address(sender).packed
    return head + mac("00:00:00:00:00:00") + ipaddress.IPv4Address(target).packed + marker
