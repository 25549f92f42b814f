"""Disks with the real qemu-img, here and over SSH, consoles as virtlogd leaves them, and the SSH probe against real sockets."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from garage.core.hypervisor_types import Disks
from garage.errors import GarageError
from garage.shell import console_file, kvm
from garage.shell.disk_files import virtual_size
from garage.shell.disks import LocalDisks
from garage.shell.node_shell import NodeShell
from garage.shell.probe import SshProber
from garage.shell.remote_disks import RemoteDisks
from garage.shell.seed import write_seed
from tests.sshserver import ssh_server

ONE, IMAGE = "1" * 20, "ab" * 32


@pytest.fixture(params=["here", pytest.param("over SSH", marks=pytest.mark.kernel)])
def disks(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disks]:
    folder = tmp_path / "images" / IMAGE
    folder.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "disk.qcow2"), "1G"], check=True)
    if request.param == "here":
        yield LocalDisks(tmp_path, write_seed)
        return
    with ssh_server(tmp_path / "ssh") as server, NodeShell(server.access, server.key) as shell:
        yield RemoteDisks(shell, tmp_path, write_seed)


def test_an_overlay_names_its_image_and_formats(disks: Disks) -> None:
    assert disks.present(ONE) == (False, False)
    disks.make_disk(ONE, IMAGE, 5)
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", str(disks.disk_path(ONE))]))
    assert (info["format"], info["backing-filename-format"]) == ("qcow2", "qcow2")
    assert info["backing-filename"] == str(disks.image_path(IMAGE) / "disk.qcow2")
    assert info["virtual-size"] == virtual_size(disks.disk_path(ONE)) == 5 << 30
    assert disks.present(ONE) == (True, False)
    disks.remove(ONE)
    disks.remove(ONE)
    assert disks.present(ONE) == (False, False)


def test_a_disk_grows_as_often_as_it_is_asked_to_and_never_shrinks(disks: Disks) -> None:
    disks.make_disk(ONE, IMAGE, 5)
    for asked, size in ((5, 5), (8, 8), (8, 8), (3, 8)):
        disks.grow_disk(ONE, asked)
        assert virtual_size(disks.disk_path(ONE)) == size << 30
    subprocess.run(["qemu-img", "check", "-q", str(disks.disk_path(ONE))], check=True)


def test_a_disk_that_is_not_there_does_not_grow(disks: Disks) -> None:
    with pytest.raises(GarageError) as caught:
        disks.grow_disk(ONE, 8)
    assert caught.value.code == "tool_failed"
    assert disks.present(ONE) == (False, False)


def test_a_disk_that_is_there_is_never_replaced(disks: Disks) -> None:
    disks.make_disk(ONE, IMAGE, 5)
    disks.disk_path(ONE).write_bytes(b"a machine's work")
    disks.make_disk(ONE, IMAGE, 5)
    assert disks.disk_path(ONE).read_bytes() == b"a machine's work"
    assert [path.name for path in disks.disk_path(ONE).parent.iterdir()] == ["disk.qcow2"]


def test_it_is_never_smaller_than_its_image(disks: Disks) -> None:
    disks.make_disk(ONE, IMAGE, 0)
    assert virtual_size(disks.disk_path(ONE)) == 1 << 30


def test_a_machine_boots_copies_of_its_own_made_anew(disks: Disks) -> None:
    image = disks.image_path(IMAGE)
    with pytest.raises(GarageError, check=lambda error: error.code == "unavailable"):
        disks.copy_kernel(ONE, IMAGE)
    (image / "vmlinuz").write_bytes(b"kernel")
    kernel, initrd = disks.copy_kernel(ONE, IMAGE)
    assert (kernel, initrd) == (disks.disk_path(ONE).with_name("vmlinuz"), None)
    (image / "initrd.img").write_bytes(b"initrd")
    kernel.unlink()
    kernel.write_bytes(b"changed by its QEMU")
    kernel, initrd = disks.copy_kernel(ONE, IMAGE)
    assert initrd is not None
    assert (kernel.read_bytes(), initrd.read_bytes()) == (b"kernel", b"initrd")
    assert kernel.stat().st_ino != (image / "vmlinuz").stat().st_ino


def test_what_a_killed_worker_left_is_replaced(disks: Disks) -> None:
    folder = disks.seed_path(ONE).parent
    (folder / ".seed-abc").mkdir(parents=True)
    (folder / ".seed-abc" / "meta-data").write_text("secret")
    (folder / "seed.iso.1.part").write_text("half")
    disks.write_seed(ONE, {"meta-data": b"whole"})
    assert [path.name for path in folder.iterdir()] == ["seed.iso"]
    assert disks.seed_path(ONE).stat().st_mode & 0o777 == 0o600


def test_an_image_that_is_missing(disks: Disks) -> None:
    with pytest.raises(GarageError, check=lambda error: error.code == "unavailable"):
        disks.make_disk(ONE, "cd" * 32, 5)
    assert list(disks.disk_path(ONE).parent.iterdir()) == []


@pytest.mark.parametrize("evil", ["../../etc", "", "1" * 19, "1" * 20 + "\n"])
def test_an_id_is_no_path(disks: Disks, evil: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        disks.remove(evil)


@pytest.mark.kernel
def test_a_full_disk_is_said_so_and_leaves_nothing(disks: Disks, tmp_path: Path) -> None:
    small = tmp_path / "machines"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=True)
    try:
        for make in (
            lambda: disks.make_disk(ONE, IMAGE, 5),
            lambda: disks.write_seed(ONE, {"meta-data": b"x" * 99_000}),
        ):
            with pytest.raises(GarageError, check=lambda error: error.code == "disk_full"):
                make()
        assert disks.present(ONE) == (False, False)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_console_files(tmp_path: Path) -> None:
    log = tmp_path / "console" / "one.log"
    assert console_file.tail(log) == b""
    console_file.prepare(log)
    assert log.stat().st_mode & 0o777 == 0o640
    log.rename(log.with_name("one.log.0"))
    log.with_name("one.log.0").write_bytes(b"before ")
    log.write_bytes(b"after")
    log.chmod(0o600)
    console_file.keep_readable(log)
    assert log.stat().st_mode & 0o777 == 0o640
    assert console_file.tail(log) == b"before after"
    console_file.remove(log)
    assert list(log.parent.iterdir()) == []


def test_a_console_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "one.log").symlink_to(tmp_path / "secret")
    assert console_file.tail(tmp_path / "one.log") == b""


def test_kvm_needs_a_flag_and_a_proof() -> None:
    assert kvm.has_flag("processor : 0\nflags\t\t: fpu vmx sse\n")
    assert not kvm.has_flag("model name : vmx-like\nflags : fpu sse\n")
    assert kvm.probe("tcg", 60.0), "the guest of the probe runs"
    assert not kvm.probe("no-such-accelerator")


# --- the probe -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(address: str, port: int, *pieces: bytes) -> Iterator[None]:
    """Sends `pieces` to whoever connects, one after another, and keeps the connection open."""
    with socket.create_server((address, port), reuse_port=True) as listening:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = listening.accept()[0]
                    kept.append(connection)
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(0.05)

        threading.Thread(target=serve, daemon=True).start()
        yield
        for connection in kept:
            connection.close()


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
        return number


def test_probe(port: int) -> None:
    rung = threading.Event()
    prober = SshProber(rung.set, port=port)
    targets = {"good": "127.0.0.2", "mute": "127.0.0.3", "web": "127.0.0.4", "closed": "127.0.0.5"}
    try:
        with (
            server("127.0.0.2", port, b"SSH", b"-2.0-OpenSSH_9.2\r\n"),
            server("127.0.0.3", port),
            server("127.0.0.4", port, b"HTTP/1.0 400\r\n"),
        ):
            prober.set_targets(targets)
            assert rung.wait(5)
            time.sleep(0.3)
            assert prober.answered() == {"good"}
            with server("127.0.0.5", port, b"SSH-2.0-late\r\n"):
                rung.clear()
                assert rung.wait(5)
                assert prober.answered() == {"good", "closed"}
            prober.set_targets({"mute": "127.0.0.3"})
            assert prober.answered() == set()
    finally:
        prober.close()


def test_the_probe_outlives_a_moment_without_file_descriptors(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rung, missing, begin = threading.Event(), [1, 2], SshProber._begin

    def failing(self: SshProber, *given: Any) -> None:
        if missing:
            raise OSError(errno.EMFILE, f"no socket {missing.pop()}")
        begin(self, *given)

    monkeypatch.setattr(SshProber, "_begin", failing)
    prober = SshProber(rung.set, port=port)
    try:
        with server("127.0.0.2", port, b"SSH-2.0-OpenSSH_9.2\r\n"):
            prober.set_targets({"good": "127.0.0.2"})
            assert rung.wait(5)
            assert (prober.answered(), missing) == ({"good"}, [])
    finally:
        prober.close()
