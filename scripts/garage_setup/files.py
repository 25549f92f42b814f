"""Writing files so that an interruption leaves the old or the new one, and removing trees with care."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from garage_setup.problem import SetupError


def write(path: Path, text: str, mode: int = 0o644) -> bool:
    """Make `path` hold `text`; True if it did not before."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return True


def link(path: Path, target: Path) -> None:
    """Make `path` a link to `target`, at no moment missing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.rename(path)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours; never follows a mount, refuses what others have mounted below it."""
    path = path.resolve()
    below = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mounted = [mount for mount in below if mount.startswith(f"{path}/")]
    if mounted:
        raise SetupError(f"{mounted[0]} is mounted below {path}", hint=f"umount {mounted[0]}")
    if path.is_mount():  # a disk of its own stays
        for child in path.iterdir():
            if child.name != "lost+found":
                remove_tree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    elif path.exists():
        shutil.rmtree(path)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, empty if there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
