"""The images of a node: what is there, and copying one there from another node, in TLS, without either being able to write to the other."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from garage.core.hypervisor_types import ImageOrder
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell import image_fetch, image_serve
from garage.shell.disk_files import SHA256, checked, disk_is_full
from garage.shell.node_shell import quoted
from garage.shell.ways import Ways

PKI = Path("/etc/pki/qemu")
"""Of QEMU on each node, the controller's own server too: who may move guests to a node may read its images."""
LIST = (
    'cd {images} 2>/dev/null || exit 0; for file in */manifest.json; do [ ! -e "$file" ] || echo "${{file%/*}}"; done\n'
)
REMOVE = "rm -f {path}/manifest.json && rm -rf {path}\n"
LONGEST = 24 * 3600.0
"""Seconds that one attempt may take; the next goes on where it ended."""
READY = 20.0
SERVE, FETCH = inspect.getsource(image_serve), inspect.getsource(image_fetch)


class LocalImages:
    """The controller's own server: its images are built there."""

    def __init__(self, home: Path) -> None:
        self._images = home / "images"

    def present(self) -> frozenset[str]:
        found = (path.parent.name for path in self._images.glob("*/manifest.json"))
        return frozenset(name for name in found if SHA256.fullmatch(name))

    def remove(self, image: str) -> None:
        """Gone at once, as far as anybody sees; its files follow."""
        draft = self._images / f".{checked(SHA256, image)}"
        shutil.rmtree(draft, ignore_errors=True)
        (self._images / image).rename(draft)
        shutil.rmtree(draft, ignore_errors=True)


class RemoteImages:
    """Another server."""

    def __init__(self, node: NodeAccess, ways: Ways, home: Path) -> None:
        self._node, self._ways, self._home = node, ways, home

    def present(self) -> frozenset[str]:
        said = self._ways.shell(self._node).ask(LIST.format(images=quoted(self._home / "images"))).stdout
        return frozenset(line for line in said.splitlines() if SHA256.fullmatch(line))

    def remove(self, image: str) -> None:
        path = quoted(self._home / "images" / checked(SHA256, image))
        self._ways.shell(self._node).ask(REMOVE.format(path=path))

    def fetch(self, order: ImageOrder, source: NodeAccess, told: Callable[[int, int], None]) -> None:
        checked(SHA256, order.image)
        address = self._ways.address(source, seen_from=self._node)
        with self._served(order, source) as port:
            given = {
                "store": str(self._home / "images"), "image": order.image, "files": dict(order.files), "manifest": dict(order.manifest),
                "name": source.name, "address": address, "port": port, "rate": order.rate, "most": order.most, "pki": str(PKI),
            }  # fmt: skip
            script, data = f"exec python3 -I -c {shlex.quote(FETCH)}", json.dumps(given).encode()
            done = self._ways.shell(self._node).ask(script, data, LONGEST, check=False, on_line=_teller(told))
        if done.returncode:
            raise _failed(done.returncode, done.stderr, source.name, order)

    @contextlib.contextmanager
    def _served(self, order: ImageOrder, source: NodeAccess) -> Iterator[int]:
        """The image at `source`, for this node, as long as the block lasts; the port."""
        words = ["-I", "-c", SERVE, str(self._home / "images" / order.image), self._node.name, str(PKI), *order.files]
        argv = self._ways.shell(source).argv(["python3", *words]) if source.address else [sys.executable, *words]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield _port(process, source.name)
        finally:
            process.kill()
            process.communicate()


def _port(process: subprocess.Popen[bytes], name: str) -> int:
    assert process.stdout is not None  # noqa: S101  (as it was opened)
    ready, _, _ = select.select([process.stdout], [], [], READY)
    said = os.read(process.stdout.fileno(), 20).strip() if ready else b""
    if not said.isdigit() or int(said) not in image_serve.PORTS:
        raise _unanswered(name)
    return int(said)


def _teller(told: Callable[[int, int], None]) -> Callable[[str], None]:
    def heard(line: str) -> None:
        words = line.split()
        if len(words) == 2 and all(word.isascii() and word.isdigit() and len(word) < 16 for word in words):
            told(int(words[0]), int(words[1]))

    return heard


def _failed(status: int, said: str, source: str, order: ImageOrder) -> GarageError:
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return disk_is_full()
    if status in (image_fetch.WRONG, image_fetch.LARGE):
        return GarageError(
            "tool_failed",
            N_("{source} has given something else than the image {image}"),
            source=source,
            image=order.image[:12],
        )
    if status == image_fetch.BUSY:
        return GarageError("in_use", N_("the image {image} is being copied already"), image=order.image[:12])
    return _unanswered(source)


def _unanswered(name: str) -> GarageError:
    return GarageError(
        "network_error",
        N_("{node} does not hand out images to other nodes"),
        hint=N_("let the nodes reach each other at TCP ports 49152 to 49215"),
        node=name,
    )
