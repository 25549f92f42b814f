"""Values that more than one layer speaks of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """What a machine takes from a node and from a project's quota."""

    vcpus: int
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True, slots=True)
class SizeSpec:
    """A named size."""

    name: str
    vcpus: int
    memory_mib: int
    disk_gib: int

    @property
    def demand(self) -> Demand:
        return Demand(self.vcpus, self.memory_mib, self.disk_gib)


SIZES: tuple[SizeSpec, ...] = (
    SizeSpec("tiny", 1, 512, 5),
    SizeSpec("small", 2, 2048, 10),
    SizeSpec("medium", 4, 4096, 20),
    SizeSpec("large", 8, 16384, 50),
)
"""The sizes of a new garage; an admin may change them."""


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """How a worker reaches a node."""

    name: str
    hypervisor: str
    """A libvirt URI, or that of a simulated one."""
    address: str = ""
    """Empty: the controller's own server."""
    ssh_host_key: str = ""
    """ "TYPE BASE64", pinned."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node's capacity as its worker observed it. Memory in MiB, disk in GiB."""

    vcpus: int
    memory_mib: int
    disk_free_gib: float
    disk_total_gib: float
    virtualisation: str
    """ "kvm" or "tcg"."""
    memory_available_mib: int | None = None
    """What nothing on the server uses now, in steps; None where it is not known."""
