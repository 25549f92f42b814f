"""The guest's serial console as text for people. The bytes are the guest's: hostile, cut anywhere, of any encoding."""

from __future__ import annotations

import re

MAX_BYTES = 64 * 1024
"""As much of the log's end is looked at."""
TAIL_LINES = 20
LINE_CHARS = 200

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)?"  # OSC … BEL or ST (ECMA-48, xterm's control sequences)
    r"|\x1b[PX^_][^\x1b]{0,4096}(?:\x1b\\)?"  # DCS, SOS, PM, APC … ST
    r"|[\x1b\x9b]\[?[0-?]{0,64}[ -/]{0,16}[@-~]"  # CSI and two-character sequences
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""C0 and C1 but tab and newline, and what turns the direction of text or hides in it (Unicode bidi and zero width)."""


def clean(raw: bytes) -> str:
    """`raw` as printable text: invalid UTF-8 replaced, escape sequences and control characters gone, CR LF as one newline."""
    text = raw[-MAX_BYTES:].decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", _ESCAPES.sub("", text))


_PANIC = re.compile(rb"Kernel panic - not syncing|end Kernel panic|VFS: Unable to mount root fs")


def panicked(raw: bytes) -> bool:
    """The log says that the guest's kernel gave up: early panics reach no pvpanic driver, and a guest that then resets looks alive."""
    return _PANIC.search(raw[-MAX_BYTES:]) is not None


def tail(raw: bytes, *, lines: int = TAIL_LINES) -> str:
    """The last `lines` lines that hold something, each at most LINE_CHARS characters."""
    kept = [line.rstrip() for line in clean(raw).split("\n")]
    return "\n".join(line[:LINE_CHARS] for line in [line for line in kept if line][-lines:])
