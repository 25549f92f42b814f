"""A node's shell over a real sshd: what hangs is ended and made anew, what is wrong is away, old work never overtakes new."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from garage.errors import GarageError
from garage.shell.host import RemoteHost
from garage.shell.node_shell import NodeShell, quoted
from garage.shell.remote_disks import RemoteDisks
from garage.shell.seed import write_seed
from tests.sshserver import SshServer, ssh_server

pytestmark = pytest.mark.kernel

ONE = "1" * 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    with ssh_server(tmp_path / "ssh") as made:
        yield made


@pytest.fixture
def shell(server: SshServer) -> Iterator[NodeShell]:
    with NodeShell(server.access, server.key) as made:
        yield made


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_connection_that_hangs_is_killed_and_made_anew(server: SshServer, shell: NodeShell) -> None:
    assert shell.ask("cat", b"first").stdout == "first"
    (hung,) = _children(server.process.pid)
    os.kill(hung, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(GarageError, check=lambda error: error.code == "hypervisor_away"):
            shell.ask("true", timeout=1.0)
        assert time.monotonic() - began < 5
        assert shell.ask("cat", b"again").stdout == "again"
    finally:
        os.kill(hung, signal.SIGKILL)


def test_a_node_that_is_another_or_nobody_is_away(server: SshServer) -> None:
    other = (server.key.parent / "key.pub").read_text().strip()
    with NodeShell(replace(server.access, ssh_host_key=other), server.key) as wrong:
        with pytest.raises(GarageError, match="host key") as refused:
            wrong.ask("true")
        assert refused.value.code == "hypervisor_away"
    with NodeShell(replace(server.access, address="127.0.0.1:1"), server.key) as nobody:
        with pytest.raises(GarageError) as refused:
            nobody.ask("true")
        assert refused.value.code == "hypervisor_away"


def test_libvirt_gets_an_ssh_of_ours(server: SshServer, shell: NodeShell, tmp_path: Path) -> None:
    wrapper = shell.wrapper()
    assert wrapper == shell.wrapper()
    text = wrapper.read_text()
    for setting in ("-F none", "StrictHostKeyChecking=yes", f"IdentityFile={server.key}", "IdentityAgent=none"):
        assert setting in text
    assert wrapper.stat().st_mode & 0o777 == 0o700


def test_a_script_goes_on_where_a_killed_workers_script_has_ended(shell: NodeShell, tmp_path: Path) -> None:
    """Both want the folder: the second waits, and finds what the first has made; a disk that is there is never replaced."""
    (tmp_path / "machines").mkdir()
    disks = RemoteDisks(shell, tmp_path, write_seed)
    disks.write_seed(ONE, {"meta-data": b"x"})
    disk = disks.disk_path(ONE)
    old = f"exec 9<{disk.parent}; flock 9; (sleep 1; echo old >{disk}) >/dev/null 2>&1 &"
    shell.ask(old)
    image = tmp_path / "images" / ("ab" * 32)
    image.mkdir(parents=True)
    os.system(f"qemu-img create -q -f qcow2 {image}/disk.qcow2 1M")
    disks.make_disk(ONE, "ab" * 32, 1)
    assert disk.read_text() == "old\n"
    assert sorted(path.name for path in disk.parent.iterdir()) == ["disk.qcow2", "seed.iso"]


def test_all_machines_are_looked_at_in_one_call(shell: NodeShell, tmp_path: Path) -> None:
    now = [0.0]
    disks = RemoteDisks(shell, tmp_path, write_seed, monotonic=lambda: now[0])
    assert disks.present(ONE) == (False, False)
    for number in range(3):
        folder = tmp_path / "machines" / (str(number) * 20)
        folder.mkdir(parents=True)
        (folder / "disk.qcow2").touch()
    (tmp_path / "machines" / "../etc").mkdir()
    (tmp_path / "machines" / "no id").mkdir()
    (tmp_path / "machines" / "no id" / "disk.qcow2").touch()
    assert disks.present(ONE) == (False, False), "believed for a while"
    disks.write_seed(ONE, {"meta-data": b"x"})
    assert disks.present(ONE) == (False, True), "but own effects are seen"
    now[0] = 60.0
    assert [disks.present(str(number) * 20)[0] for number in range(4)] == [True, True, True, False]
    disks.remove(ONE)
    assert disks.present(ONE) == (False, False)


def test_consoles_are_copied_when_they_changed(shell: NodeShell, tmp_path: Path) -> None:
    host = RemoteHost(shell, tmp_path / "copies")
    logs = [tmp_path / "console" / f"{letter * 20}.log" for letter in "ab"]
    for log in logs:
        host.prepare_console(log)
    logs[0].write_bytes(b"\xff\x00 of a" * 20_000)
    logs[1].write_bytes(b"of b")
    host.keep_consoles(logs)
    copies = [tmp_path / "copies" / log.name for log in logs]
    assert [copy.read_bytes()[-4:] for copy in copies] == [b"of a", b"of b"]
    assert copies[0].stat().st_size == 65536
    logs[0].write_bytes(b"new")
    copies[1].write_bytes(b"ours")
    host.keep_consoles(logs)
    assert copies[0].read_bytes() == b"new"
    assert copies[1].read_bytes() == b"ours", "it has not changed there"
    copies[1].unlink()
    host.keep_consoles(logs)
    assert copies[1].read_bytes() == b"of b", "a node that gave the machine away has removed it"
    assert host.console(logs[1]) == b"of b"
    host.forget_console(logs[1])
    assert not logs[1].exists()
    assert not copies[1].exists()


def test_a_node_that_answers_nonsense(shell: NodeShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = shell.ask
    monkeypatch.setattr(shell, "ask", lambda script, *rest, **more: ask("echo 1 2 x; echo '../../etc/passwd 1'"))
    with pytest.raises(GarageError, match="nonsense"):
        RemoteDisks(shell, tmp_path, write_seed).space()
    with pytest.raises(GarageError, match="nonsense"):
        RemoteHost(shell, tmp_path).boot_id()
    with pytest.raises(GarageError, match="nonsense"):
        RemoteHost(shell, tmp_path).console(tmp_path / f"{ONE}.log")
    RemoteHost(shell, tmp_path).keep_consoles([tmp_path / f"{ONE}.log"])
    assert list(tmp_path.glob("*.log")) == []


@pytest.mark.parametrize("evil", ["/a b", "/a;b", "/a/../b", "relative", "/$(x)"])
def test_only_plain_paths_get_into_scripts(evil: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        quoted(Path(evil))
