"""Several servers on one, each as a new Debian server would be: for tests of more than one node, and for trying such things.

        ┌── eth0 192.168.90.11  SERVER one  (libvirtd, sshd, own root, /dev, processes, hostname, GARAGE_HOME)
    lan ┼── eth0 192.168.90.12  SERVER two
        └── …                                the gateway 192.168.90.1 answers, and leads nowhere

A server's root is an overlay of this server's own (so that what is installed here is installed there), and what it writes lies in its
folder. Nothing has a name outside: all of it is namespaces of processes that end with their owner, whose pipe they read, however that
ends; the folder is below TMPDIR, which tests/leftovers.py clears.

`python -m tests.servers 3` keeps three up until a line or the end of standard input, and says how to enter them.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

NETWORK, GATEWAY = "192.168.90.0/24", "192.168.90.1"
HOME = Path("/var/lib/garage")
"""GARAGE_HOME of every server; `Server.home` is the same folder as seen from outside."""
HIDDEN = (
    "home", "root", "run", "tmp", "var/cache/garage-test", "var/cache/libvirt", "var/lib/garage", "var/lib/libvirt", "var/log",
    "var/spool", "var/tmp", "etc/frr", "etc/libvirt", "etc/pki", "etc/ssh", "etc/systemd/system",
)  # fmt: skip
"""What of this server a new one does not have: empty there."""
MODES = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}
DEVICES = ("null 1 3", "zero 1 5", "full 1 7", "random 1 8", "urandom 1 9", "tty 5 0")
SWITCH = f"""
set -eu
ip link set lo up
ip link add lan type bridge; ip link set lan up; ip addr add {GATEWAY}/24 dev lan
ip -6 addr add fd90::1/64 dev lan nodad
echo up
while read -r _; do :; done
"""
OUTER = r"""
set -eu
mount --make-rprivate /
root=$BASE/root
mount -t overlay -o "lowerdir=/,upperdir=$BASE/upper,workdir=$BASE/work" overlay "$root"
for place in $SHARED; do mkdir -p "$root$place"; mount --bind "$place" "$root$place"; done
mount --bind "$BASE/home" "$root/var/lib/garage"
if [ -n "$STORE" ]; then mkdir -p "$BASE/home/images"; mount --bind "$STORE" "$root/var/lib/garage/images"
  mount -o remount,bind,ro "$root/var/lib/garage/images"; fi
