"""Instance ids of a laboratory's nodes: two characters of the lab's own and one per node.

Namespaces keep interfaces apart, but FRR's folders and WireGuard's sockets are the server's: what is there is known by instance id
alone, so no two labs, tests or garages on one server may share one.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from netd.core.overlay import DIGITS
from netd.errors import NetdError
from netd.lab.state import LabState, labs
from netd.shell.routes import CRASHES, DAEMONS

PLACES = (("etc/frr", "garage_"), ("run/frr", "garage_"), ("run/wireguard", "gl"), ("sys/class/net", "gb"))
"""Folders of the server in which names carry an instance id, and what stands before it."""
FILES = ("etc/frr/garage_{}?", "run/frr/garage_{}?", "var/lib/frr/garage_{}?", "run/wireguard/gl{}*.sock")
ETC_NETNS = Path("/etc/netns")
MAX_NODES = len(DIGITS)


def draw(root: Path = Path("/"), choice: Callable[[str], str] = secrets.choice) -> str:
    """Two characters that no instance id on this server begins with. Call it with the laboratories' lock held."""
    used = {LabState(name).read().get("instances", "") for name in labs()}
    for folder, before in PLACES:
        names = [path.name for path in (root / folder).iterdir()] if (root / folder).is_dir() else []
        used |= {name[len(before) :][:2] for name in names if name.startswith(before)}
    for _ in range(10_000):
        if (drawn := choice(DIGITS) + choice(DIGITS)) not in used:
            return drawn
    raise NetdError("config", "no instance ids are left on this server", hint="netd lab status; netd lab down NAME")


def instance(mine: str, number: int) -> str:
    """Of node `number`, 0 for the registry's; NetdError when there are too many."""
    if not 0 <= number < MAX_NODES:
        raise NetdError("config", f"an overlay in a laboratory has at most {MAX_NODES} nodes", hint="up --bare")
    return mine + DIGITS[number]


def crash_folders(pids: Iterable[int]) -> tuple[Path, ...]:
    """Where FRR's daemons among these processes would leave a trace if they crashed; nobody else removes them."""
    return tuple(path for pid in pids for name in DAEMONS if (path := CRASHES / f"{name}.{pid}").is_dir())


def remove_files(mine: str, namespaces: str, more: Iterable[Path] = (), root: Path = Path("/")) -> None:
    """What a lab's processes left outside its folder. `mine`: its two characters; `namespaces`: what its namespaces begin with."""
    patterns = [(root, pattern.format(mine)) for pattern in FILES if mine]
    patterns += [(ETC_NETNS, f"{namespaces}*")] if namespaces else []
    found = [path for folder, pattern in patterns for path in folder.glob(pattern)]
    for path in (*found, *more):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
