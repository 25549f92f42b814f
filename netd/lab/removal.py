"""Removing labs: by what carries their name, not by what somebody remembers of them."""

from __future__ import annotations

import time

from netd.lab import instances, processes
from netd.lab.lines import prefix
from netd.lab.state import LabState, labs, started
from netd.shell.run import run

ORPHAN_SECONDS = 0.1
"""How long a command of a builder that was killed may go on by itself: they take a few ms."""


def remove(name: str) -> bool:
    """Remove all that carries this lab's name, also after a crash; False when there was nothing."""
    state = LabState(name)
    with state.locked():
        return remove_locked(state)


def remove_abandoned() -> list[str]:
    """Remove labs whose process was killed; labs of the command line stay."""
    removed = []
    for name in labs():
        owner = LabState(name).read().get("owner")
        if owner and started(owner[0]) != owner[1] and remove(name):
            removed.append(name)
    return removed


def remove_locked(state: LabState) -> bool:
    """`remove` for who holds the lock."""
    names = namespaces_of(state.name)
    if not names and not state.exists():
        return False
    found = state.read()
    whole, mine = found.get("ready", False), found.get("instances", "")
    crashes = instances.crash_folders(processes.inside(names))
    while True:
        processes.end(state.folder, names)
        run(["ip", "-force", "-batch", "-"], input="".join(f"netns delete {name}\n" for name in names), check=False)
        if whole:
            break
        time.sleep(ORPHAN_SECONDS)  # a killed builder's last command may have been at work
        whole, names = True, namespaces_of(state.name)
    instances.remove_files(mine, prefix(state.name), crashes)
    state.remove()
    return True


def namespaces_of(name: str) -> list[str]:
    if not processes.NETNS.is_dir():
        return []
    return sorted(path.name for path in processes.NETNS.iterdir() if path.name.startswith(prefix(name)))
