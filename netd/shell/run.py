"""netd's gateway to outside programs: logs a command that can be pasted, bounds its time."""

from __future__ import annotations

import logging
import shlex
import signal
import subprocess
from collections.abc import Sequence

from netd.errors import NetdError

log = logging.getLogger(__name__)
TIMEOUT = 20.0
"""Seconds; ip and nft answer in milliseconds, a ruleset of 10,000 elements loads in 0.2 s."""


def run(argv: Sequence[str], *, input: str | None = None, check: bool = True, timeout: float = TIMEOUT) -> str:
    """Standard output of `argv`; a non-zero exit raises NetdError("tool") unless `check` is off, so does running longer than `timeout`
    seconds."""
    log.debug("$ %s", shlex.join(argv))
    try:
        done = subprocess.run(argv, input=input, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetdError("tool", f"{argv[0]}: {error}", hint="is it installed?") from None
    if check and done.returncode:
        raise NetdError("tool", f"{shlex.join(argv)}: {done.stderr.strip()[-1000:] or _end(done.returncode)}")
    return done.stdout


def _end(code: int) -> str:
    """Of a program that said nothing."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
