"""The one error of set-up: what went wrong, the last lines of what said so, and what to do."""

from __future__ import annotations

import errno
import traceback

DISK_HINT = "a disk is full (df -h): free some space, or set GARAGE_HOME to a folder on a larger one; then run it again"
FULL = (errno.ENOSPC, errno.EDQUOT)
SYSTEM_HINTS = {
    **dict.fromkeys(FULL, DISK_HINT),
    errno.EROFS: "what is mounted read-only there? set GARAGE_HOME to a folder that can be written",
    errno.ENOTDIR: "set GARAGE_HOME to a folder that can be made, e.g. /srv/garage",
}


class SetupError(Exception):
    """Shown as it is, without a traceback."""

    def __init__(self, text: str, *, hint: str = "", tail: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.hint = hint
        self.tail = tail
        self.code = code


def of_system(error: OSError) -> SetupError:
    """What the system refused, and where in our code: nobody has foreseen it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = [*frames[:1], *[frame for frame in frames if "garage_setup" in frame.filename]][-1]
    # a copy names its source, which is not what is full
    text = f"{error.filename}: {error.strerror}" if error.filename and error.errno not in FULL else str(error.strerror)
    hint = SYSTEM_HINTS.get(error.errno or 0, "run it again; if that says the same, it may be a mistake of ours")
    return SetupError(text, hint=hint, tail=f"{place.filename}:{place.lineno}: {place.line}")
