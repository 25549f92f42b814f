"""Where a machine's disk is copied from: this server, or its node, over the connection by which the worker is root there."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.disk_files import MACHINE_ID, checked, disk_is_full
from garage.shell.run import run
from garage.shell.ways import Ways
from garage.shell.workplace import Told

COPIED = 3600.0
"""Seconds that copying a disk may take on this server."""
LOOK = 0.5
Source = Callable[[Path, int, Told], None]
"""Puts the file at a path that there is not yet; (path, bytes that it may have at most, told). Raises a GarageError."""


def path_of(home: Path, machine: str, snapshot: str = "") -> Path:
    """Of a machine's disk, or of one of its snapshots; the same on all nodes."""
    if snapshot:
        return home / "snapshots" / checked(MACHINE_ID, machine) / f"{checked(MACHINE_ID, snapshot)}.qcow2"
    return home / "machines" / checked(MACHINE_ID, machine) / "disk.qcow2"


def on_this_server(disk: Path) -> Source:
    def copy(target: Path, most: int, told: Told) -> None:
        told("copy", 0, 0)
        if not disk.exists():
            raise _not_there("")
        if disk.stat().st_size > most:
            raise _too_large()
        run(["cp", "--reflink=auto", "--sparse=always", "-T", str(disk), str(target)], timeout=COPIED)

    return copy


def on_node(node: NodeAccess, ways: Ways, disk: Path) -> Source:
    """Holes come as zeros."""

    def copy(target: Path, most: int, told: Told) -> None:
        shell = ways.shell(node)
        said = shell.ask(f"stat -c %s {disk} 2>/dev/null || echo 0\n").stdout.strip()
        total = int(said) if said.isdigit() and len(said) < 16 else 0
        if not total:
            raise _not_there(node.name)
        if total > most:
            raise _too_large()
        with target.open("xb") as file:
            _stream(shell.argv(["head", "-c", str(total), str(disk)]), file.fileno(), total, node.name, told)
        if target.stat().st_size != total:
            raise _broke(node.name, "")

    return copy


def _stream(argv: list[str], handle: int, total: int, name: str, told: Told) -> None:
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                said = process.communicate(timeout=LOOK)[1].decode("utf-8", "replace")[-300:]
                break
            told("copy", min(os.fstat(handle).st_size, total), total)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise disk_is_full() if "No space left" in said else _broke(name, said.strip())


def _not_there(node: str) -> GarageError:
    return GarageError(
        "unavailable", N_("the machine's disk is not where it should be"), hint=N_("has it ever started?"), node=node
    )


def _too_large() -> GarageError:
    return GarageError("disk_full", N_("the machine's disk takes more room than there may be for it"))


def _broke(node: str, reason: str) -> GarageError:
    return GarageError(
        "hypervisor_away",
        N_("copying the disk from {node} broke off: {reason}"),
        hint=N_("try again when the node is back"),
        node=node,
        reason=reason,
    )
