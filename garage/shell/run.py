"""The one gateway to outside programs: logs a command that can be pasted, bounds its time, kills its whole group."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from garage.errors import N_, GarageError

log = logging.getLogger(__name__)
TAIL = 2000
"""Characters of standard error that an error carries."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a program left."""

    returncode: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Result:
    """Run `argv` (never a shell; secrets go through `input` or files) for at most `timeout` seconds.

    `env` is added to the environment. With `check`, a non-zero exit raises `tool_failed` with the end of its standard error.
    """
    log.debug("$ %s", shlex.join(argv))
    try:
        process = _start(argv, input is not None, env)
    except OSError as error:
        hint = N_("install it: “make up” does")
        raise GarageError(
            "tool_failed", N_("{tool} cannot be run: {reason}"), hint=hint, tool=argv[0], reason=str(error)
        ) from None
    try:
        stdout, stderr = process.communicate(input, timeout=timeout)
    except BaseException as error:
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GarageError(
                "timeout", N_("{tool} took more than {seconds} s"), tool=argv[0], seconds=round(timeout)
            ) from None
        raise
    if check and process.returncode:
        log.warning("exit %s: %s\n%s", process.returncode, shlex.join(argv), stderr[-TAIL:])
        raise GarageError(
            "tool_failed",
            N_("{tool} failed ({status}): {reason}"),
            tool=argv[0],
            status=process.returncode,
            reason=stderr[-TAIL:].strip(),
        )
    return Result(process.returncode, stdout, stderr)


def _start(argv: Sequence[str], piped: bool, env: Mapping[str, str] | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **env} if env else None,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
