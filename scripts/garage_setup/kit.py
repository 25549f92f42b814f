"""What is carried to a server that becomes a node: this set-up's own scripts, netd's wheel, and the wheels that it needs.

`GARAGE_HOME/kit/` is made by `make up` and sent by the worker. On the node `python3 -m garage_setup node` uses it (node.py).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from garage_setup.build import IGNORE, Builder
from garage_setup.digests import of_files, sources
from garage_setup.files import remove_tree
from garage_setup.place import CHECKOUT, SCRIPTS
from garage_setup.steps import Tell

NAME = "kit"
NETD_NEEDS = ("cffi", "cryptography", "msgspec", "pycparser", "pyyaml")
"""Of the pinned requirements, with what they need themselves."""
SOURCES = (CHECKOUT / "netd", SCRIPTS, CHECKOUT / "packaging" / "netd", CHECKOUT / "requirements.txt")


def kit_digest() -> str:
    """Of all that goes into it."""
    return of_files(sources(*SOURCES))


def make_kit(builder: Builder, home: Path, tell: Tell) -> Path:
    """`home/kit`, replaced whole."""
    new, old, path = (home / name for name in (f".{NAME}-new", f".{NAME}-old", NAME))
    for left in (new, old):
        if left.exists():
            remove_tree(left)
    new.mkdir(parents=True)
    shutil.copytree(SCRIPTS, new / "scripts", ignore=IGNORE)
    (new / "requirements.txt").write_text(pinned((CHECKOUT / "requirements.txt").read_text(), NETD_NEEDS))
    shutil.copy(builder.netd(tell), new)
    if (path / "requirements.txt").exists() and (path / "requirements.txt").read_text() == (
        new / "requirements.txt"
    ).read_text():
        shutil.copytree(path / "wheels", new / "wheels")  # so that a new version of ours needs no package index
    else:
        builder.environments.download(new / "requirements.txt", new / "wheels", builder.tools, tell)
    (new / "digest").write_text(f"{kit_digest()}\n")
    if path.exists():
        path.rename(old)
    new.rename(path)
    if old.exists():
        remove_tree(old)
    return path


def pinned(lock: str, names: tuple[str, ...]) -> str:
    """The entries of these packages in a lock file, hashes and all."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    kept = [entry for entry in entries if re.split(r"[=\[ ]", entry)[0] in names]
    if len(kept) != len(names):
        raise ValueError(f"requirements.txt does not name all of {', '.join(names)}")
    return "".join(kept)
