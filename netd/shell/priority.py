"""Nice values of processes that are ours by their command line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def of_pid_files(folder: Path, pattern: str, word: str) -> Iterator[int]:
    """Processes of the pid files in `folder` that carry `word` in their command line: a pid file outlives its process."""
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError, ValueError):
            number = int(path.read_text())
            if word.encode() in (PROC / str(number) / "cmdline").read_bytes():
                yield number


def prefer(process: int, nice: int) -> bool:
    """Give all threads of a process `nice`, and the session that it leads. Whether something was changed; PermissionError where this
    server does not allow it."""
    changed = [_prefer_threads(process, nice), _prefer_session(process, nice)]
    return any(changed)


def _prefer_session(process: int, nice: int) -> bool:
    """Where the kernel shares the cores among sessions first (CONFIG_SCHED_AUTOGROUP), a thread's nice value counts only within its own."""
    path = PROC / str(process) / "autogroup"
    try:
        if os.getsid(process) != process or int(path.read_text().rpartition(" ")[2]) <= nice:
            return False
        path.write_text(f"{nice}\n")
    except PermissionError:
        raise
    except (
        OSError,
        ValueError,
    ):  # no such kernel, no such process, or too many changes just now: the next look tries again
        return False
    return True


def _prefer_threads(process: int, nice: int) -> bool:
    """The first one last: where that one has it, so do all, as new ones inherit it."""
    try:
        if os.getpriority(os.PRIO_PROCESS, process) <= nice:
            return False
        for thread in sorted((int(path.name) for path in (PROC / str(process) / "task").iterdir()), reverse=True):
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, thread, nice)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True
