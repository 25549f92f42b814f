"""An SSH server on loopback with keys of its own, as a node's: it lets one key in, as whoever runs it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from garage.core.types import NodeAccess

CONFIG = """ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxSessions 50
"""


@dataclass(frozen=True, slots=True)
class SshServer:
    access: NodeAccess
    key: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def ssh_server(folder: Path, name: str = "loop") -> Iterator[SshServer]:
    """Needs root (as a node's does). It ends with the block."""
    folder.mkdir(mode=0o700, parents=True)
    for key in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / key)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    argv = ["setpriv", "--pdeathsig", "KILL", "/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        host_key = (folder / "host.pub").read_text().strip()
        yield SshServer(NodeAccess(name, "qemu+ssh://x/system", f"127.0.0.1:{port}", host_key), folder / "key", process)
    finally:
        process.kill()
        process.wait()


def _wait(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, "sshd does not answer"
            time.sleep(0.02)
