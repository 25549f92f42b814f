"""Programs that read what strangers have made: without a network, without rights, and within limits of memory, time and size."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from garage.errors import N_, GarageError
from garage.shell.disk_files import disk_is_full

NOBODY = 65534
LOOK = 0.5
"""Seconds between looks at how far it is."""
TAIL = 600
LEAST_SECONDS = 300
SLOWEST = 16 << 20
"""Bytes per second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may take. Bytes, seconds."""

    memory: int = 2 << 30
    file: int = 1 << 30
    """Of each file that it writes."""
    processor: int = 1800
    wall: float = 1800.0


def limits_for(size: int, *, file: int, memory: int = 2 << 30) -> Limits:
    """Of a program that goes once through a disk of `size` bytes: time enough for slow disks on busy servers, and no more."""
    seconds = LEAST_SECONDS + size // SLOWEST
    return Limits(memory, file, seconds, float(seconds))


def run_confined(
    argv: Sequence[str],
    folder: Path,
    limits: Limits,
    tick: Callable[[], None],
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
) -> None:
    """Run `argv` as nobody, in `folder`, which it may write to. `tick` is called now and then; what it raises ends the program.

    The program has namespaces of its own for network, processes, host name and IPC (unshare(1)), so that it reaches nobody; its limits are
    the kernel's (setrlimit(2)). Raises `tool_failed` with the end of what it said, `timeout`, or `image_refused` when it wrote too much.
    """
    process = subprocess.Popen(
        [*_confined(limits), *argv],
        cwd=folder,
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": str(folder), "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        said = _watch(process, argv[0], limits, tick)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise _failed(argv[0], process.returncode, said)


def _confined(limits: Limits) -> list[str]:
    """Each of these is killed when its parent is gone, so that all end with a worker that was killed. `--kill-child` alone does not: what
    it sets is cleared by the change of user, and set again behind it."""
    return [
        *("setpriv", "--pdeathsig=KILL", "--"),
        *("prlimit", f"--as={limits.memory}", f"--fsize={limits.file}", f"--cpu={limits.processor}"),
        *("--nofile=64", "--core=0", "--"),
        *("unshare", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--"),
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"),
        *("--bounding-set=-all", "--inh-caps=-all", "--pdeathsig=KILL", "--"),
        *(
            "sh",
            "-c",
            '"$@"; exit $?',
            "sh",
        ),  # unshare(1) does not tell by which signal a program ended; the shell does
    ]


def _watch(process: subprocess.Popen[bytes], tool: str, limits: Limits, tick: Callable[[], None]) -> str:
    """Until it has ended; what it said to standard error, its end alone."""
    end, said = time.monotonic() + limits.wall, b""
    while True:
        try:
            said += process.communicate(timeout=LOOK)[1] or b""
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                raise GarageError(
                    "timeout", N_("{tool} took more than {seconds} s"), tool=tool, seconds=round(limits.wall)
                ) from None
            tick()
            continue
        return said[-TAIL:].decode("utf-8", "replace")


def _failed(tool: str, status: int, said: str) -> GarageError:
    if "No space left on device" in said:
        return disk_is_full()
    if abs(status) in (signal.SIGXFSZ, 128 + signal.SIGXFSZ) or "File too large" in said:
        return GarageError(
            "image_refused",
            N_("the image becomes larger than an image may be"),
            hint=N_("bring a smaller one, or one with its empty parts left out (qcow2)"),
            why="too_large",
        )
    if abs(status) in (signal.SIGXCPU, 128 + signal.SIGXCPU, signal.SIGKILL, 128 + signal.SIGKILL):
        return GarageError("timeout", N_("{tool} took too much of the processor"), tool=tool)
    return GarageError(
        "tool_failed", N_("{tool} failed ({status}): {reason}"), tool=tool, status=status, reason=said.strip()
    )
