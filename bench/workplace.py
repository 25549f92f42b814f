"""A folder below GARAGE_HOME for a benchmark's files and notes of what it made elsewhere, so that the run after a killed one removes it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workplace:
    """`folder` is where libvirt's QEMU may read, too."""

    folder: Path

    @contextmanager
    def noted(self, kind: str, name: str, remove: Callable[[str], None]) -> Iterator[None]:
        """A thing outside of the folder that is made in the block, and removed by `remove(name)` at its end."""
        note = self.folder / kind
        note.write_text(name)
        try:
            yield
        finally:
            remove(name)
            note.unlink()


@contextmanager
def workplace(home: Path, removers: dict[str, Callable[[str], None]]) -> Iterator[Workplace]:
    """One benchmark at a time. `removers`: kind of a noted thing → what removes it, also when a killed run left it half made."""
    folder = home / "bench"
    folder.mkdir(mode=0o755, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for kind, remove in removers.items():
            if (note := folder / kind).exists():
                remove(note.read_text())
        _empty(folder)
        try:
            yield Workplace(folder)
        finally:
            _empty(folder)
            shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
