"""Volumes' files, here and over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.core.hypervisor_types import Disks
from garage.errors import GarageError
from garage.shell.disks import LocalDisks
from garage.shell.node_shell import NodeShell
from garage.shell.remote_disks import RemoteDisks
from garage.shell.seed import write_seed
from tests.sshserver import ssh_server

ONE, GIB = "1" * 20, 1 << 30


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


@pytest.mark.parametrize("evil", ["../../etc", "", "1" * 19, "1" * 20 + "\n"])
def test_an_id_is_no_path(disks: Disks, evil: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        disks.volumes.remove(evil)
