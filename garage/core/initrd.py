"""Which kernel modules an initrd needs, in the order of loading; pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from garage.errors import N_, GarageError


def load_order(dependencies: str, builtin: str, wanted: Iterable[str]) -> list[str]:
    """Paths of modules, dependencies first. `dependencies` is modules.dep (modules.dep(5)), `builtin` modules.builtin."""
    table = {
        path: needs.split() for path, _, needs in (line.partition(":") for line in dependencies.splitlines() if line)
    }
    paths = {_name(path): path for path in table}
    inside = {_name(path) for path in builtin.split()}
    order: list[str] = []
    for name in wanted:
        if _plain(name) in paths:
            _add(paths[_plain(name)], table, order)
        elif _plain(name) not in inside:
            raise GarageError("image_build_failed", N_("this kernel has no module {name}"), name=name)
    return order


def _add(path: str, table: dict[str, list[str]], order: list[str]) -> None:
    if path in order:
        return
    for needed in reversed(table[path]):
        _add(needed, table, order)
    order.append(path)


def _name(path: str) -> str:
    return _plain(PurePosixPath(path).name.split(".ko")[0])


def _plain(name: str) -> str:
    """Modules are found with "-" and "_" alike."""
    return name.replace("-", "_")
