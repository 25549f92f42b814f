"""`make up` and its like inside a network namespace: a checkout of its own, a GARAGE_HOME of its own, nothing of the server's.

As in garage_inside.py the world ends at the namespaces' walls; /run, libvirt's folders and processes are its own, too. There is no
index and no registry inside: pip and npm take what this file has fetched before, by the same lock files.
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
from collections.abc import Sequence
from pathlib import Path

from garage_setup import pages
from garage_setup.command import Runner
from garage_setup.digests import of_files
from garage_setup.pythons import PIP, python_digest

from tests.leftovers import MARK
from tests.machine.conftest import CACHE, alone
from tests.netlab import NetLab

ROOT = Path(__file__).parents[2]
PARTS = ("Makefile", "pyproject.toml", "garage", "netd", "web", "images", "packaging", "scripts")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.mo", "vendor", "node_modules")
INNER = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run; mkdir -p /run/lock
for folder in /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
mkdir -p /var/lib/libvirt/qemu /var/lib/libvirt/images
cp -a /etc/libvirt $BASE/libvirt; mount --bind $BASE/libvirt /etc/libvirt
rm -rf /etc/libvirt/qemu/*.xml /etc/libvirt/qemu/networks/autostart/*
printf 'cgroup_controllers = []\nsecurity_driver = "none"\n' >> /etc/libvirt/qemu.conf
printf 'host_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >> /etc/libvirt/libvirtd.conf
echo up
while :; do sleep 60 & wait $!; done  # bash as the first process also collects what has lost its parent
"""
LISTEN = "127.0.0.1:8078"


