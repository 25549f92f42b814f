"""What is known of labs that are up: /run/garage-lab/NAME/, removed with the lab.

`topology.json` is what was built, `state.json` who built it and what is broken, LINE.json, LINE.pid, LINE.sock and LINE.log belong
to the forwarders, `overlay/NODE/` is the GARAGE_HOME of a node. A lab without `ready` in its state was being built when its builder
died. Folders may be entered by others (dnsmasq reads its hosts as a user of its own), not listed; what is secret has its own mode.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netd.errors import NetdError
from netd.lab.model import Impairment, Line, Nat, Overlay, Site, Topology
from netd.lab.parse import LAB_LENGTH, label

ROOT = Path("/run/garage-lab")


class LabState:
    """One lab's folder."""

    def __init__(self, name: str, root: Path = ROOT) -> None:
        self.name, self.root = label("lab", name, LAB_LENGTH), root
        self.folder = root / name

    def exists(self) -> bool:
        return self.folder.is_dir()

    def read(self) -> dict[str, Any]:
        """`{}` while nothing whole was written."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def write(self, **changes: Any) -> None:
        self._replace("state.json", json.dumps({**self.read(), **changes}))

    def begin(self, topology: Topology, owner: list[int] | None, netem: bool, instances: str) -> None:
        """`instances`: what all instance ids of the lab begin with (see instances.py)."""
        for folder in (self.root, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)
        self._replace("topology.json", json.dumps(asdict(topology)))
        self.write(owner=owner, netem=netem, broken={}, ready=False, instances=instances)

    def topology(self) -> Topology:
        try:
            return restore(json.loads((self.folder / "topology.json").read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NetdError(
                "config", f"lab {self.name} is damaged: {error}", hint=f"netd lab down {self.name}"
            ) from None

    def impair(self, line: str, wanted: Impairment) -> None:
        self._replace(f"{line}.json", json.dumps(asdict(wanted)))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _replace(self, name: str, text: str) -> None:
        """Whole or not at all."""
        new = self.folder / f".{name}.new"
        new.write_text(text)
        new.replace(self.folder / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One builder, breaker or remover of any lab at a time, for a fraction of a second; the lock ends with its process."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o711)
        with open(self.root / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def labs(root: Path = ROOT) -> list[str]:
    """Names of labs that are up, or half up."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def started(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0: it is gone. With the pid it names one process for ever."""
    try:
        row = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if row[0] == "Z" else int(row[19])


def myself() -> list[int]:
    return [os.getpid(), started(os.getpid())]


def restore(row: dict[str, Any]) -> Topology:
    """The inverse of `dataclasses.asdict` for a Topology that has been through JSON."""
    sites = tuple(Site(site["name"], tuple(site["nodes"]), tuple(map(_line, site["lines"]))) for site in row["sites"])
    carriers = {name: _nat(value) for name, value in row["carriers"].items()}
    return Topology(row["name"], sites, Overlay(**row["overlay"]), carriers, row["about"])


def _line(row: dict[str, Any]) -> Line:
    nat = _nat(row["nat"]) if row["nat"] else None
    return Line(**{**row, "impairment": Impairment(**row["impairment"]), "nat": nat, "block": tuple(row["block"])})


def _nat(row: dict[str, Any]) -> Nat:
    ports = (row["ports"][0], row["ports"][1]) if row["ports"] else None
    return Nat(row["kind"], row["filtering"], ports, tuple((port, node) for port, node in row["forward"]))
