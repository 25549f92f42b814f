"""A whole garage — libvirtd, netd, web, worker — inside a network namespace, apart from everything else on the server.

It lives there (in the node of tests/netlab.py unless said otherwise) and in mount and pid namespaces of its own: own /run, FRR's and
libvirt's folders and sysctls, no process that outlives the first one, and no packet that leaves the lab. The first process ends with
the test's, however that ends: it reads a pipe that nobody else holds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.machine.conftest import IMAGES
from tests.netlab import NetLab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
INNER = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run; mkdir -p /run/lock
for folder in /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
mkdir -p /var/lib/libvirt/qemu /var/lib/libvirt/images
for folder in libvirt frr; do cp -a /etc/$folder $HOME_/$folder; mount --bind $HOME_/$folder /etc/$folder; done
rm -rf /etc/libvirt/qemu/networks/autostart/* /etc/libvirt/qemu/*.xml  # the server's own domains are not ours to see
install -d -o frr -g frr -m 0700 /var/tmp/frr; mount -t tmpfs -o uid=frr,gid=frr,mode=0700 tmpfs /var/tmp/frr
mkdir $HOME_/images; mount --bind -o $MODE $STORE $HOME_/images
printf 'cgroup_controllers = []\nsecurity_driver = "none"\n' >> /etc/libvirt/qemu.conf
printf 'host_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >> /etc/libvirt/libvirtd.conf
virtlogd -d; libvirtd -d
echo up
while read -r _; do :; done  # bash as the first process also collects QEMUs that have ended
"""
"""The image store is the one that was given, for reading only unless it is the test's own."""


SETTINGS: dict[str, Any] = {
    "instance": "tmx",
    "site_ipv4": "10.77.0.0/20",
    "site_ipv6": "fd77:7:7::/48",
    "listen": "127.0.0.1:8077",
}
"""Of a garage that is alone in its world."""
HINDSIGHT = 40.0
"""Seconds by which a boot is given up before the command that waits for it: the garage says why, and what was on the console."""


