"""A run of tests that is killed leaves nothing; one that lives loses nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import leftovers
from tests.netlab import namespaces_of

pytestmark = pytest.mark.kernel

LIFE = """
import subprocess, sys, tempfile
from tests.leftovers import Run
from tests.netlab import NetLab
run = Run(watched=sys.argv[1] == "watched")
lab = NetLab.__new__(NetLab); lab._made = []  # its namespaces alone: this is about what becomes of them
lab.popen(lab.add("node"), ["sleep", "600"])
subprocess.Popen(["sleep", "600"], start_new_session=True)
home = tempfile.mkdtemp(prefix="garage-machine-")
subprocess.run(["mount", "-t", "tmpfs", "none", home], check=True)
open(f"{home}/disk", "w").write("a copy of an image")
print(run.folder, flush=True)
sys.stdin.read()
"""
"""A run that makes one of each, says where, and lives until it is killed."""


@dataclass
class Life:
    process: subprocess.Popen[str]
    folder: Path

    def traces(self) -> dict[str, object]:
        found = {
            "processes": [pid for pid in leftovers.processes(self.folder) if pid != self.process.pid],
            "namespaces": namespaces_of(self.process.pid),
            "mounts": leftovers.mounts(self.folder),
            "folder": self.folder.exists(),
            "record": (leftovers.RECORDS / self.folder.name).exists(),
        }
        return {what: value for what, value in found.items() if value}

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def life(*words: str) -> Iterator[Life]:
    process = subprocess.Popen(
        [sys.executable, "-c", LIFE, *words], cwd=leftovers.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield Life(process, Path(process.stdout.readline().strip()))
    finally:
        process.kill()
        process.wait()
        leftovers.clear_dead()


EVERYTHING = {"processes", "namespaces", "mounts", "folder", "record"}


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_of_one_that_lives() -> None:
    with life("alone") as dead, life("alone") as alive:
        dead.kill()
        assert set(dead.traces()) == EVERYTHING, "the control: somebody has to remove it"
        before = alive.traces()
        leftovers.clear_dead()
        assert dead.traces() == {}
        assert alive.traces() == before
        assert set(before) == EVERYTHING
        assert Path(os.environ["TMPDIR"]).is_dir(), "this run's own"


def test_a_watcher_does_so_at_once() -> None:
    with life("watched") as dead:
        dead.kill()
        deadline = time.monotonic() + 30
        while dead.traces() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert dead.traces() == {}


def test_a_run_that_ends_leaves_nothing_and_gives_its_place_back() -> None:
    """As a run does whose tests forgot to end a process."""
    ends = LIFE.replace("sys.stdin.read()", "run.end(); print(tempfile.gettempdir())")
    said = subprocess.run(
        [sys.executable, "-c", ends, "watched"], cwd=leftovers.ROOT, capture_output=True, text=True, check=True
    )
    folder, place = map(Path, said.stdout.split())
    assert place == Path(os.environ["TMPDIR"])
    assert not folder.exists()
    assert leftovers.processes(folder) == []
    assert leftovers.mounts(folder) == []


def test_traces_of_killed_frr_daemons_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "CRASHES", tmp_path)
    with subprocess.Popen(["true"]) as done:
        dead = done.pid
    for name in (f"zebra.{dead}", f"bfdd.{dead}", f"bgpd.{dead}", f"bgpd.{os.getpid()}"):
        (tmp_path / name).mkdir()
    (tmp_path / f"bgpd.{dead}" / "crashlog").write_text("of interest")
    os.utime(tmp_path / f"bfdd.{dead}", (1.0, 1.0))
    assert leftovers.frr_traces(begun=2.0) == [tmp_path / f"zebra.{dead}"]
