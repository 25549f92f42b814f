"""What libvirt does not tell of a server or do for it: whether KVM works, which boot it is, the files of serial consoles."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from garage.core.console import MAX_BYTES
from garage.core.tiny_guest import Kind, build
from garage.errors import N_, GarageError
from garage.shell import console_file, kvm
from garage.shell.disk_files import MACHINE_ID, checked
from garage.shell.node_shell import NodeShell, quoted, quoted_address

log = logging.getLogger(__name__)
BOOT_ID = re.compile(r"[0-9a-f-]{36}")
PER_LOOK = 16
"""Consoles that are fetched from a node at one look, MAX_BYTES of each; the others follow at the next."""
PROBE = """grep -qwE 'vmx|svm' /proc/cpuinfo && [ -c /dev/kvm ] || { echo tcg; exit 0; }
kernel=$(mktemp); trap 'rm -f "$kernel"' EXIT; cat >"$kernel"; status=0
timeout 5 qemu-system-x86_64 -machine pc -accel kvm -m 32 -nodefaults -no-user-config -display none \\
  -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$kernel" </dev/null >/dev/null 2>&1 || status=$?
if [ $status = 33 ]; then echo kvm; else echo tcg; fi
"""
"""As `kvm.probe`; 33 is `kvm.PROVED`."""
PREPARE = "mkdir -p -m 750 {folder}; umask 027; : >>{log}\n"
SIZES = "cd {folder} 2>/dev/null || exit 0; stat -c '%n %s %Y' -- *.log 2>/dev/null || true\n"
FETCH = """cd {folder}; for log in {names}; do echo "$log"; tail -c {limit} -- "$log" 2>/dev/null | base64 -w 0; echo; done
"""
TAIL = """cd {folder} 2>/dev/null || exit 0; [ -f {name} ] || exit 0
{{ [ "$(stat -c %s {name})" -gt 2048 ] || [ ! -f {name}.0 ] || tail -c {limit} {name}.0
tail -c {limit} {name}; }} | tail -c {limit} | base64 -w 0
"""
KNOCK = """said=$(timeout {seconds:g} bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>&1) && status=0 || status=$?
case "$status $said" in 0*|*refused*) echo there ;; esac
"""
REACH = 4.0
"""Seconds."""
REMOVE = "rm -f {log} {log}.[0-9]\n"


class Host(Protocol):
    """A server beside its libvirt. `hypervisor_away` when it does not answer."""

    def virtualisation(self) -> str:
        """ "kvm" where it really works, else "tcg"."""

    def boot_id(self) -> str: ...

    def prepare_console(self, path: Path) -> None:
        """Before virtlogd writes there."""

    def keep_consoles(self, paths: Sequence[Path]) -> None:
        """Have the web process read these logs, here, below GARAGE_HOME."""

    def console(self, path: Path) -> bytes:
        """At most `core.console.MAX_BYTES`; hostile."""

    def forget_console(self, path: Path) -> None: ...

    def check_reach(self, name: str, address: str, port: int) -> None:
        """`network_error` when packets from here to a port of the node `name` are lost. A refusal is an answer: nothing listens yet.
        QEMU would wait for minutes, and its guest with it."""


class LocalHost:
    """The controller's own server."""

    def virtualisation(self) -> str:
        works = kvm.works()
        if kvm.open_to_qemu():
            log.info("/dev/kvm could not be opened by QEMU: its mode is 0666 now")
        return "kvm" if works else "tcg"

    def boot_id(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def prepare_console(self, path: Path) -> None:
        console_file.prepare(path)

    def keep_consoles(self, paths: Sequence[Path]) -> None:
        for path in paths:
            console_file.keep_readable(path)

    def console(self, path: Path) -> bytes:
        return console_file.tail(path)

    def forget_console(self, path: Path) -> None:
        console_file.remove(path)

    def check_reach(self, name: str, address: str, port: int) -> None:
        try:
            socket.create_connection((address, port), REACH).close()
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise _unreached("localhost", name, port) from error


class RemoteHost:
    """A node over SSH. Its console logs are copied to the folder `copies` here, where the web process reads them."""

    def __init__(self, shell: NodeShell, copies: Path) -> None:
        self._shell, self._copies = shell, copies
        self._probed: tuple[str, str] | None = None
        self._sizes: dict[str, str] = {}

    def virtualisation(self) -> str:
        boot = self.boot_id()
        if self._probed is None or self._probed[0] != boot:
            said = self._shell.ask(PROBE, build(Kind.EXIT), 30.0).stdout.strip()
            self._probed = boot, "kvm" if said == "kvm" else "tcg"
        return self._probed[1]

    def boot_id(self) -> str:
        said = self._shell.ask("cat /proc/sys/kernel/random/boot_id").stdout.strip()
        if not BOOT_ID.fullmatch(said):
            raise self._shell.nonsense()
        return said

    def prepare_console(self, path: Path) -> None:
        self._shell.ask(PREPARE.format(folder=quoted(path.parent), log=quoted(path)))

    def keep_consoles(self, paths: Sequence[Path]) -> None:
        """Those whose log on the node changed since the last look."""
        if not paths:
            return
        wanted, folder = {path.name for path in paths}, quoted(paths[0].parent)
        said = self._shell.ask(SIZES.format(folder=folder)).stdout.splitlines()
        sizes = {name: rest for name, _, rest in (line.partition(" ") for line in said) if name in wanted}
        kept = {name for name in sizes if (self._copies / name).exists()}
        new = [name for name, size in sizes.items() if name not in kept or self._sizes.get(name) != size][:PER_LOOK]
        if not new:
            return
        script = FETCH.format(folder=folder, names=" ".join(new), limit=MAX_BYTES)
        lines = self._shell.ask(script).stdout.splitlines()
        for name, text in zip(lines[::2], lines[1::2], strict=False):
            if name in new:
                console_file.replace(self._copies / name, self._decoded(text))
        known = {name: size for name, size in self._sizes.items() if name in sizes}
        self._sizes = known | {name: sizes[name] for name in new}

    def _decoded(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)[-MAX_BYTES:]
        except (binascii.Error, ValueError):
            raise self._shell.nonsense() from None

    def console(self, path: Path) -> bytes:
        script = TAIL.format(folder=quoted(path.parent), name=_log_name(path), limit=MAX_BYTES)
        data = self._decoded(self._shell.ask(script).stdout.strip())
        if data:
            console_file.replace(self._copies / path.name, data)
        return data

    def forget_console(self, path: Path) -> None:
        self._shell.ask(REMOVE.format(log=quoted(path)))
        self._sizes.pop(path.name, None)
        console_file.remove(self._copies / path.name)

    def check_reach(self, name: str, address: str, port: int) -> None:
        said = self._shell.ask(
            KNOCK.format(seconds=REACH, address=quoted_address(address), port=int(port))
        ).stdout.strip()
        if said != "there":
            raise _unreached(self._shell.name, name, port)


def _unreached(source: str, target: str, port: int) -> GarageError:
    return GarageError(
        "network_error",
        N_("{source} does not reach {target} at port {port}"),
        hint=N_("let the nodes reach each other at TCP ports 49152 to 49215"),
        source=source,
        target=target,
        port=port,
    )


def _log_name(path: Path) -> str:
    checked(MACHINE_ID, path.stem)
    return f"{path.stem}.log"
