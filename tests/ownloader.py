"""Raw disks that boot by a loader of their own, in a second: some bytes of code that write a line to the serial port, then sit.

`bios()` is a boot sector (the PC's BIOS loads it to 0x7c00 and jumps there, in 16-bit mode). `uefi()` is a FAT16 file system without
partitions with `EFI/BOOT/BOOTX64.EFI` (UEFI specification 2.10, 3.5.1.1: where firmware looks by itself), a PE32+ file (Microsoft, "PE
Format") of one section; FAT as in Microsoft's "FAT: General Overview of On-Disk Format" 1.03.
"""

from __future__ import annotations

import struct

COM1 = 0x3F8
SECTOR = 512
FOR_EVER = b"\xfa\xf4\xeb\xfc"
"""cli; again: hlt; jmp again."""
SECTORS, FAT_SECTORS, ROOT_ENTRIES = 8192, 33, 512
DATA_AT = 1 + 2 * FAT_SECTORS + ROOT_ENTRIES * 32 // SECTOR


def bios(line: str) -> bytes:
    code = b"".join(b"\xba" + struct.pack("<H", COM1) + bytes((0xB0, byte, 0xEE)) for byte in f"{line}\r\n".encode())
    return (code + FOR_EVER).ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - SECTOR)


def uefi(line: str) -> bytes:
    program = _program(line)
    clusters = -(-len(program) // SECTOR)
    chain = [*range(5, 4 + clusters), 0xFFFF]
    fat = struct.pack(f"<{4 + clusters}H", 0xFFF8, 0xFFFF, 0xFFFF, 0xFFFF, *chain).ljust(FAT_SECTORS * SECTOR, b"\0")
    root = _entry(b"EFI", 2, folder=True).ljust(ROOT_ENTRIES * 32, b"\0")
    efi = _folder(2, 0, _entry(b"BOOT", 3, folder=True))
    boot = _folder(3, 2, _entry(b"BOOTX64 EFI", 4, size=len(program)))
    disk = _boot_sector() + fat + fat + root + efi + boot + program
    return disk.ljust(SECTORS * SECTOR, b"\0")


def _boot_sector() -> bytes:
    shape = struct.pack("<HBHBHHBHHHII", SECTOR, 1, 1, 2, ROOT_ENTRIES, SECTORS, 0xF8, FAT_SECTORS, 32, 16, 0, 0)
    rest = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x1234, b"OWN LOADER ", b"FAT16   ")
    return (b"\xeb\x3c\x90GARAGE  " + shape + rest).ljust(510, b"\0") + b"\x55\xaa"


def _entry(name: bytes, cluster: int, size: int = 0, *, folder: bool = False) -> bytes:
    return struct.pack("<11sB14xHI", name.ljust(11), 0x10 if folder else 0x20, cluster, size)


def _folder(own: int, above: int, entries: bytes) -> bytes:
    return (_entry(b".", own, folder=True) + _entry(b"..", above, folder=True) + entries).ljust(SECTOR, b"\0")


def _program(line: str) -> bytes:
    """Code that needs no firmware: at this point it may use ports."""
    put = b"\x66\xba" + struct.pack("<H", COM1)
    code = b"".join(put + bytes((0xB0, byte, 0xEE)) for byte in f"{line}\r\n".encode()) + FOR_EVER
    length = -(-len(code) // SECTOR) * SECTOR
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
    sizes = struct.pack("<HBBIIIII", 0x20B, 0, 0, length, 0, 0, 0x1000, 0x1000)
    shape = struct.pack("<QII6HIIIIHH4QII", 0, 0x1000, SECTOR, *(0,) * 6, 0, 0x2000, SECTOR, 0, 10, 0, *(0,) * 4, 0, 16)
    section = struct.pack("<8sIIIIIIHHI", b".text", len(code), 0x1000, length, SECTOR, 0, 0, 0, 0, 0x60000020)
    return (dos + coff + sizes + shape + bytes(16 * 8) + section).ljust(SECTOR, b"\0") + code.ljust(length, b"\0")
