"""How much one machine may take of what its node's machines share: disk, network, the table of connections; pure.

Each figure is, the first that says something: the machine's own (an admin's word), its size's, the garage's, the built-in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from garage.errors import N_, GarageError


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """0: no limit."""

    disk_iops: int = 5000
    """Reads and writes per second, together."""
    disk_mb: int = 250
    """10⁶ bytes per second, read and written together."""
    net_mbit: int = 1000
    """10⁶ bits per second, each way."""
    connections: int = 8192
    """Open at the same time, as its node tracks them, IPv4 and IPv6 together. An eighth of the smallest table that Linux makes on a server
    with 1 GiB or more (65,536 entries, nf_conntrack-sysctl): no machine alone keeps the others from connecting."""

    @property
    def disk(self) -> str:
        """What of it a domain carries, as its row notes it; never empty, which is a domain of which that is not known."""
        return f"{self.disk_iops} {self.disk_mb}"


NAMES = tuple(field.name for field in fields(MachineLimits))
MOST = {"disk_iops": 10_000_000, "disk_mb": 100_000, "net_mbit": 400_000, "connections": 1_000_000}
Settings = Mapping[str, Any]
"""The table `limits` of garage.toml: figures of `NAMES`, and by `sizes` such tables of single sizes."""


def of(settings: Settings, size: str, own: Mapping[str, int]) -> MachineLimits:
    """Those of a machine of this size; `settings` were checked by `check_settings`, `own` by `check`."""
    shared = {name: value for name, value in settings.items() if name in NAMES}
    return MachineLimits(**{**shared, **settings.get("sizes", {}).get(size, {}), **own})


def check(figures: Mapping[str, int]) -> None:
    """Raises `invalid_field` with the name of the first that is none, or too large."""
    for name, value in figures.items():
        if name not in NAMES or isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST[name]:
            raise GarageError(
                "invalid_field",
                N_("{field} is a whole number from 0 to {limit}"),
                hint=N_("0: no limit"),
                pointer=f"/{name}",
                field=name[:40],
                limit=MOST.get(name, 0),
            )


def check_settings(settings: object, path: str) -> None:
    """Raises `config` where the table in the file `path` says something else than limits."""
    sizes = settings.get("sizes", {}) if isinstance(settings, dict) else None
    if not isinstance(settings, dict) or not isinstance(sizes, dict):
        raise GarageError("config", N_("{path}: [limits] and [limits.sizes.NAME] hold numbers"), path=path)
    shared = {name: value for name, value in settings.items() if name != "sizes"}
    for where, table in (("limits", shared), *((f"limits.sizes.{name}", table) for name, table in sizes.items())):
        try:
            check(table if isinstance(table, dict) else {where: table})
        except GarageError as error:
            raise GarageError(
                "config",
                N_("{path}: [{where}] {field} is no limit; there are {names}, whole numbers, 0 for none"),
                path=path,
                where=where,
                field=error.params["field"],
                names=", ".join(NAMES),
            ) from None
