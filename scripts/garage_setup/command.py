"""The one gateway to outside programs: logs a command that can be pasted, keeps its last lines for the error, can be cancelled."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from garage_setup.problem import DISK_HINT, SetupError

MARK = "GARAGE_SETUP_OF"
"""In the environment of commands that may be killed: its value is the GARAGE_HOME that they work for."""
TAIL = 15
NEARLY_FULL = 16 << 20
FULL = ("No space left on device", "ENOSPC", "Disk quota exceeded")


class Runner:
    """Runs commands, several at a time from several threads, into one log file."""

    def __init__(self, log: Path, home: Path, environ: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("a", buffering=1, errors="replace")
        self._home = home
        self._environ = clean_environ(environ, home)
        self._cancelled = threading.Event()
        self._running: dict[int, bool] = {}
        self._starting = threading.Lock()

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        on_line: Callable[[str], None] = lambda _: None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        hint: str = "",
        uninterrupted: bool = False,
    ) -> str:
        """Its output (both streams). `uninterrupted` is for what must not be killed halfway, as dpkg. Raises SetupError."""
        words = [str(word) for word in argv]
        self.note(f"$ {shlex.join(words)}")
        process = self._start(words, dict(env or {}), cwd, uninterrupted)
        try:
            output = self._follow(process, on_line)
        finally:
            self._running.pop(process.pid, None)
        if process.returncode:
            self.check()
            what = f"“{shlex.join(words)[:200]}” failed ({process.returncode})"
            hint = self._disk_hint(output) or hint or find_hint(output) or f"all that it said is in {self._log.name}"
            raise SetupError(what, hint=hint, tail=output_tail(output))
        return "\n".join(output)

    def _start(
        self, words: list[str], env: dict[str, str], cwd: Path | None, uninterrupted: bool
    ) -> subprocess.Popen[str]:
        """In a group of its own, known to `cancel` from its first moment."""
        environ = {**self._environ, **env, **({} if uninterrupted else {MARK: str(self._home)})}
        with self._starting:
            self.check()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ,
                cwd=cwd or "/", text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            self._running[process.pid] = uninterrupted
        return process

    def _follow(self, process: subprocess.Popen[str], on_line: Callable[[str], None]) -> deque[str]:
        lines: deque[str] = deque(maxlen=2000)
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            text = line.rstrip()
            lines.append(text)
            self._log.write(f"{text}\n")
            on_line(text)
        process.wait()
        return lines

    def _disk_hint(self, lines: Sequence[str]) -> str:
        """Whatever else is said: with a full disk nothing else helps. Some programs do not say it."""
        full = shutil.disk_usage(self._home).free < NEARLY_FULL if self._home.exists() else False
        return DISK_HINT if full or any(sign in line for line in lines for sign in FULL) else ""

    def check(self) -> None:
        """To be called by whoever waits long; raises SetupError when another step has failed meanwhile."""
        if self._cancelled.is_set():
            raise SetupError("stopped")

    def note(self, text: str) -> None:
        """A line of our own in the log."""
        self._log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")

    def cancel(self) -> None:
        """End what runs and may be ended; nothing new starts."""
        with self._starting:
            self._cancelled.set()
        for pid, uninterrupted in list(self._running.items()):
            if not uninterrupted:
                signal_group(pid, signal.SIGTERM)


def clean_environ(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """What our commands see: the caller's environment without what would lead Python or npm astray."""
    kept = {
        key: value for key, value in environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS"))
    }
    return {
        **kept,
        "GARAGE_HOME": str(home),
        "HOME": environ.get("HOME", "/root"),
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
    }


def find_hint(lines: Sequence[str]) -> str:
    """The last hint that a command of ours gave itself."""
    return next((line.partition("hint: ")[2] for line in reversed(lines) if "hint: " in line), "")


def output_tail(lines: Sequence[str]) -> str:
    """The last lines; hints are told apart."""
    return "\n".join([line for line in lines if not line.startswith("hint: ")][-TAIL:])


def signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def leftovers(home: Path) -> list[int]:
    """Commands of an interrupted set-up of this garage that still run."""
    mark = f"{MARK}={home}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def end_leftovers(home: Path) -> int:
    """End them, in three seconds at most politely; returns how many there were."""
    first = leftovers(home)
    for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 1.0)):
        for pid in leftovers(home):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + patience
        while first and leftovers(home) and time.monotonic() < deadline:
            time.sleep(0.1)
    return len(first)
