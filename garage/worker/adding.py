"""Makes servers nodes, one at a time: every step looks first, so that any number of interrupted tries come to the same end."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import platform
import secrets
import socket
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from garage.config import Config
from garage.core.node_checks import Server, Wish, findings, parse
from garage.core.ssh_target import parse_target
from garage.core.types import NodeAccess, NodeFacts
from garage.errors import N_, GarageError
from garage.services import adding, nodes, renewing
from garage.services.adding import SSH_KEY, Task
from garage.services.context import Context
from garage.shell import node_scripts as scripts
from garage.shell.authority import FOLDER, Authority, Issued
from garage.shell.own_pki import OwnPki
from garage.shell.remote_shell import RemoteShell
from garage.worker.netd_files import netd_files
from garage.worker.signs import saying

log = logging.getLogger(__name__)
LOOK = 1.0
"""Seconds between looks for a task; nobody waits for less in what takes minutes."""
RENEW = 60.0
"""Seconds between looks for a node whose certificates or netd are old."""
TELL = 1.0
"""Seconds between two words about a step."""
PACKAGES_SECONDS, NETD_SECONDS, REPORT_SECONDS = 3600.0, 900.0, 60.0
LINES = 400
"""Lines that node-setup says about a new server, roughly: what its bar is measured by."""
ROLES = "hypervisor network"
Open = Callable[[NodeAccess, Path], RemoteShell]


class Adder:
    """One per worker process, in a thread of its own; needs the controller's keys, as root."""

    def __init__(self, ctx: Context, config: Config, open_shell: Open = RemoteShell) -> None:
        self._ctx, self._config, self._open = ctx, config, open_shell
        self._server = f"{socket.gethostname()[:30]}.{_machine_id()[:8]}"
        self._worker = f"{self._server}/{os.getpid()}"
        self._looked = 0.0

    def start(self, stop: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self._for_ever, args=(stop,), name="adding", daemon=True)
        thread.start()
        return thread

    def _for_ever(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK):
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001  (a database that is away must not end the thread)
                log.warning("adding nodes: %s", error)

    def turn(self) -> bool:
        """Carry out one task; False when there was none."""
        self._renew()
        task = adding.claim(self._ctx, self._worker, ended=self._ended)
        if task is None:
            return False
        log.info("%s %s at %s", task.kind, task.name, task.address)
        try:
            (self._add if task.kind == "add" else self._remove)(task)
        except GarageError as error:
            log.warning("%s %s: %s", task.kind, task.name, error)
            if error.code != "version_conflict":
                adding.failed(self._ctx, task, error)
        except Exception as error:
            adding.failed(
                self._ctx, task, GarageError("internal", N_("an error of ours: {reason}"), reason=str(error)[:300])
            )
            raise
        return True

    def _renew(self) -> None:
        """Now and then; without a kit there are no other nodes."""
        if self._looked and time.monotonic() - self._looked < RENEW:
            return
        self._looked = time.monotonic()
        if (kit := self._kit()) is not None:
            renewing.renew(self._ctx, kit)

    def _kit(self) -> str | None:
        path = self._config.home / "kit" / "digest"
        return path.read_text().strip() if path.exists() else None

    def _ended(self, worker: str) -> bool:
        """A process of this very server that is no more: its task need not wait until it has been silent for long."""
        server, _, pid = worker.rpartition("/")
        return server == self._server and pid.isdigit() and not Path("/proc", pid).exists()

    def _add(self, task: Task) -> None:
        with self._shell(task) as shell, self._alive(task):
            adding.progress(self._ctx, task, "connect", 0.0)
            shell.run(["true"], timeout=30)
            server = self._check(task, shell)
            self._copy(task, shell)
            self._script(task, "packages", shell, scripts.NODE_SETUP, ROLES, PACKAGES_SECONDS)
            self._certify(task, shell)
            self._register(task, shell, server)
            self._script(task, "netd", shell, scripts.GARAGE_SETUP, "node", NETD_SECONDS)
            self._await_report(task, shell)
        adding.done(self._ctx, task, self._kit() or "")

    def _shell(self, task: Task) -> RemoteShell:
        access = NodeAccess(task.name, "", task.address, task.host_key)
        return self._open(access, self._config.home / SSH_KEY)

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _check(self, task: Task, shell: RemoteShell) -> Server:
        """Raises `unfit_node` before anything is changed."""
        adding.progress(self._ctx, task, "check", 0.0)
        url = urlsplit(adding.controller_url(self._ctx))
        off = self._clock_off(shell)
        words = ["bash", "-s", "--", str(self._config.home), url.hostname or "", str(url.port or 443)]
        server = parse(shell.run(words, input=scripts.PROBE, timeout=60).stdout, off)
        faults = findings(server, self._wish(url.geturl()))
        adding.found(self._ctx, task, [fault.as_dict() for fault in faults])
        errors = [fault for fault in faults if fault.level == "error"]
        if errors:
            raise GarageError(
                "unfit_node",
                N_("{name} cannot become a node yet: {faults}"),
                hint=N_("mend that, then the same line again; nothing was changed there"),
                name=task.name,
                faults="; ".join(fault.message for fault in errors),
            )
        return server

    def _clock_off(self, shell: RemoteShell) -> float:
        """By the middle of the question's way, so that a slow line is no wrong clock."""
        before = self._ctx.clock()
        said = shell.run(["date", "+%s.%N"], timeout=30).stdout.strip()
        after = self._ctx.clock()
        try:
            theirs = float(said)
        except ValueError:
            theirs = 0.0
        return theirs - (before + after) / 2

    def _wish(self, url: str) -> Wish:
        pem = hashlib.sha256(self._authority.pem).hexdigest()
        return Wish(platform.machine(), self._config.instance, _machine_id(), pem, url)

    def _copy(self, task: Task, shell: RemoteShell) -> None:
        """The kit, unless it is there already."""
        adding.progress(self._ctx, task, "copy", 0.0)
        kit, home = self._config.home / "kit", str(self._config.home)
        if not (kit / "digest").exists():
            raise GarageError("config", N_("{path} cannot be read"), hint=N_("run “make up” first"), path=str(kit))
        there = shell.run(["cat", f"{home}/kit/digest"], timeout=30, check=False).stdout
        if there != (kit / "digest").read_text():
            shell.put(f"{home}/kit.tgz", _packed(kit), 0o600)
            shell.run(["bash", "-s", "--", home], input=scripts.UNPACK, timeout=120)

    def _script(self, task: Task, step: str, shell: RemoteShell, script: str, word: str, seconds: float) -> None:
        """A long one, its lines told as they come."""
        told, lines = 0.0, 0

        def hear(line: str) -> None:
            nonlocal told, lines
            lines += 1
            if time.monotonic() - told > TELL:
                told = time.monotonic()
                adding.progress(self._ctx, task, step, lines / LINES, line)

        adding.progress(self._ctx, task, step, 0.0)
        words = ["bash", "-c", f"{script} 2>&1", "-", str(self._config.home), word]
        shell.run(words, timeout=seconds, on_line=hear)

    def _alive(self, task: Task) -> contextlib.AbstractContextManager[None]:
        return saying(lambda: adding.alive(self._ctx, task), adding.DEAD_AFTER / 4)

    @property
    def _authority(self) -> Authority:
        return Authority(self._config.home / FOLDER, self._config.instance)

    def _certify(self, task: Task, shell: RemoteShell) -> None:
        """libvirt's and QEMU's certificates for keys that the node makes, who may come, and what is void."""
        adding.progress(self._ctx, task, "certificate", 0.0)
        authority, host = self._authority, parse_target(task.address).host
        OwnPki(authority, self._config.node).place(self._revocations())
        said = shell.run(["bash", "-s"], input=scripts.REQUESTS, timeout=60).stdout
        end = "-----END CERTIFICATE REQUEST-----\n"
        requests = [f"{part}{end}".encode() for part in said.split(end)[:2]]
        if len(requests) != 2:
            raise GarageError("invalid_field", N_("the node's certificate request is not usable"))
        names = [task.name, host]
        made = {
            "libvirt": authority.issue(requests[0], task.name, names, client=False),
            "qemu": authority.issue(requests[1], f"{task.name} qemu", names, client=True),
        }
        for use, one in made.items():
            adding.certified(self._ctx, task.name, use, one.serial, one.not_after)
        self._place(shell, authority, made["libvirt"], made["qemu"])
        self._script(task, "certificate", shell, scripts.NODE_SETUP, f"{ROLES} remote", PACKAGES_SECONDS)
        shell.run(scripts.RELOAD_TLS, timeout=30)

    def _revocations(self) -> bytes:
        return self._authority.revocations(adding.revoked(self._ctx))

    def _place(self, shell: RemoteShell, authority: Authority, libvirt: Issued, qemu: Issued) -> None:
        revoked = self._revocations()
        for path, data in (
            ("/etc/pki/CA/cacert.pem", authority.pem),
            ("/etc/pki/CA/cacrl.pem", revoked),
            ("/etc/pki/libvirt/allowed", authority.allowed.encode()),
            ("/etc/pki/libvirt/servercert.pem", libvirt.pem),
            ("/etc/pki/qemu/ca-cert.pem", authority.pem),
            ("/etc/pki/qemu/ca-crl.pem", revoked),
            ("/etc/pki/qemu/server-cert.pem", qemu.pem),
            ("/etc/pki/qemu/client-cert.pem", qemu.pem),
        ):
            shell.put(path, data, 0o644)

    def _register(self, task: Task, shell: RemoteShell, server: Server) -> None:
        """The row first: netd's token is good by the time netd reads it."""
        adding.progress(self._ctx, task, "register", 0.0)
        home = str(self._config.home)
        token = shell.run(["cat", f"{home}/netd/token"], timeout=30, check=False).stdout.strip()
        if len(token) > 100 or nodes.authenticate(self._ctx, token) != task.name:
            token = secrets.token_urlsafe(32)
        facts = NodeFacts(
            server.vcpus, server.memory_mib, server.disk_free_gib, server.disk_total_gib, server.virtualisation
        )
        adding.register(self._ctx, task, token, hypervisor_uri(task.address), facts)
        for path, data, mode in netd_files(self._config, task.name, adding.controller_url(self._ctx), token):
            shell.put(path, data, mode)
        for name in ("office.networks", "allow.networks"):  # what an admin of the node has written there stays
            own = self._config.home / name
            if own.exists() and shell.run(["test", "-e", f"{home}/{name}"], timeout=30, check=False).returncode:
                shell.put(f"{home}/{name}", own.read_bytes(), 0o644)

    def _await_report(self, task: Task, shell: RemoteShell) -> None:
        since, end = self._ctx.clock(), time.monotonic() + REPORT_SECONDS
        while not adding.has_reported(self._ctx, task.name, since):
            if time.monotonic() > end:
                tail = shell.run(["tail", "-n", "5", f"{self._config.home}/log/netd/current"], timeout=30, check=False)
                raise GarageError(
                    "network_error",
                    N_("netd on {name} does not report: {reason}"),
                    hint=N_("there: netd doctor"),
                    name=task.name,
                    reason=tail.stdout[-300:],
                )
            adding.progress(self._ctx, task, "report", 1 - (end - time.monotonic()) / REPORT_SECONDS)
            time.sleep(0.5)

    # --- and back ----------------------------------------------------------------------------------------------------

    def _remove(self, task: Task) -> None:
        """Whether or not the server answers; what could not be done there is said."""
        left: list[str] = []
        adding.void(self._ctx, task)
        revoked = self._revocations()
        key = (self._config.home / SSH_KEY.with_name(f"{SSH_KEY.name}.pub")).read_text().split()[1]
        try:
            with self._shell(task) as shell, self._alive(task):
                shell.run(["bash", "-s", "--", str(self._config.home), key], input=scripts.FORGET, timeout=180)
        except GarageError as error:
            left.append(f"{task.name}: {error.message}")
        OwnPki(self._authority, self._config.node).place(revoked)
        for access in adding.others(self._ctx, task.name):
            try:
                with self._open(access, self._config.home / SSH_KEY) as shell:
                    for path in ("/etc/pki/CA/cacrl.pem", "/etc/pki/qemu/ca-crl.pem"):
                        shell.put(path, revoked, 0o644)
                    shell.run(scripts.RELOAD_TLS, timeout=30)
            except GarageError as error:
                left.append(f"{access.name}: {error.message}")
        adding.gone(self._ctx, task, left)


def _machine_id() -> str:
    path = Path("/etc/machine-id")
    return path.read_text().strip() if path.exists() else "?"


def hypervisor_uri(address: str) -> str:
    host = parse_target(address).host
    return f"qemu+tls://{f'[{host}]' if ':' in host else host}/system"


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:  # wheels are packed already
        tar.add(folder, ".")
    return buffer.getvalue()