mount -t proc proc "$root/proc"; mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"; mount -t tmpfs -o mode=755 tmpfs "$root/dev"
hostname "$NAME"
cd "$root"; mkdir -p .outside; pivot_root . .outside
exec chroot . /bin/bash -c "$INNER"
"""
INNER = r"""
set -eu
umount -l /.outside; rmdir /.outside
mkdir -p /run/lock /run/sshd /dev/pts /dev/shm /dev/net
while read -r name major minor; do mknod -m 666 /dev/$name c $major $minor; done <<<"$DEVICES"
mknod -m 666 /dev/net/tun c 10 200
[ -z "$KVM" ] || { mknod -m 660 /dev/kvm c 10 232; chgrp kvm /dev/kvm; }
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts; ln -s pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd; ln -s /proc/self/fd/0 /dev/stdin; ln -s /proc/self/fd/1 /dev/stdout; ln -s /proc/self/fd/2 /dev/stderr
ln -s /run /var/run 2>/dev/null || true
echo "$NAME" >/etc/hostname; printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$NAME" >/etc/hosts
echo "$MACHINE_ID" >/etc/machine-id; rm -f /var/lib/dbus/machine-id
mkdir -p /var/lib/libvirt/qemu /var/lib/libvirt/images /var/log/libvirt/qemu /var/cache/libvirt
chown libvirt-qemu: /var/lib/libvirt/qemu
install -d -o frr -g frr -m 0755 /etc/frr
ip link set lo up
sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done  # our owner plugs it in
ip link set eth0 up; ip addr add "$ADDRESS/24" dev eth0; ip -6 addr add "fd90::$NUMBER/64" dev eth0 nodad
ip route add default via "$GATEWAY"; ip -6 route add default via fd90::1
chpasswd -c SHA512 <<<"root:$PASSWORD"
ssh-keygen -q -t ed25519 -N '' -C "root@$NAME" -f /etc/ssh/ssh_host_ed25519_key
/usr/sbin/sshd
unset PASSWORD
echo up
while read -r _; do :; done  # bash as the first process also collects what has lost its parent
"""
SSHD = """Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
UsePAM no
Subsystem sftp /usr/lib/openssh/sftp-server
"""
CUT = """table inet cut {
    chain from { type filter hook input priority -500; policy drop; iif lo accept; }
    chain to { type filter hook output priority -500; policy drop; oif lo accept; }
}"""
DEAF = """table inet cut {
    chain from { type filter hook input priority -500; policy drop; iif lo accept; }
}"""


class Server:
    """One of a `Servers`: commands in it, its address, its folders seen from outside."""

    def __init__(
        self, name: str, number: int, base: Path, switch_pid: int, store: Path | None, shared: Sequence[Path]
    ) -> None:
        self.name, self.number, self.base = name, number, base / name
        self.address = f"192.168.90.{number}"
        self.password = secrets.token_urlsafe(12)
        """root's, for SSH."""
        self.home = self.base / "home"
        self._fill()
        self._process = self._start(store, shared)
        self._pid = _child(self._process)
        plug = f"ip link add p{number} master lan up type veth peer name eth0 netns {self._pid}"
        subprocess.run(["nsenter", "-t", str(switch_pid), "--net", *plug.split()], check=True)
        _wait_up(self._process)

    @property
    def host_key(self) -> str:
        """ "TYPE BASE64" of its sshd."""
        return " ".join((self.base / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    def enter(self, argv: Sequence[str], folder: str = "/") -> list[str]:
        """`argv` in the server, to be run from outside."""
        spaces = ("--mount", "--root", "--net", "--pid", "--uts", "--ipc")
        return ["nsenter", "-t", str(self._pid), *spaces, f"--wdns={folder}", *argv]

    def run(self, argv: Sequence[str] | str, *, check: bool = True, seconds: float = 120, **more: Any) -> str:
        """A command in it (a string: for bash); its standard output."""
        words = ["bash", "-c", argv] if isinstance(argv, str) else list(argv)
        env = more.pop("env", None) or self.environment()
        done: subprocess.CompletedProcess[str] = subprocess.run(
            self.enter(words), capture_output=True, text=True, env=env, timeout=seconds, check=False, **more
        )
        if check and done.returncode:
            raise AssertionError(
                f"{self.name}: {shlex.join(words)[:300]}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done.stdout

    def popen(self, argv: Sequence[str], **more: Any) -> subprocess.Popen[Any]:
        """A process in it; it ends with the server at the latest."""
        return subprocess.Popen(self.enter(argv), env=more.pop("env", None) or self.environment(), **more)

    def environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("GARAGE_TEST_RUN",) if key in os.environ}
        return {
            **kept, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8", "GARAGE_HOME": str(HOME),
        }  # fmt: skip

    def start_libvirt(self) -> None:
        """As `node-setup` does on a server without systemd; listens on its own socket alone."""
        self.run("[ -e /run/virtlogd.pid ] || virtlogd -d; libvirtd -d")

    def cut(self, *, on: bool = True, deaf: bool = False) -> None:
        """Off the network, silently as a broken switch does it, or back on it. `deaf`: what it sends still goes out."""
        self.run(["nft", "-f", "-"], input=(DEAF if deaf else CUT) if on else "delete table inet cut")

    def close(self) -> None:
        """The pid namespace ends with its first process, and everything in it."""
        self._process.kill()
        self._process.communicate()

    def _fill(self) -> None:
        for part in ("upper", "work", "root", "home"):
            (self.base / part).mkdir(parents=True)
        self.base.chmod(0o755)
        upper = self.base / "upper"
        for path in HIDDEN:
            made = upper / path
            made.mkdir(parents=True)
            made.chmod(MODES.get(path, 0o755))
            os.setxattr(made, "trusted.overlay.opaque", b"y")
        shutil.copytree("/etc/libvirt", upper / "etc/libvirt", dirs_exist_ok=True)
        shutil.rmtree(upper / "etc/libvirt/qemu")  # this server's own domains and networks
        with (upper / "etc/libvirt/qemu.conf").open("a") as file:
            file.write('\ncgroup_controllers = []\nsecurity_driver = "none"\n')
        with (upper / "etc/libvirt/libvirtd.conf").open("a") as file:
            file.write(f'\nhost_uuid = "{uuid.uuid4()}"\n')
        (upper / "etc/ssh/sshd_config").write_text(SSHD)

    def _start(self, store: Path | None, shared: Sequence[Path]) -> subprocess.Popen[str]:
        spaces = ("--mount", "--net", "--pid", "--uts", "--ipc")
        env = {
            **self.environment(), "BASE": str(self.base), "NAME": self.name, "NUMBER": str(self.number), "ADDRESS": self.address,
            "GATEWAY": GATEWAY, "INNER": INNER, "PASSWORD": self.password, "MACHINE_ID": uuid.uuid4().hex, "DEVICES": "\n".join(DEVICES),
            "KVM": "yes" if Path("/dev/kvm").exists() else "", "STORE": str(store or ""), "SHARED": " ".join(map(str, shared)),
        }  # fmt: skip
        return _held(["unshare", *spaces, "--fork", "--kill-child", "bash", "-c", OUTER], env)


class Servers:
    """`with Servers("one", "two") as lab: lab["one"].run("…")`. `store`: an image store that all have, read-only; `shared`: folders
    that are the same inside and outside."""

    def __init__(self, *names: str, store: Path | None = None, shared: Sequence[Path] = ()) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="garage-servers-"))
        self.base.chmod(0o755)
        self.servers: dict[str, Server] = {}
        self._switch = _held(["unshare", "--net", "--kill-child", "--fork", "bash", "-c", SWITCH], dict(os.environ))
        _wait_up(self._switch)
        self._switch_pid = _child(self._switch)
        try:
            with ThreadPoolExecutor() as pool:
                made = [pool.submit(self._server, name, 11 + index, store, shared) for index, name in enumerate(names)]
            self.servers = {name: one.result() for name, one in zip(names, made, strict=True)}
        except BaseException:
            self.close()
            raise

    def _server(self, name: str, number: int, store: Path | None, shared: Sequence[Path]) -> Server:
        return Server(name, number, self.base, self._switch_pid, store, shared)

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    @property
    def network(self) -> str:
        """The namespace of the gateway, from which all are reached."""
        return f"/proc/{self._switch_pid}/ns/net"

    def close(self) -> None:
        for server in self.servers.values():
            server.close()
        self._switch.kill()
        self._switch.communicate()
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _held(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    """A process that ends when the pipe that only we hold does."""
    return subprocess.Popen(
        argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _wait_up(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() != "up\n":
        process.stdin.close()
        raise AssertionError(process.stderr.read())


def _child(process: subprocess.Popen[str]) -> int:
    """The first process in the namespaces, which unshare forks when they are made."""
    deadline = time.monotonic() + 20
    while not (found := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return int(found[0])


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with Servers(*(f"server{number}" for number in range(1, count + 1))) as lab:
        for server in lab.servers.values():
            print(f"{server.name}  {server.address}  root password {server.password}")
            print(f"    {shlex.join(server.enter(['bash', '-l']))}")
        print("they end with this line or with standard input", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
