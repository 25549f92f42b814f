"""A garage of a test's own on the real libvirt: own instance id, folder and bridge; nothing of it stays, also after a kill.

Machines get loopback addresses, so that not one packet of a test leaves the server, and boot tiny guests unless a test brings more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from garage.config import Config
from garage.core import names
from garage.core.tiny_guest import Kind, build
from garage.db.migrate import migrate
from garage.db.models import Machine, Node
from garage.db.session import Database
from garage.services import accounts, images, nodes, setup
from garage.services.context import Caller, Context
from garage.services.vault import Vault
from netd import wire

RECORDS = Path("/run/garage-tests")
"""One file per realm: name = instance, content = the pid of its test and its folder. It is held locked as long as the test lives."""
TOMBSTONE = 600.0
"""Seconds for which an ended realm is looked at again."""
IMAGE = "ab" * 32
URI = "qemu:///system"
ROOT = Path(__file__).parent.parent


def libvirt_answers() -> bool:
    try:
        libvirt.open(URI).close()
    except libvirt.libvirtError:
        return False
    return os.geteuid() == 0


@dataclass
class Realm:
    ctx: Context
    caller: Caller
    kind: Kind = Kind.DEAF

    @property
    def instance(self) -> str:
        return self.ctx.config.instance

    @property
    def home(self) -> Path:
        return self.ctx.config.home

    def domains(self, ref: str) -> list[str]:
        return [name for name in domains(self.instance) if name.endswith(ref)]

    def files(self, ref: str) -> list[str]:
        folder = self.home / "machines" / ref
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def row(self, ref: str) -> Machine:
        with self.ctx.db.read() as session:
            return session.get_one(Machine, ref)

    def netd(self) -> None:
        """Play netd: everything is applied."""
        with self.ctx.db.read() as session:
            version = session.get_one(Node, self.ctx.config.node).spec_version
        nodes.report(self.ctx, self.ctx.config.node, wire.Report(node=self.ctx.config.node, applied_version=version))

    def worker(self, **environ: str) -> subprocess.Popen[bytes]:
        """A real worker process of this realm."""
        argv = [sys.executable, "-m", "tests.worker_process", str(self.home), self.instance]
        return subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **environ}, start_new_session=True)

    def wait(
        self, ref: str, *states: str, seconds: float = 90.0, process: subprocess.Popen[bytes] | None = None
    ) -> str:
        """Until the machine is in one of `states`, or the process has died; returns its state."""
        end = time.monotonic() + seconds
        while (state := self.row(ref).state) not in states and time.monotonic() < end:
            if process is not None and process.poll() is not None:
                return self.row(ref).state
            time.sleep(0.02)
        return state


@contextlib.contextmanager
def realm(kind: Kind = Kind.DEAF) -> Iterator[Realm]:
    clear_dead()
    instance = _draw_instance()
    home = Path(f"/var/tmp/garage-test-{instance}-{uuid.uuid4().hex[:8]}")
    record = RECORDS / instance
    with record.open("x") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()} {home}")
        lock.flush()
        try:
            home.mkdir(mode=0o711)
            subprocess.run(["ip", "link", "add", names.bridge(instance), "type", "bridge"], check=True)
            make_image(home, kind)
            ctx, caller = open_garage(home, instance)
            yield Realm(ctx, caller, kind)
            ctx.db.close()
        finally:
            _clear(instance, home)
            os.utime(record)


def _draw_instance() -> str:
    RECORDS.mkdir(exist_ok=True)
    while True:
        instance = "t" + "".join(random.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=3))
        if not (RECORDS / instance).exists() and not Path("/sys/class/net", names.bridge(instance)).exists():
            return instance


def make_image(home: Path, kind: Kind) -> None:
    folder = home / "images" / IMAGE
    folder.mkdir(parents=True)
    disk = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"], check=True)
    (folder / "vmlinuz").write_bytes(build(kind, b"\x1b[32mtiny guest\x1b[0m is up"))


def open_garage(home: Path, instance: str) -> tuple[Context, Caller]:
    """Its database with an admin, made at the first call."""
    ctx = open_context(home, instance)
    migrate(ctx.db)
    who = setup.seed(ctx, admin="root-admin", node_token="token of a test")
    images.register(ctx, "debian-12", IMAGE, {"name": "debian-12", "cmdline": "tiny"})
    facts = {"vcpus": 64, "memory_mib": 65536, "disk_free_gib": 99.0, "disk_total_gib": 99.0, "virtualisation": "tcg"}
    with ctx.db.write() as session:
        session.get_one(Node, ctx.config.node).facts = facts
    _, token = accounts.create_user(ctx, who, "alice")
    return ctx, accounts.accept_invitation(ctx, token, "password of alice", "192.0.2.9")[0]


def open_context(home: Path, instance: str) -> Context:
    key = home / "secret.key"
    if not key.exists():
        key.write_bytes(Fernet.generate_key())
    config = Config(
        home=home, instance=instance, hypervisor=URI, ram_reserve_mib=0, disk_reserve_mib=0,
        site_ipv4="127.31.0.0/20", site_ipv6="fd31:4:5::/48", stop_timeout=3.0, pool_ram_share=0.0,
        quota={"machines": 50, "vcpus": 100, "memory_mib": 200_000, "disk_gib": 2000},
    )  # fmt: skip
    database, vault = Database(config.sqlalchemy_url), Vault(key.read_bytes())
    return Context(database, config, time.time, random.SystemRandom(), vault, Ed25519PrivateKey.generate())


def domains(instance: str) -> list[str]:
    connection = libvirt.open(URI)
    try:
        prefix = names.domain(instance, "")
        return [name for domain in connection.listAllDomains() if (name := domain.name()).startswith(prefix)]
    finally:
        connection.close()


def clear_dead() -> None:
    """Remove what tests left that were killed, and what libvirt did for a killed worker only after its realm was cleared."""
    for record in RECORDS.glob("*") if RECORDS.exists() else ():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), record.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _, _, home = lock.read().partition(" ")
            if home:
                _clear(record.name, Path(home))
            if time.time() - record.stat().st_mtime > TOMBSTONE:
                record.unlink(missing_ok=True)


def _clear(instance: str, home: Path) -> None:
    _stop_workers(home)
    connection = libvirt.open(URI)
    for name in domains(instance):
        with contextlib.suppress(libvirt.libvirtError):
            domain = connection.lookupByName(name)
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    connection.close()
    subprocess.run(["ip", "link", "del", names.bridge(instance)], check=False, capture_output=True)
    if home.name.startswith("garage-test-"):
        shutil.rmtree(home, ignore_errors=True)


def _stop_workers(home: Path) -> None:
    """Worker processes of this realm say their pid in its folder."""
    for note in home.glob("worker.*.pid"):
        pid = int(note.suffixes[0][1:])
        with contextlib.suppress(OSError):
            if str(home) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, 9)
