"""netd's gateway to outside programs: logs a command that can be pasted, bounds its time."""

from __future__ import annotations

import logging
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from netd.errors import NetdError

log = logging.getLogger(__name__)
TIMEOUT = 20.0
"""Seconds; ip and nft answer in milliseconds, a ruleset of 10,000 elements loads in 0.2 s."""


def run(argv: Sequence[str], *, input: str | None = None, check: bool = True, timeout: float = TIMEOUT) -> str:
    """Standard output of `argv`; a non-zero exit raises NetdError("tool") unless `check` is off, so does running longer than `timeout`
    seconds."""
    done = _run(argv, input=input, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise _failed(argv, done.returncode, done.stderr)
    return done.stdout


def start(argv: Sequence[str]) -> None:
    """Run a program that ends once its daemon stands; raises as `run` does. A daemon may keep its output open (FRR 10 does): at the end of
    a pipe we would wait for it for ever."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        done = _run(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=TIMEOUT)
        if done.returncode:
            said.seek(0)
            raise _failed(argv, done.returncode, said.read())


def _run(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    log.debug("$ %s", shlex.join(argv))
    try:
        return subprocess.run(argv, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetdError("tool", f"{argv[0]}: {error}", hint="is it installed?") from None


def _failed(argv: Sequence[str], code: int, said: str) -> NetdError:
    return NetdError("tool", f"{shlex.join(argv)}: {said.strip()[-1000:] or _end(code)}")


def _end(code: int) -> str:
    """Of a program that said nothing."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
