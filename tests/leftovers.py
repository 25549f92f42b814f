"""What a run of tests puts on the server, held together so that nothing of it stays, also after SIGKILL.

A run has a folder for whatever is temporary (TMPDIR: pytest's own folders, homes of garages, mounts in them), a mark in the
environment of every process that it starts, and its pid in the names of namespaces. Its record is a file that it holds locked: the
kernel drops the lock when the run ends, however it ends, and whoever gets it then removes all that. A watcher does so at once; if
it was killed too, the next run does. What has an owner of another kind keeps records of its own: tests/realms.py, netd/lab/state.py.

`python -m tests.leftovers` removes what dead runs left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.netlab import delete, namespaces_of

RECORDS = Path("/run" if os.geteuid() == 0 else "/tmp", f"garage-test-runs.{os.geteuid()}")
"""One file per run: its pid and its folder."""
MARK = "GARAGE_TEST_RUN"
"""In the environment of what a run starts: the run's folder."""
CRASHES = Path("/var/tmp/frr")
ROOT = Path(__file__).parent.parent
YOUNG = 60.0
"""Seconds that a record gets between being made and being locked."""
WATCHER = 'read -r _ || exec "$@"'
"""Waits for a line, which says that all is well, or for the end of the pipe, which comes when the run has died."""


class Run:
    """Begin with `Run()`; from then on it owns what this process and its children make."""

    def __init__(self, *, watched: bool = True) -> None:
        clear_dead()
        self._before = {key: os.environ.get(key) for key in ("TMPDIR", MARK)}
        self._watcher = self._watch() if watched else None
        self.folder = Path(tempfile.gettempdir(), f"gt-{uuid.uuid4().hex[:8]}")
        RECORDS.mkdir(exist_ok=True)
        self._record = RECORDS / self.folder.name
        self._lock = self._record.open("x")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._lock.write(f"{os.getpid()} {self.folder}")
        self._lock.flush()
        self.folder.mkdir()
        self.folder.chmod(0o711)  # dnsmasq and QEMU enter as users of their own
        self._take_over({"TMPDIR": str(self.folder), MARK: str(self.folder)})

    @staticmethod
    def _watch() -> subprocess.Popen[bytes]:
        argv = ["sh", "-c", WATCHER, "sh", sys.executable, "-m", "tests.leftovers"]
        return subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    @staticmethod
    def _take_over(environ: Mapping[str, str | None]) -> None:
        for key, value in environ.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        tempfile.tempdir = None  # it is remembered otherwise

    def end(self) -> None:
        self._take_over(self._before)
        _clear(os.getpid(), self.folder, self._record.stat().st_mtime)
        self._record.unlink()
        self._lock.close()
        if self._watcher:
            self._watcher.communicate(b"\n")


def clear_dead() -> None:
    """Remove what runs left that are dead."""
    for record in RECORDS.iterdir() if RECORDS.exists() else ():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), record.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid, _, folder = file.read().partition(" ")
            begun = record.stat().st_mtime
            if folder:
                _clear(int(pid), Path(folder), begun)
            if folder or time.time() - begun > YOUNG:
                record.unlink(missing_ok=True)


def _clear(pid: int, folder: Path, begun: float) -> None:
    """Processes first: they could make the rest anew."""
    deadline = time.monotonic() + 10
    while (found := processes(folder)) and time.monotonic() < deadline:
        for one in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, 9)
        time.sleep(0.02)
    for name in namespaces_of(pid):
        delete(name)
    for place in mounts(folder):
        subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)
    for trace in frr_traces(begun):
        shutil.rmtree(trace, ignore_errors=True)


def frr_traces(begun: float) -> list[Path]:
    """FRR's daemons make a folder each and remove it when they end, but not when they are killed; one with a crash's log is kept."""
    found = []
    for path in CRASHES.glob("*.*"):
        with contextlib.suppress(FileNotFoundError):
            dead = not Path("/proc", path.suffix[1:]).exists() and not (path / "crashlog").exists()
            found += [path] if dead and path.stat().st_mtime >= begun else []
    return found


def processes(folder: Path) -> list[int]:
    """What the run with this folder started and still goes on."""
    mark, found = f"{MARK}={folder}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def mounts(folder: Path) -> list[str]:
    """The latest first."""
    places = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [place for place in reversed(places) if Path(place).is_relative_to(folder)]


def main() -> None:
    """Everything of every dead run; what the rest takes is imported only here."""
    clear_dead()
    from netd.lab.removal import remove_abandoned
    from tests import realms

    remove_abandoned()
    realms.clear_dead()


if __name__ == "__main__":
    main()
