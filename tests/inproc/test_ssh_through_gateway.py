"""From one's own laptop: real OpenSSH through the gateway to a real sshd that has the machine's host key.

    ssh ── garage proxy ══ WebSocket ══ gateway ── sshd on a loopback port (stands for the machine's port 22)

The client has a home of its own and reaches nothing but the controller's URL.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from garage.db.models import Machine
from garage.services import api_tokens, keys, machines
from garage.services.context import Caller, Context
from tests.inproc.served import Served, ready_machine, serving, wait_until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
USER = getpass.getuser()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sshd_config(folder: Path, port: int) -> str:
    return "\n".join(
        (
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder}/host_key",
            f"AuthorizedKeysFile {folder}/authorized_keys",
            "PidFile none",
            "PermitRootLogin yes",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "Subsystem sftp internal-sftp",
            "LogLevel ERROR",
        )
    )


@dataclass
class Laptop:
    """A home with nothing in it but a way to the controller."""

    served: Served
    home: Path
    token: str
    machine: Path
    """The folder of the sshd that stands for the machine."""

    @property
    def environment(self) -> dict[str, str]:
        token_file = self.home / "token"
        token_file.write_text(self.token)
        return {
            **{"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config")},
            **{"GARAGE_URL": self.served.url, "GARAGE_TOKEN_FILE": str(token_file), "LANG": "C.UTF-8"},
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def garage(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "garage.cli", *words]
        environment = self.environment | more
        return subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )

    def learn(self) -> None:
        """Do the guest agent's part: the machine takes the keys of its project."""
        with self.served.ctx.db.read() as session:
            row = session.query(Machine).filter_by(name="one").one()
            (self.machine / "authorized_keys").write_text("".join(f"{line}\n" for line in row.authorized_keys))


@pytest.fixture
def laptop(ctx: Context, alice: Caller, tmp_path: Path) -> Iterator[Laptop]:
    folder, home = tmp_path / "machine", tmp_path / "laptop"
    folder.mkdir()
    home.mkdir()
    made = ready_machine(ctx, alice, "one")
    with ctx.db.read() as session:
        private = ctx.vault.unlock(session.get_one(Machine, made.id).host_key_private)
    (folder / "host_key").write_bytes(private)
    (folder / "host_key").chmod(0o600)
    (folder / "authorized_keys").touch()
    port = free_port()
    (folder / "sshd_config").write_text(sshd_config(folder, port))
    Path("/run/sshd").mkdir(exist_ok=True)
    assert SSHD
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")])
    try:
        wait_until(lambda: answers(port))
        with serving(ctx, ssh_port=port) as served:
            yield Laptop(served, home, served.token(alice), folder)
    finally:
        daemon.terminate()
        daemon.wait(5)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def with_key(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    """A laptop whose owner has a usual key, registered."""
    path = laptop.home / ".ssh" / "id_ed25519"
    path.parent.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    keys.add(ctx, alice, "laptop", path.with_suffix(".pub").read_text())
    laptop.learn()


def test_ssh_asks_nothing_and_passes_everything_on(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    with_key(laptop, ctx, alice)
    # ssh reads the password database's home, not $HOME: name the key as a person with several would
    key = str(laptop.home / ".ssh" / "id_ed25519")
    done = laptop.garage("ssh", "-i", key, "-l", USER, "one", "--", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert laptop.served.dialled == ["127.0.0.1"]
    again = laptop.garage("machine", "ssh", "-i", key, f"{USER}@one.alice", "true")
    assert (again.returncode, again.stderr) == (0, "")


def test_who_has_no_key_gets_one_made_and_registered(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    def guest_agent() -> None:
        wait_until(lambda: keys.listing(ctx, alice), 20)
        time.sleep(1)
        laptop.learn()

    agent = threading.Thread(target=guest_agent)
    agent.start()
    done = laptop.garage("ssh", "-l", USER, "one", "echo", "in")
    agent.join()
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    assert "Made an SSH key" in done.stderr
    own = laptop.home / ".config" / "garage" / "id_ed25519"
    assert own.stat().st_mode & 0o777 == 0o600
    quiet = laptop.garage("ssh", "-l", USER, "one", "true")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_scp_both_ways_and_port_forwarding(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    with_key(laptop, ctx, alice)
    key = str(laptop.home / ".ssh" / "id_ed25519")
    payload = os.urandom(3_000_000)
    (laptop.home / "there").write_bytes(payload)
    up = laptop.garage("scp", "-q", "-i", key, str(laptop.home / "there"), f"{USER}@one:{laptop.machine}/copy")
    assert up.returncode == 0, up.stderr
    down = laptop.garage("scp", "-q", "-i", key, f"{USER}@one:{laptop.machine}/copy", str(laptop.home / "back"))
    assert down.returncode == 0, down.stderr
    assert (laptop.home / "back").read_bytes() == payload
    port, target = free_port(), int(laptop.served.url.rpartition(":")[2])
    argv = [sys.executable, "-m", "garage.cli", "ssh", "-i", key, "-l", USER]
    argv += ["-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{target}", "-o", "BatchMode=yes", "one"]
    forward = subprocess.Popen(argv, env=laptop.environment, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: healthy(port), 10)
    finally:
        forward.terminate()
        forward.wait(10)


def healthy(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b"200 OK" in connection.recv(100)
    except OSError:
        return False


def test_plain_openssh_with_the_written_configuration(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    with_key(laptop, ctx, alice)
    (laptop.home / ".ssh" / "config").write_text("Host other\n  User x\n")
    for _ in range(2):
        assert laptop.garage("ssh-config", "--write").returncode == 0
    text = (laptop.home / ".ssh" / "config").read_text()
    assert text.count("Include ") == 1
    assert text.startswith("Include ")
    argv = ["ssh", "-F", str(laptop.home / ".ssh" / "config"), "-i", str(laptop.home / ".ssh" / "id_ed25519")]
    done = subprocess.run(
        [*argv, "-l", USER, "one.garage", "echo plain"],
        **{"env": laptop.environment, "capture_output": True, "text": True, "timeout": 30},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "plain\n", "")


def test_another_machines_host_key_is_refused(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    """An sshd that answers at the machine's address without the machine's key is not believed."""
    with_key(laptop, ctx, alice)
    other = machines.create(ctx, alice, machines.NewMachine(name="other", size="tiny"))
    with ctx.db.write() as session:
        session.query(Machine).filter_by(name="one").one().host_key_public = other.host_key
    done = laptop.garage("ssh", "-i", str(laptop.home / ".ssh" / "id_ed25519"), "-l", USER, "one", "true")
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr or "Host key verification failed" in done.stderr


def test_a_session_ends_when_its_token_does(laptop: Laptop, ctx: Context, alice: Caller) -> None:
    with_key(laptop, ctx, alice)
    argv = [
        sys.executable,
        "-m",
        "garage.cli",
        "ssh",
        "-i",
        str(laptop.home / ".ssh" / "id_ed25519"),
        "-l",
        USER,
        "one",
        "echo in; sleep 60",
    ]
    session = subprocess.Popen(
        argv, env=laptop.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert session.stdout
    assert session.stdout.readline() == b"in\n"
    for token in api_tokens.listing(ctx, alice):
        api_tokens.delete(ctx, alice, token.id)
    began = time.monotonic()
    _, errors = session.communicate(timeout=30)  # it would sleep for 60
    print(f"ssh ended {time.monotonic() - began:.2f} s after its token")
    assert session.returncode == 255
    assert b"signed out" in errors
