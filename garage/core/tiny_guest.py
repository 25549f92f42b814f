"""A guest of a few bytes: what the KVM probe boots, and what tests boot where Linux would only take time.

A Multiboot (version 0.6.96) kernel of 32-bit code that QEMU's `-kernel` starts directly. It writes one line to the serial port and
then sits, or does what its kind says. It obeys ACPI's power button the way a real guest does: QEMU's PC machines have the
PM1a registers at 0x600 (status, enable) and 0x604 (control), and SLP_TYP 0 with SLP_EN (0x2000) is their S5.
"""

from __future__ import annotations

import struct
from enum import StrEnum

BASE = 0x100000
HEADER = struct.calcsize("<8I")
COM1, PM1_STATUS, PM1_ENABLE, PM1_CONTROL, PVPANIC, DEBUG_EXIT = 0x3F8, 0x600, 0x602, 0x604, 0x505, 0xF4


class Kind(StrEnum):
    SIT = "sit"
    """Wait for the power button, then power off."""
    DEAF = "deaf"
    """Wait for ever."""
    POWER_OFF = "power_off"
    """Power off by itself."""
    PANIC = "panic"
    """Tell pvpanic that the kernel panicked."""
    EXIT = "exit"
    """Write to QEMU's isa-debug-exit device: the probe's answer."""


def build(kind: Kind, line: bytes = b"tiny guest") -> bytes:
    """The kernel file."""
    code = b"".join(_out8(COM1, byte) for byte in line + b"\r\n") + _ENDS[kind]
    size = HEADER + len(code)
    magic, flags = 0x1BADB002, 0x00010000  # bit 16: the addresses below are valid, so that no ELF is needed
    return (
        struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, BASE, BASE, BASE + size, 0, BASE + HEADER)
        + code
    )


def _out8(port: int, value: int) -> bytes:
    """mov dx, port; mov al, value; out dx, al."""
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def _out16(port: int, value: int) -> bytes:
    """mov dx, port; mov ax, value; out dx, ax."""
    return b"\x66\xba" + struct.pack("<H", port) + b"\x66\xb8" + struct.pack("<H", value) + b"\x66\xef"


_IDLE = b"\xf3\x90" * 8
"""pause, a few times."""
_FOR_EVER = b"\xfa\xf4\xeb\xfc"
"""cli; again: hlt; jmp again."""
_POWER_OFF = _out16(PM1_CONTROL, 0x2000)
_POLL = _IDLE + b"\x66\xba" + struct.pack("<H", PM1_STATUS) + b"\x66\xed" + b"\xf6\xc4\x01"
"""in ax, [status]; test ah, 1 (bit 8: power button)."""
_SIT = _out16(PM1_ENABLE, 0x0100) + _POLL + b"\x74" + struct.pack("b", -(len(_POLL) + 2)) + _POWER_OFF + _FOR_EVER

_ENDS: dict[Kind, bytes] = {
    Kind.SIT: _SIT,
    Kind.DEAF: _FOR_EVER,
    Kind.POWER_OFF: _POWER_OFF + _FOR_EVER,
    Kind.PANIC: _out8(PVPANIC, 1) + _FOR_EVER,
    Kind.EXIT: _out8(DEBUG_EXIT, 0x10) + _FOR_EVER,
}
