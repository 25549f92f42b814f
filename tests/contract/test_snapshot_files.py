"""Snapshots' files with the real qemu-img, here and over SSH."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.core.hypervisor_types import Disks
from garage.errors import GarageError
from garage.shell.disk_files import virtual_size
from garage.shell.disks import LocalDisks
from garage.shell.node_shell import NodeShell
from garage.shell.remote_disks import RemoteDisks
from garage.shell.seed import write_seed
from tests.sshserver import ssh_server

ONE, FIRST, SECOND, IMAGE = "1" * 20, "a" * 20, "b" * 20, "ab" * 32


@pytest.fixture(params=["here", pytest.param("over SSH", marks=pytest.mark.kernel)])
def disks(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disks]:
    folder = tmp_path / "images" / IMAGE
    folder.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "disk.qcow2"), "1G"], check=True)
    if request.param == "here":
        made: Disks = LocalDisks(tmp_path, write_seed)
        made.make_disk(ONE, IMAGE, 2)
        yield made
        return
    with ssh_server(tmp_path / "ssh") as server, NodeShell(server.access, server.key) as shell:
        made = RemoteDisks(shell, tmp_path, write_seed)
        made.make_disk(ONE, IMAGE, 2)
        yield made


def write(path: Path, byte: int) -> None:
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", f"write -P {byte} 0 64k", str(path)], check=True, capture_output=True
    )


def holds(path: Path, byte: int) -> bool:
    said = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", f"read -P {byte} 0 64k", str(path)], check=True, capture_output=True
    )
    return b"verification failed" not in said.stdout


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "snapshots").glob("*/*"))


def test_a_copy_depends_on_nothing_but_the_image_and_is_returned_to(disks: Disks, tmp_path: Path) -> None:
    kept, disk = disks.snapshots, disks.disk_path(ONE)
    assert kept.size(ONE, FIRST) is None
    write(disk, 1)
    kept.copy(ONE, FIRST)
    write(disk, 2)
    kept.copy(ONE, SECOND)
    size = kept.size(ONE, FIRST)
    assert size is not None
    assert 64 << 10 <= size < 4 << 20
    first = tmp_path / "snapshots" / ONE / f"{FIRST}.qcow2"
    assert first.stat().st_mode & 0o777 == 0o600
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", str(first)]))
    assert info["backing-filename"] == str(disks.image_path(IMAGE) / "disk.qcow2")
    disks.grow_disk(ONE, 3)
    for _ in range(2):
        kept.restore(ONE, FIRST)
    assert holds(disk, 1)
    assert (virtual_size(disk), disk.stat().st_mode & 0o777) == (2 << 30, 0o644)
    for _ in range(2):
        kept.remove(ONE, FIRST)
    kept.restore(ONE, SECOND)
    assert holds(disk, 2)
    subprocess.run(["qemu-img", "check", "-q", str(disk)], check=True)
    assert files(tmp_path) == [f"{SECOND}.qcow2"]


def test_a_draft_is_an_empty_overlay_of_the_disks_size_and_no_snapshot_before_it_is_kept(
    disks: Disks, tmp_path: Path
) -> None:
    kept = disks.snapshots
    for _ in range(2):  # what a killed worker left goes
        draft = kept.draft(ONE, FIRST, IMAGE)
        assert files(tmp_path) == [draft.name]
    assert virtual_size(draft) == 2 << 30
    assert kept.size(ONE, FIRST) is None
    for _ in range(2):
        kept.keep(ONE, FIRST)
    assert files(tmp_path) == [f"{FIRST}.qcow2"]
    assert kept.size(ONE, FIRST)


def test_they_outlive_the_machines_files_and_go_together(disks: Disks, tmp_path: Path) -> None:
    disks.snapshots.copy(ONE, FIRST)
    disks.remove(ONE)
    assert files(tmp_path) == [f"{FIRST}.qcow2"]
    disks.snapshots.restore(ONE, FIRST)
    assert disks.disk_path(ONE).exists()
    for _ in range(2):
        disks.snapshots.remove_all(ONE)
    assert files(tmp_path) == []


def test_without_a_disk_or_a_snapshot_nothing_is_made_or_lost(disks: Disks, tmp_path: Path) -> None:
    with pytest.raises(GarageError, check=lambda error: error.code == "tool_failed"):
        disks.snapshots.restore(ONE, FIRST)
    assert [path.name for path in disks.disk_path(ONE).parent.iterdir()] == ["disk.qcow2"]
    disks.remove(ONE)
    with pytest.raises(GarageError, check=lambda error: error.code == "tool_failed"):
        disks.snapshots.copy(ONE, FIRST)
    assert files(tmp_path) == []


@pytest.mark.parametrize("evil", ["../../etc", "", "1" * 19, "1" * 20 + "\n"])
def test_an_id_is_no_path(disks: Disks, evil: str) -> None:
    for one, other in ((ONE, evil), (evil, FIRST)):
        with pytest.raises(ValueError, match="not an id"):
            disks.snapshots.remove(one, other)
