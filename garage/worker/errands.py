"""What the carrying out of changes needs on one node, whatever they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from garage.config import Config
from garage.core import names
from garage.core.changes import Wanted
from garage.core.domain_xml import DomainSpec, VolumeDisk
from garage.core.hypervisor_types import Disks, Hypervisor
from garage.core.volumes import HELD, Volume
from garage.services.work import Hold, Note
from garage.worker.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Tools:
    """What effects work with on one node."""

    config: Config
    hypervisor: Hypervisor
    disks: Disks
    recorder: Recorder
    seed_files: Callable[[str], dict[str, bytes]]
    """The seed of a machine id; reads secrets, so nothing keeps it."""
    take: Callable[[str], tuple[str, bytes]]
    """(script, its input) by which a taken machine gets its identity; secrets, too."""
    keys: Callable[[str], tuple[str, ...]]
    """Who may log in to a machine id."""
    kvm: Callable[[], bool]
    may_act: Callable[[], bool]
    """The hold on the node is still sure."""
    people_wait: Callable[[], bool]
    """Machines of people start on this node."""
    snapshot_wanted: Callable[[Wanted, str], bool]
    """This snapshot of the machine, and the machine as it is, are still wanted."""


class Stale(Exception):
    """The machine's row moved on while its changes were carried out: plan again."""


def check(tools: Tools) -> None:
    """Asked right before each call that changes something outside, and again after whatever may have taken long: a worker that was
    stopped and wakes up begins nothing, because others may have taken its place. Raises Stale."""
    if not tools.may_act():
        raise Stale


def write(tools: Tools, hold: Hold, note: Note) -> None:
    if not tools.recorder.put(hold, note).result():
        raise Stale


def domain_spec(tools: Tools, machine: Wanted) -> DomainSpec:
    """What a machine's domain is made of now; puts the kernel that it boots in place."""
    instance = tools.config.instance
    direct = machine.boot == "kernel"
    kernel, initrd = tools.disks.copy_kernel(machine.id, machine.image) if direct else (None, None)
    return DomainSpec(
        instance=instance,
        machine_id=machine.id,
        title=f"{machine.name}.{machine.project}",
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        kvm=tools.kvm(),
        image_disk=tools.disks.image_path(machine.image) / "disk.qcow2",
        kernel=kernel,
        initrd=initrd,
        cmdline=machine.cmdline,
        disk=tools.disks.disk_path(machine.id),
        seed=tools.disks.seed_path(machine.id),
        bridge=names.bridge(instance),
        tap=machine.tap,
        mac=machine.mac,
        console_log=console_path(tools.config.home, machine.id),
        boot=machine.boot,
        disk_iops=machine.disk_iops,
        disk_mb=machine.disk_mb,
        volumes=disks_of(tools, machine, machine.volumes),
        most_vcpus=machine.most_vcpus,
        most_memory_mib=machine.most_memory_mib,
    )


def disks_of(tools: Tools, machine: Wanted, volumes: Iterable[Volume]) -> tuple[VolumeDisk, ...]:
    """Of its volumes those that the machine has, or is to get."""
    path, limits = tools.disks.volumes.path, (machine.disk_iops, machine.disk_mb)
    return tuple(
        VolumeDisk(volume.id, path(volume.id), volume.slot, *limits) for volume in volumes if volume.state in HELD
    )


def console_path(home: Path, machine_id: str) -> Path:
    return home / "console" / f"{machine_id}.log"
