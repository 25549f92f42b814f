"""Copies of disks, on this server and, as a script, on a node: a file is whole under its name, or not there.

A copy is written under another name, synced, and renamed when it is complete. Whoever begins a copy removes what an earlier attempt left:
a worker that was stopped in the middle of one and wakes up later finds nothing to rename.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from garage.errors import GarageError
from garage.shell.disk_files import sync, translated
from garage.shell.run import run

COPIED = 3600.0
"""Seconds that a copy of a disk may take."""
COPIED_PER_GIB = 60.0
"""More seconds for each GiB of a large one: 17 MiB/s."""
SCRIPT = """rm -f {target}.*.part; trap 'rm -f {target}.$$.part' EXIT
cp --reflink=auto --sparse={sparse} -T {source} {target}.$$.part; chmod {mode} {target}.$$.part
[ "$(stat -c %s {target}.$$.part)" -ge {size} ] || truncate -s {size} {target}.$$.part
sync {target}.$$.part; mv -fT {target}.$$.part {target}; sync $(dirname {target})
"""
"""`copied` on a node, within a script that holds a lock."""
KEEP = """[ ! -e {target} ] || exit 0
chmod 600 {target}.live.part; sync {target}.live.part; mv -fT {target}.live.part {target}; sync {folder}
"""
"""`kept` on a node, likewise."""


def copied(
    source: Path, target: Path, mode: int, *, sparse: Literal["auto", "always"] = "auto", at_least: int = 0
) -> None:
    """`target`, in a folder that is there, becomes a copy of `source`, of `at_least` so many bytes. Raises `disk_full`, `tool_failed`."""
    draft = draft_of(target)
    try:
        remove_drafts(target)
        size = source.stat().st_size
        argv = ["cp", "--reflink=auto", f"--sparse={sparse}", "-T", str(source), str(draft)]
        run(argv, timeout=patience(size))
        draft.chmod(mode)
        if size < at_least:
            os.truncate(draft, at_least)
        sync(draft)
        draft.rename(target)
        sync(target.parent)
    except (OSError, GarageError) as error:
        draft.unlink(missing_ok=True)
        raise translated(error, target) from None


def kept(target: Path, mode: int) -> None:
    """This process's draft, filled by somebody else, is `target` from now on, unless that is there. Raises `disk_full`, `tool_failed`."""
    draft = draft_of(target)
    try:
        if target.exists():
            return
        draft.chmod(mode)
        sync(draft)
        draft.rename(target)
        sync(target.parent)
    except OSError as error:
        raise translated(error, target) from None


def patience(size: int) -> float:
    """Seconds that a copy of so many bytes may take."""
    return COPIED + COPIED_PER_GIB * (size >> 30)


def draft_of(target: Path) -> Path:
    """The process is in its name: of two workers, the one that comes later removes the other's."""
    return target.with_name(f"{target.name}.{os.getpid()}.part")


def live_draft(target: Path) -> Path:
    """On a node, for QEMU to fill."""
    return target.with_name(f"{target.name}.live.part")


def remove_drafts(target: Path) -> None:
    for left in target.parent.glob(f"{target.name}.*.part"):
        left.unlink(missing_ok=True)
