"""A whole garage for a browser: the real ASGI app on a free loopback port, and a hand that does the worker's part."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session

import web
from garage.api.app import make_flask
from garage.config import Config
from garage.core.pool import Kind
from garage.core.qcow2 import refused
from garage.core.shipped import shipped
from garage.core.snapshots import How
from garage.core.states import Event, State
from garage.core.volumes import by_id
from garage.db.migrate import migrate
from garage.db.models import Machine, Node
from garage.db.session import Database
from garage.db.volume_models import Volume
from garage.errors import GarageError
from garage.gateway.app import make_asgi
from garage.gateway.serve import make_server
from garage.services import (
    accounts,
    disk_copies,
    image_tasks,
    images,
    keys,
    machines,
    pools,
    setup,
    volume_notes,
    volume_snapshots,
    volumes,
)
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage
from garage.services.machines import NewMachine
from garage.services.transitions import fire, show_step
from garage.services.vault import Vault
from garage.services.volume_notes import VolumeAttached, VolumeMade
from garage.services.volume_snapshot_notes import VolumeCopied, VolumeNotCopied
from garage.services.volumes import NewVolume
from garage.shell import recipes
from tests.conftest import ALICE_KEY, NODE_TOKEN
from web.i18n import translate_error

PASSWORD = "correct horse battery"
HINT = "look at the last console lines; then start it again, or delete it and make another"
CONSOLE = """[    0.000000] Linux version 6.1.0-40-cloud-amd64
[    1.204117] virtio_blk virtio1: [vda] 20971520 512-byte logical blocks (10.7 GB/10.0 GiB)
[    2.871060] EXT4-fs (vda): mounted filesystem with ordered data mode
[  OK  ] Reached target network-online.target
[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server
"""


@dataclass
class Site:
    ctx: Context
    url: str
    admin: Caller
    hand: Hand

    def user(self, name: str) -> Caller:
        """A member with PASSWORD."""
        _, token = accounts.create_user(self.ctx, self.admin, name)
        return accounts.accept_invitation(self.ctx, token, PASSWORD, "192.0.2.1")[0]

    def make(self, who: Caller, name: str, size: str = "tiny") -> str:
        return machines.create(self.ctx, who, NewMachine(name=name, size=size)).id

    def set(self, machine_id: str, **values: object) -> None:
        with self.ctx.db.write() as session:
            row = session.get_one(Machine, machine_id)
            for key, value in values.items():
                setattr(row, key, value)

    def wait(self, machine_id: str, state: str, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while machines.get(self.ctx, self.admin, machine_id).state != state:
            assert time.monotonic() < end, f"never {state}"
            time.sleep(0.05)


class Hand(threading.Thread):
    """Moves machines along as the worker does, one step per beat; a machine whose name begins with "bad" fails to boot,
    one that begins with "slow" stays at its last step."""

    def __init__(self, ctx: Context, beat: float = 0.12) -> None:
        super().__init__(daemon=True)
        self.ctx, self.beat, self.stopped = ctx, beat, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(self.beat):
            with self.ctx.db.write() as session:
                for machine in session.scalars(select(Machine).where(Machine.state != "gone")):
                    self._move(session, machine)

    def _move(self, session: Session, machine: Machine) -> None:
        match State(machine.state), machine.step:
            case State.PREPARING, "":
                show_step(session, self.ctx, machine, "network")
            case State.PREPARING, "network":
                show_step(session, self.ctx, machine, "disk")
            case State.PREPARING, "disk":
                fire(session, self.ctx, machine, Event.STARTED, step="waiting_ssh")
                self._console(machine)
            case State.BOOTING, _ if machine.name.startswith("bad"):
                machine.console_tail = CONSOLE
                error = GarageError("boot_failed", "its SSH did not answer within {seconds} s", hint=HINT, seconds=300)
                fire(session, self.ctx, machine, Event.ERROR, error=error)
                machine.console_tail = CONSOLE
            case State.BOOTING, _ if not machine.name.startswith("slow"):
                fire(session, self.ctx, machine, Event.ANSWERED)
                machine.ready_at = machine.ready_at or self.ctx.clock()
            case State.STOPPING, _:
                fire(session, self.ctx, machine, Event.OFF)
                if machine.wants_running:
                    fire(session, self.ctx, machine, Event.START)
            case State.DELETING, _:
                fire(session, self.ctx, machine, Event.DELETED)

    def _console(self, machine: Machine) -> None:
        log = self.ctx.config.home / "console" / f"{machine.id}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(CONSOLE)


def make_context(home: Path) -> Context:
    config = Config(home=home, instance="brw", second_factor="optional", hypervisor="fake://", site_ipv4="10.31.0.0/20",
                    site_ipv6="fd31:4:5::/48", organisation="Physical AI Lab", pool_ram_share=0.25)  # fmt: skip
    database = Database(config.sqlalchemy_url)
    migrate(database)
    return Context(
        database, config, time.time, random.SystemRandom(), Vault(Fernet.generate_key()), Ed25519PrivateKey.generate()
    )


def furnish(ctx: Context) -> Caller:
    """Node, image, admin."""
    admin = setup.seed(ctx, admin="admin", node_token=NODE_TOKEN)
    images.register(ctx, "debian-12", "ab" * 32, {"name": "debian-12"})
    facts = {"vcpus": 16, "memory_mib": 65536, "disk_free_gib": 310.0, "disk_total_gib": 460.0, "virtualisation": "tcg"}
    with ctx.db.write() as session:
        node = session.get_one(Node, ctx.config.node)
        node.facts, node.reported_at, node.applied_version = facts, time.time() - 4, 1
    return admin


@contextmanager
def serving(home: Path) -> Iterator[Site]:
    ctx = replace(make_context(home), recipes=shipped(recipes.texts()))
    admin = furnish(ctx)
    flask_app = make_flask(ctx, translate=translate_error)
    web.register(flask_app, ctx)
    server = make_server(make_asgi(ctx, flask_app), replace(ctx.config, listen="127.0.0.1:0"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    hand = Hand(ctx)
    hand.start()
    port = server.servers[0].sockets[0].getsockname()[1]
    ctx = replace(ctx, config=replace(ctx.config, listen=f"127.0.0.1:{port}"))
    flask_app.extensions["garage_web"] = ctx  # pages say where they are
    try:
        yield Site(ctx, f"http://127.0.0.1:{port}", admin, hand)
    finally:
        hand.stopped.set()
        hand.join(5)
        server.should_exit = True
        thread.join(10)
        ctx.db.close()


def populate(site: Site, who: Caller) -> dict[str, str]:
    """Machines in many states, as in a garage that is used; ids by name."""
    keys.add(site.ctx, who, "laptop", ALICE_KEY)
    ids = {name: site.make(who, name) for name in ("arm-test", "lidar-log", "bad-driver", "slow-03")}
    site.wait(ids["arm-test"], "ready")
    site.wait(ids["lidar-log"], "ready")
    machines.stop(site.ctx, who, ids["lidar-log"])
    site.wait(ids["lidar-log"], "stopped")
    site.wait(ids["bad-driver"], "failed")
    now = time.time()
    site.set(ids["arm-test"], lease_until=now + 5.4 * 86_400, created_at=now - 140_000, ready_at=now - 139_979.0)
    site.set(ids["lidar-log"], lease_until=now + 0.6 * 86_400, lease_warned=True)
    site.set(ids["arm-test"], cold_reason="user_data", cold_detail="bootcmd, write_files /etc/sysctl.d/90-ros.conf")
    _fill(site)
    return ids


def bring_volumes(site: Site, who: Caller, ids: dict[str, str]) -> None:
    """One that a running machine has mounted, one that is free, one that is being made; a copy of a disk."""
    for name, gib in (("recordings", 60), ("maps", 40), ("coming", 10)):
        volumes.create(site.ctx, who, NewVolume(name, gib, machine="arm-test" if name == "recordings" else None))
    with site.ctx.db.write() as session:
        node = session.get_one(Node, site.ctx.config.node)
        rows = {row.name: row for row in session.scalars(select(Volume))}
        for name in ("recordings", "maps"):
            volume_notes.note(session, site.ctx, node, VolumeMade(rows[name].id, rows[name].size_gib))
        volume_notes.note(session, site.ctx, node, VolumeAttached(rows["recordings"].id, ids["arm-test"]))
        hint = "unmount it there first (umount {path}), or stop the machine"
        mounted = GarageError("in_use", "the machine has {volume} mounted, or uses it otherwise", hint=hint,
                              volume="recordings", path=by_id(rows["recordings"].id))  # fmt: skip
        rows["recordings"].error = mounted.as_dict()
    keep_some(site, who, rows["maps"].id)
    disk_copies.ask(site.ctx, who, "lidar-log")
    task = image_tasks.claim(site.ctx, "elsewhere/1")
    assert task is not None
    disk_copies.done(site.ctx, task, 812 << 20, "5c" * 32)


def keep_some(site: Site, who: Caller, volume: str) -> None:
    """Three snapshots of a volume: one that is ready, one for which there was no room, one that is being made."""
    full = GarageError(
        "disk_full", "the node has no disk space left", hint="delete machines or images that nobody needs"
    )
    for name in ("spring", "before-update", "after-tour"):
        made = volume_snapshots.create(site.ctx, who, volume, name)
        told = {"spring": VolumeCopied(volume, made.id, 11 << 30, How.OFF),
                "before-update": VolumeNotCopied(volume, made.id, full.as_dict())}.get(name)  # fmt: skip
        with site.ctx.db.write() as session:
            node = session.get_one(Node, site.ctx.config.node)
            assert told is None or volume_notes.note(session, site.ctx, node, told)


def _fill(site: Site) -> None:
    """Three machines in a pool, one of which still starts, and one in another."""
    with site.ctx.db.write() as session:
        for size, warm in (("small", True), ("small", True), ("small", False), ("tiny", True)):
            spare = pools.make(session, site.ctx, site.ctx.config.node, Kind("ab" * 32, size))
            spare.warm = warm
            session.flush()


def bring_images(site: Site, who: Caller) -> None:
    """Images of hers, one of them damaged, one on its way and one that did not come."""
    ctx, url = site.ctx, "https://cloud.example.org/images/disk.qcow2"
    for number, (name, visibility) in enumerate(
        (("ubuntu-24.04", "all"), ("my-robots", "own"), ("refused", "own"), ("coming", "own"))
    ):
        image_tasks.bring(ctx, who, NewImage(name, f"{number:x}" * 64, url=url, visibility=visibility))
        task = image_tasks.claim(ctx, "elsewhere/1")
        assert task is not None
        manifest = {"sha256": f"{number}f" * 32, "boot": "uefi", "bytes": 600 << 20, "virtual_bytes": 3 << 30}
        if name == "coming":
            image_tasks.progress(ctx, task, "fetch", 240 << 20, 600 << 20)
        elif name == "refused":
            image_tasks.failed(ctx, task, refused("backing_file"))
        else:
            image_tasks.done(ctx, task, manifest)
    images.verified(ctx, "1f" * 32, damaged="disk.qcow2")
