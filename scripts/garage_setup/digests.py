"""Digests and stamps: what a step was done with, so that it is done again only when that changed."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from garage_setup.files import write

IGNORED = frozenset({"__pycache__", "node_modules", "vendor"})
IGNORED_ENDINGS = (".pyc", ".mo", ".pot", ".egg-info")


def sources(*roots: Path) -> Iterator[Path]:
    """The files below `roots`, sorted, without what is built from them."""
    for root in roots:
        if root.is_file():
            yield root
        elif root.is_dir() and root.name not in IGNORED:
            yield from sources(*sorted(path for path in root.iterdir() if not path.name.endswith(IGNORED_ENDINGS)))


def of_files(paths: Iterable[Path], *extra: str) -> str:
    """A digest of names and contents, and of further words."""
    digest = hashlib.sha256("\0".join(extra).encode())
    for path in paths:
        digest.update(f"\0{path}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Stamps:
    """step → digest of what it was last completed with, in a file that is whole at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._values: dict[str, str] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            self._values = {}

    def get(self, name: str) -> str:
        return self._values.get(name, "")

    def set(self, name: str, digest: str) -> None:
        with self._lock:
            self._values[name] = digest
            write(self._path, json.dumps(self._values, indent=1, sort_keys=True) + "\n")