class Garage:
    """Start with `Garage(image store, argv, settings)`, ask with `garage(...)`, end with `close()`."""

    patience = 240.0
    """Seconds that a command may take: less than a test (pyproject.toml), so that it says what everybody did then."""

    def __init__(
        self,
        store: Path,
        argv: Callable[[Sequence[str]], list[str]],
        settings: Mapping[str, Any],
        *,
        own_store: bool = False,
    ) -> None:
        """`argv`: what runs a command in the namespace; `settings`: of garage.toml; `own_store`: images may be added to the store."""
        self._argv = argv
        self.home = Path(tempfile.mkdtemp(prefix="garage-machine-"))
        self.home.chmod(0o755)
        self._shell = self._start_inner(store, "rw" if own_store else "ro")
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {**os.environ, "GARAGE_HOME": str(self.home), "HOME": str(self.home / "root"), "LANG": "C.UTF-8"}
        (self.home / "root").mkdir()
        self._initialise(settings)
        for part in ("netd", "web", "worker"):
            self.start(part)
        self.wait_ready()

    def _start_inner(self, store: Path, mode: str) -> subprocess.Popen[str]:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", INNER]
        env = {**os.environ, "HOME_": str(self.home), "STORE": str(store), "MODE": mode}
        shell = subprocess.Popen(
            self._argv(command), text=True, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert shell.stdout is not None
        assert shell.stderr is not None
        assert shell.stdout.readline() == "up\n", shell.stderr.read()
        return shell

    def _initialise(self, settings: Mapping[str, Any]) -> None:
        """init, and the image taken from where the build would have stored it."""
        quiet = {"pool_ram_share": 0}  # what boots in advance takes the processors from what a test waits for
        self.configure(quiet | dict(settings))
        self.run([str(BIN / "garage-server"), "init"])
        (self.home / "office.networks").write_text("192.168.77.0/24\n")
        self.run([str(BIN / "garage-server"), "build-image", str(IMAGES / "debian-12.toml")])

    def configure(self, settings: Mapping[str, Any]) -> None:
        """garage.toml."""
        given = {"boot_timeout": self.patience - HINDSIGHT} | dict(settings)
        (self.home / "garage.toml").write_text(
            "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items())
        )

    @property
    def _pid(self) -> int:
        """Of the first process inside."""
        children = subprocess.run(
            ["pgrep", "-P", str(self._shell.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        return int(children[0]) if children else self._shell.pid

    def _enter(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", str(self._pid), "--mount", "--root", "--net", "--pid", f"--wd={ROOT}", *argv]

    def run(self, argv: Sequence[str], *, check: bool = True, input: str | None = None) -> str:
        """A command inside; its standard output."""
        try:
            done = subprocess.run(
                self._enter(argv),
                capture_output=True,
                text=True,
                env=self.env,
                timeout=self.patience,
                check=False,
                input=input,
            )
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{late}\n{self.guests()}\n{self.logs()}") from None
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(argv)[:300]}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{self.logs()}"
            )
        return done.stdout

    def garage(self, *words: str, check: bool = True) -> str:
        """The `garage` command, as the admin on the server itself."""
        return self.run([str(BIN / "garage"), *words], check=check)

    def show(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.garage("-o", "json", "machine", "show", name))
        return found

    def ssh(self, name: str, command: str, *, check: bool = True, input: str | None = None) -> str:
        return self.run([str(BIN / "garage"), "ssh", name, "--", command], check=check, input=input)

    def wait_state(self, name: str, *states: str, seconds: float = 400) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (found := self.show(name))["state"] not in states:
            assert time.monotonic() < deadline, f"{found}\n{self.logs()}"
            time.sleep(0.5)
        return found

    def start(self, part: str) -> None:
        """Of "netd", "web", "worker"."""
        argv = [str(BIN / "netd"), "run"] if part == "netd" else [str(BIN / "garage-server"), part]
        log = (self.home / f"{part}.log").open("ab")
        self._parts[part] = subprocess.Popen(
            self._enter(argv), stdout=log, stderr=log, env=self.env, stdin=subprocess.DEVNULL
        )

    def stop(self, part: str, number: int = signal.SIGTERM) -> None:
        """nsenter stays the parent of the real process, which is what gets the signal."""
        process = self._parts.pop(part)
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for pid in (*map(int, children),):
            os.kill(pid, number)
        process.wait(timeout=60)

    def wait_ready(self) -> None:
        self.wait_said("all well", "status")

    def wait_said(self, text: str, *words: str) -> None:
        """Until `garage WORDS` says `text`."""
        deadline = time.monotonic() + 90
        while text not in (said := self.garage(*words, check=False)):
            assert time.monotonic() < deadline, f"{said}\n{self.logs()}"
            time.sleep(0.5)

    def kill_libvirt(self) -> None:
        """Its own, by the pid that libvirtd wrote into this garage's own /run; in its pid namespace no other can be hit."""
        self.run(["sh", "-c", "kill -9 $(cat /run/libvirtd.pid)"])

    def start_libvirt(self) -> None:
        self.run(["libvirtd", "-d"])

    def domains(self) -> list[str]:
        return self.run(["virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"]).split()

    def guests(self) -> str:
        """What every domain does: its state, and within two seconds how much its processors ran and where they were."""
        where = "virsh qemu-monitor-command $d --hmp 'info registers -a' | grep -e CPU -e RIP"
        asked = f"virsh -q domstats --state --vcpu --block; for d in $(virsh -q list --name); do {where}; done"
        argv = self._enter(["sh", "-c", f"{asked}; sleep 2; {asked}"])
        done = subprocess.run(argv, capture_output=True, text=True, env=self.env, timeout=30, check=False)
        return done.stdout + done.stderr

    def logs(self) -> str:
        paths = [*self.home.glob("*.log"), *self.home.glob("console/*.log")]
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in paths)

    def close(self) -> None:
        """The pid namespace ends with its first process, and everything in it."""
        for process in self._parts.values():
            process.kill()
            process.wait()
        self._shell.kill()
        self._shell.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class GarageInside(Garage):
    """In the node of a NetLab of its own."""

    def __init__(self, store: Path, *, own_store: bool = False) -> None:
        self.lab = NetLab()
        inside = lambda argv: ["ip", "netns", "exec", self.lab.node, *argv]  # noqa: E731
        super().__init__(store, inside, SETTINGS, own_store=own_store)

    def close(self) -> None:
        super().close()
        self.lab.close()
