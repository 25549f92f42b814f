"""Serial console output made readable: escape codes gone, what was overwritten gone, bounded."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI … final byte (ECMA-48, 5.4)
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC up to BEL or ST
    r"|\x1b[ -/]*[0-~]"  # two-character sequences, character sets
    r"|\x9b[0-?]*[ -/]*[@-~]",  # CSI as one byte
    re.MULTILINE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def strip(text: str) -> str:
    """`text` as plain lines: no escape codes, no control characters but line feed and tab; a carriage return starts its line anew."""
    plain = _ESCAPE.sub("", text).replace("\r\n", "\n")
    lines = (_CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in plain.split("\n"))
    return "\n".join(lines)


def tail(text: str, lines: int) -> str:
    """The last `lines` lines of console output that are not empty, stripped."""
    kept = [line.rstrip() for line in strip(text).split("\n") if line.strip()]
    return "\n".join(kept[-lines:])