class SetUpInside:
    """Start with `SetUpInside(image store)`, then `make("up")`; `close()` removes all of it."""

    def __init__(self, store: Path) -> None:
        wheels, npm = supplies()
        self.base = Path(tempfile.mkdtemp(prefix="garage-setup-"))
        self.base.chmod(0o755)
        self.home, self.checkout = self.base / "home", self.base / "checkout"
        copy_checkout(self.checkout)
        self.files_before = self.files()
        (self.home / "setup" / "build").mkdir(parents=True)
        (self.home / "setup" / "lock").touch()  # else set-up takes it for a folder of others
        shutil.copytree(npm, self.home / "setup" / "build" / "npm-cache")
        shutil.copytree(store, self.home / "images")
        kept = {key: value for key in ("PATH", "LC_ALL", "TMPDIR", MARK) if (value := os.environ.get(key))}
        self.env = {
            **{**kept, "HOME": str(self.base / "root"), "GARAGE_HOME": str(self.home), "GARAGE_LISTEN": LISTEN},
            **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "npm_config_offline": "true", "YES": "1"},
        }
        (self.base / "root").mkdir()
        self.lab = NetLab()
        self._shell = self._start_inner()

    def _start_inner(self) -> subprocess.Popen[str]:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", INNER]
        env = {**self.env, "BASE": str(self.base)}
        del env["GARAGE_HOME"]
        shell = self.lab.popen(self.lab.node, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        assert shell.stdout is not None
        assert shell.stderr is not None
        assert shell.stdout.readline() == "up\n", shell.stderr.read()
        return shell

    def _enter(self, argv: Sequence[str]) -> list[str]:
        first = subprocess.run(["pgrep", "-P", str(self._shell.pid)], capture_output=True, text=True, check=False)
        pid = (first.stdout.split() or [str(self._shell.pid)])[0]
        return ["nsenter", "-t", pid, "--mount", "--root", "--net", "--pid", "--wd=/", *argv]

    def run(self, *argv: str, check: bool = True, seconds: float = 300) -> str:
        """A command inside; what it says."""
        done = subprocess.run(
            self._enter(argv), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=seconds,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout[-3000:]}\n{self.logs()}"
        return done.stdout

    def make(self, target: str) -> str:
        return self.run("make", "-C", str(self.checkout), target)

    def kill_up(self, step: str, after: float) -> None:
        """SIGKILL to `make up`, some seconds after it has begun with a step; not to what it has started."""
        making = subprocess.Popen(
            self._enter(["make", "-C", str(self.checkout), "up"]), env=self.env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert making.stdout is not None
        said = ""
        for line in making.stdout:
            said += line
            if line.split()[:2] == ["…", step]:
                break
        else:
            raise AssertionError(f"make up never came to {step}:\n{said}")
        time.sleep(after)
        for pid in self.processes("garage_setup", "up"):
            os.kill(pid, signal.SIGKILL)
        making.stdout.close()
        assert making.wait(30) != 0

    def processes(self, *words: str) -> list[int]:
        """Those with all of these words on their command line that work for this garage."""
        mark = f"GARAGE_HOME={self.home}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                argv = (path / "cmdline").read_bytes().split(b"\0")
                ours = mark in (path / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if ours and all(any(word.encode() in part for part in argv) for word in words):
                found.append(int(path.name))
        return found

    def garage(self, *words: str) -> str:
        return self.run(str(self.home / "venv" / "bin" / "garage"), *words)

    def wait_ready(self, name: str) -> None:
        deadline = time.monotonic() + 200
        while (found := json.loads(self.garage("-o", "json", "machine", "show", name)))["state"] != "ready":
            assert time.monotonic() < deadline, f"{found}\n{self.logs()}"
            time.sleep(0.5)

    def wait_adoptable(self) -> None:
        """Until the worker has looked at the node."""
        deadline = time.monotonic() + 60
        while not (found := json.loads(self.garage("-o", "json", "admin", "adopt")))["nodes"]:
            assert time.monotonic() < deadline, f"{found}\n{self.logs()}"
            time.sleep(0.5)

    def files(self) -> set[Path]:
        """Of the checkout."""
        return set(self.checkout.rglob("*"))

    def domains(self, *words: str) -> list[str]:
        """None where libvirt does not run."""
        said = self.run("virsh", "-q", "-c", "qemu:///system", "list", "--name", *words, check=False)
        return [] if said.startswith("error: ") else said.split()

    def logs(self) -> str:
        paths = [*self.home.glob("log/*.log"), *self.home.glob("log/*/current"), *self.home.glob("console/*.log")]
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-1500:]}" for path in paths)

    def close(self) -> None:
        """The pid namespace ends with its first process, and everything in it."""
        self._shell.kill()
        self._shell.wait()
        self.lab.close()
        shutil.rmtree(self.base, ignore_errors=True)


def copy_checkout(target: Path) -> None:
    """What set-up uses of it: nobody changes that one during the test, and the test may."""
    target.mkdir()
    for name in (*PARTS, *(path.name for path in ROOT.glob("requirements*.txt"))):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=IGNORED)
        else:
            shutil.copy(source, target / name)


def supplies() -> tuple[Path, Path]:
    """(folder of wheels, npm's cache): all that the lock files name, fetched once for each state of them."""
    locks = [ROOT / "requirements.txt", ROOT / "requirements-build.txt"]
    digest = of_files([], python_digest(*locks), pages.vendor_digest(ROOT / "web"))
    place = CACHE / "supplies" / digest
    with alone():
        if not (place / ".complete").exists():
            shutil.rmtree(place.parent, ignore_errors=True)
            _fetch_wheels(locks, place / "wheels")
            _fetch_npm(place / "npm")
            (place / ".complete").touch()
    return place / "wheels", place / "npm-cache"


def _fetch_wheels(locks: Sequence[Path], target: Path) -> None:
    words = ("download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "-d", str(target))
    env = {**os.environ, **PIP, "PIP_CACHE_DIR": str(CACHE / "pip")}
    for lock in locks:
        argv = [sys.executable, "-m", "pip", *words, "-r", str(lock)]
        subprocess.run(argv, env=env, check=True, capture_output=True)


def _fetch_npm(work: Path) -> None:
    """npm's cache comes to lie beside `work`."""
    work.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "web" / name, work)
    pages.npm(Runner(work / "npm.log", work, os.environ), Path(sys.prefix), work, *pages.CLEAN_INSTALL)
