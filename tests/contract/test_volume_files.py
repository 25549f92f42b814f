"""Volumes' files, here and over SSH."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.core.hypervisor_types import Disks
from garage.errors import GarageError
from garage.shell import remote_volumes
from garage.shell.disks import LocalDisks
from garage.shell.node_shell import NodeShell
from garage.shell.remote_disks import RemoteDisks
from garage.shell.remote_volumes import RemoteVolumes
from garage.shell.seed import write_seed
from tests.sshserver import ssh_server

ONE, FIRST, GIB = "1" * 20, "a" * 20, 1 << 30


@pytest.fixture(params=["here", pytest.param("over SSH", marks=pytest.mark.kernel)])
def disks(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disks]:
    if request.param == "here":
        yield LocalDisks(tmp_path, write_seed)
        return
    with ssh_server(tmp_path / "ssh") as server, NodeShell(server.access, server.key) as shell:
        yield RemoteDisks(shell, tmp_path, write_seed)


def test_it_is_sparse_nobody_elses_and_keeps_what_it_holds(disks: Disks, tmp_path: Path) -> None:
    files, path = disks.volumes, tmp_path / "volumes" / ONE / "disk.raw"
    assert files.path(ONE) == path
    with pytest.raises(GarageError, check=lambda error: error.code == "tool_failed"):
        files.grow(ONE, 2)
    files.make(ONE, 1)
    found = path.stat()
    assert (found.st_size, found.st_blocks, found.st_mode & 0o777) == (GIB, 0, 0o600)
    assert (path.parent.stat().st_mode & 0o777, path.parent.parent.stat().st_mode & 0o777) == (0o711, 0o711)
    with path.open("r+b") as file:
        file.write(b"work")
    files.make(ONE, 1)
    files.grow(ONE, 3)
    files.grow(ONE, 2)
    assert path.stat().st_size == 3 * GIB
    with path.open("rb") as file:
        assert file.read(4) == b"work"
    for _ in range(2):
        files.remove(ONE)
    assert list(path.parent.parent.iterdir()) == []


def test_a_snapshot_is_a_whole_copy_that_is_returned_to_and_goes_with_it(disks: Disks, tmp_path: Path) -> None:
    files, path, kept = (
        disks.volumes,
        tmp_path / "volumes" / ONE / "disk.raw",
        tmp_path / "volumes" / ONE / f"{FIRST}.raw",
    )
    files.make(ONE, 1)
    write(path, b"old!")
    assert files.kept(ONE, FIRST) is None
    files.copy(ONE, FIRST)
    size = files.kept(ONE, FIRST)
    assert size is not None
    assert (kept.stat().st_size, kept.stat().st_mode & 0o777, 0 < size < 1 << 20) == (GIB, 0o600, True), "sparse"
    write(path, b"new!")
    files.grow(ONE, 2)
    for left in (path, kept):  # of a worker that was killed
        left.with_name(f"{left.name}.4711.part").write_bytes(b"half")
    files.restore(ONE, FIRST, 2)
    assert (read(path), read(kept)) == (b"old!", b"old!")
    assert (path.stat().st_size, path.stat().st_mode & 0o777) == (2 * GIB, 0o600), "it does not shrink"
    write(path, b"more")
    assert read(kept) == b"old!", "a file of its own"
    for _ in range(2):
        files.forget(ONE, FIRST)
    assert [each.name for each in path.parent.iterdir()] == ["disk.raw"]
    kept.touch()
    files.remove(ONE)
    assert list(path.parent.parent.iterdir()) == []


def test_a_draft_is_an_empty_file_of_its_size_that_becomes_the_snapshot_once(disks: Disks, tmp_path: Path) -> None:
    files, kept = disks.volumes, tmp_path / "volumes" / ONE / f"{FIRST}.raw"
    with pytest.raises(GarageError, check=lambda error: error.code == "tool_failed"):
        files.draft(ONE, FIRST)
    files.make(ONE, 1)
    for _ in range(2):  # the first is of a worker that was killed
        draft = files.draft(ONE, FIRST)
        assert (draft.stat().st_size, draft.stat().st_blocks, draft.stat().st_mode & 0o777) == (GIB, 0, 0o600)
        write(draft, b"live")
    assert files.kept(ONE, FIRST) is None
    for _ in range(2):
        files.keep(ONE, FIRST)
    assert (read(kept), kept.stat().st_mode & 0o777, len(list(kept.parent.iterdir()))) == (b"live", 0o600, 2)
    files.draft(ONE, FIRST)
    files.forget(ONE, FIRST)
    assert [each.name for each in kept.parent.iterdir()] == ["disk.raw"]


def test_what_is_not_there_is_not_copied_and_nothing_is_lost(disks: Disks, tmp_path: Path) -> None:
    files, path = disks.volumes, tmp_path / "volumes" / ONE / "disk.raw"
    with pytest.raises(GarageError, check=lambda error: error.code == "tool_failed"):
        files.copy(ONE, FIRST)
    files.make(ONE, 1)
    write(path, b"work")
    with pytest.raises(GarageError, check=lambda error: error.code == "tool_failed"):
        files.restore(ONE, FIRST, 1)
    assert (read(path), len(list(path.parent.iterdir()))) == (b"work", 1)


@pytest.mark.kernel
def test_a_copy_of_an_earlier_worker_that_still_runs_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a node, whose scripts go on without us: its draft is taken away, so that it comes to nothing; then it is tried again."""
    monkeypatch.setattr(remote_volumes, "COPY", remote_volumes.COPY.replace("-w 60", "-w 0"))
    with ssh_server(tmp_path / "ssh") as server, NodeShell(server.access, server.key) as shell:
        files = RemoteVolumes(shell, tmp_path)
        files.make(ONE, 1)
        draft = files.path(ONE).with_name(f"{FIRST}.raw.4711.part")
        draft.touch()
        folder = os.open(files.path(ONE).parent, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
            files.copy(ONE, FIRST)
        assert not draft.exists()
        os.close(folder)
        files.copy(ONE, FIRST)
        assert files.kept(ONE, FIRST) is not None


def write(path: Path, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(what)


def read(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(1 << 20)
        return file.read(4)


@pytest.mark.parametrize("evil", ["../../etc", "", "1" * 19, "1" * 20 + "\n"])
def test_an_id_is_no_path(disks: Disks, evil: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        disks.volumes.remove(evil)
    with pytest.raises(ValueError, match="not an id"):
        disks.volumes.copy(ONE, evil)
