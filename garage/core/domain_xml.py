"""A machine's libvirt domain as XML: a pure function, so that golden tests can hold every line of it.

Decisions (docs/decisions/0030-worker.md has the measurements):
- `cache='writeback'`: the guest's flushes reach the disk, so what it was told is safe survives the death of the node, and all
  overlays share their image's pages in the host's page cache, which `none` (O_DIRECT) would read once per machine.
- the image below the overlay keeps its owner (`relabel='no'`): QEMU can read it and never write it. libvirt knows no such word
  for kernel and initrd, so these are the machine's own copies.
- an image that people bring boots by its own loader; ours boot directly, which saves a loader's seconds.
- `on_crash preserve` with pvpanic: a panicked guest stays until the worker has read why.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from garage.core import growth, names

NAMESPACE = uuid.UUID("5b2cb1a1-6a67-4fa4-9d7e-6b1f0f2a7d11")
OVMF = Path("/usr/share/OVMF")
"""UEFI for QEMU, as Debian's and Ubuntu's package ovmf has it; without Secure Boot, which would refuse most images."""
DISK = "vda"
"""The machine's own disk, as libvirt and its guest name it."""
TB_CACHE_MIB = 256
"""Translated code per TCG guest; QEMU alone would take up to 1 GiB beside the guest's RAM."""


HOT_PORTS = 14
"""PCIe ports of a q35 machine: six for its own devices, and one for each volume that it may get while it runs. The older machine type has
31 slots, all of which take devices at any time."""


@dataclass(frozen=True, slots=True)
class VolumeDisk:
    """A volume as a domain has it."""

    id: str
    """Also its serial: the guest's `/dev/disk/by-id/virtio-ID`."""
    path: Path
    slot: int
    iops: int = 0
    mb: int = 0
    """What its machine's disks may do together; 0: anything."""

    @property
    def device(self) -> str:
        """What libvirt calls it; a guest may count otherwise."""
        return f"vd{chr(ord('c') + self.slot)}"


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """All that a domain is made of. Memory in MiB; paths on the node."""

    instance: str
    machine_id: str
    title: str
    vcpus: int
    memory_mib: int
    kvm: bool
    image_disk: Path
    """Below the machine's overlay."""
    kernel: Path | None
    """None: it boots by the loader on its disk."""
    initrd: Path | None
    cmdline: str
    disk: Path
    seed: Path
    bridge: str
    tap: str
    mac: str
    console_log: Path
    boot: str = "kernel"
    """ "kernel": directly; "bios" or "uefi": what starts the loader on its disk."""
    disk_iops: int = 0
    disk_mb: int = 0
    """What its disks may do together (`core.machine_limits`); 0: anything."""
    volumes: tuple[VolumeDisk, ...] = ()
    most_vcpus: int = 0
    most_memory_mib: int = 0
    """What it may grow to while it runs; no more than it has: it may not."""

    @property
    def takes_memory(self) -> bool:
        """Of a kernel that is not ours to talk to, 64 MiB would be lost to bounce buffers (`core.growth`)."""
        return self.kernel is not None and self.most_memory_mib > self.memory_mib

    @property
    def nvram(self) -> Path:
        """UEFI's variables, the machine's own; libvirt makes the file."""
        return self.disk.with_name("nvram.fd")

    @property
    def name(self) -> str:
        return names.domain(self.instance, self.machine_id)


def domain_uuid(instance: str, machine_id: str) -> str:
    """The same for the same machine, so that defining it again is the same definition."""
    return str(uuid.uuid5(NAMESPACE, names.domain(instance, machine_id)))


def render(spec: DomainSpec, *, driver: str = "") -> str:
    """The XML of `spec`, the same text for the same spec. `driver`: a domain type of another libvirt driver, e.g. "test"."""
    root = ET.Element("domain", type=driver or ("kvm" if spec.kvm else "qemu"))
    _add(root, "name", spec.name)
    _add(root, "uuid", domain_uuid(spec.instance, spec.machine_id))
    _add(root, "title", spec.title)
    if spec.takes_memory:
        _add(root, "maxMemory", str(spec.most_memory_mib), slots=str(growth.SLOTS), unit="MiB")
    _add(root, "memory", str(spec.memory_mib), unit="MiB")
    most = max(spec.vcpus, spec.most_vcpus)
    _add(root, "vcpu", str(most), **({"current": str(spec.vcpus)} if most > spec.vcpus else {}))
    _boot(root, spec)
    _processor(root, spec)
    for key, action in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "preserve")):
        _add(root, key, action)
    _devices(_add(root, "devices"), spec)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def render_volume(volume: VolumeDisk) -> str:
    """The XML of one disk, for a domain that runs."""
    devices = ET.Element("devices")
    _volume(devices, volume)
    return ET.tostring(devices[0], encoding="unicode")


def render_memory(size_mib: int) -> str:
    """The XML of one DIMM, for a domain that runs."""
    memory = ET.Element("memory", model="dimm")
    target = _add(memory, "target")
    _add(target, "size", str(size_mib), unit="MiB")
    _add(target, "node", "0")
    return ET.tostring(memory, encoding="unicode")


def volume_devices(xml: str) -> list[str]:
    """What libvirt calls the volumes in the XML of a domain."""
    disks = ET.fromstring(xml).iterfind("devices/disk[serial]/target")  # noqa: S314  (libvirt's own)
    return [target.get("dev", "") for target in disks]


def volume_in(xml: str, volume_id: str) -> tuple[str, str] | None:
    """(the XML of the disk, what libvirt calls it) of a volume in the XML of a domain; None where the domain does not have it."""
    for disk in ET.fromstring(xml).iterfind("devices/disk"):  # noqa: S314  (libvirt's own)
        target = disk.find("target")
        if disk.findtext("serial") == volume_id and target is not None:
            return ET.tostring(disk, encoding="unicode"), target.get("dev", "")
    return None


def _add(parent: ET.Element, tag: str, text: str | None = None, /, **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = text
    return child


def _boot(root: ET.Element, spec: DomainSpec) -> None:
    system = _add(root, "os")
    _add(system, "type", "hvm", arch="x86_64", machine="q35" if spec.kvm else "pc")
    if spec.kernel is not None:
        _add(system, "kernel", str(spec.kernel))
        if spec.initrd:
            _add(system, "initrd", str(spec.initrd))
        _add(system, "cmdline", f"{spec.cmdline} {growth.CMDLINE}" if spec.takes_memory else spec.cmdline)
        return
    if spec.boot == "uefi":
        _add(system, "loader", str(OVMF / "OVMF_CODE_4M.fd"), readonly="yes", type="pflash")
        _add(system, "nvram", str(spec.nvram), template=str(OVMF / "OVMF_VARS_4M.fd"))
    _add(system, "boot", dev="hd")


def _processor(root: ET.Element, spec: DomainSpec) -> None:
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if not spec.kvm:
        _add(_add(features, "tcg"), "tb-cache", str(TB_CACHE_MIB), unit="MiB")
    processor = _add(root, "cpu", mode="host-model" if spec.kvm else "maximum")
    if spec.takes_memory:  # libvirt plugs memory into NUMA cells alone
        last = max(spec.vcpus, spec.most_vcpus) - 1
        cell = {"id": "0", "cpus": f"0-{last}", "memory": str(spec.memory_mib), "unit": "MiB"}
        _add(_add(processor, "numa"), "cell", **cell)
    clock = _add(root, "clock", offset="utc")
    _add(clock, "timer", name="rtc", tickpolicy="catchup")
    _add(clock, "timer", name="hpet", present="no")


def _devices(devices: ET.Element, spec: DomainSpec) -> None:
    _add(devices, "emulator", "/usr/bin/qemu-system-x86_64")
    _disk(devices, spec)
    _seed(devices, spec)
    for volume in spec.volumes:
        _volume(devices, volume)
    _add(devices, "controller", type="usb", model="none")
    if spec.kvm:
        _ports(devices)
    _network(devices, spec)
    _console(devices, spec)
    agent = _add(devices, "channel", type="unix")
    _add(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add(_add(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    _add(devices, "memballoon", model="virtio", freePageReporting="on")
    _add(devices, "panic", model="isa")
    _add(_add(devices, "video"), "model", type="none")


def _disk(devices: ET.Element, spec: DomainSpec) -> None:
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="qcow2", cache="writeback", discard="unmap")
    _add(disk, "source", file=str(spec.disk))
    below = _add(disk, "backingStore", type="file")
    _add(below, "format", type="qcow2")
    _add(_add(below, "source", file=str(spec.image_disk)), "seclabel", model="dac", relabel="no")
    _add(below, "backingStore")
    _add(disk, "target", dev=DISK, bus="virtio")
    tune(disk, spec.disk_iops, spec.disk_mb)


def tune(disk: ET.Element, iops: int, mb: int) -> None:
    """All disks of one name share what the machine may do."""
    if iops or mb:
        limits = _add(disk, "iotune")
        for key, value in io_limits(iops, mb).items():
            _add(limits, key, str(value))


def io_limits(iops: int, megabytes: int) -> dict[str, int | str]:
    """As libvirt names them in `<iotune>` and virDomainSetBlockIoTune; 0: no limit."""
    return {"total_bytes_sec": megabytes * 1_000_000, "total_iops_sec": iops, "group_name": "machine"}


def _seed(devices: ET.Element, spec: DomainSpec) -> None:
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="raw", cache="writeback")
    _add(disk, "source", file=str(spec.seed))
    _add(disk, "target", dev="vdb", bus="virtio")
    _add(disk, "readonly")


def _ports(devices: ET.Element) -> None:
    """With their numbers: libvirt takes the first controller of a list without any for the root itself, and refuses it."""
    _add(devices, "controller", type="pci", index="0", model="pcie-root")
    for number in range(1, HOT_PORTS + 1):
        _add(devices, "controller", type="pci", index=str(number), model="pcie-root-port")


def _volume(devices: ET.Element, volume: VolumeDisk) -> None:
    """Raw, and said to be: what a guest writes at its beginning is never taken for a format."""
    disk = _add(devices, "disk", type="file", device="disk")
    _add(disk, "driver", name="qemu", type="raw", cache="writeback", discard="unmap")
    _add(disk, "source", file=str(volume.path))
    _add(disk, "target", dev=volume.device, bus="virtio")
    tune(disk, volume.iops, volume.mb)
    _add(disk, "serial", volume.id)


def _network(devices: ET.Element, spec: DomainSpec) -> None:
    interface = _add(devices, "interface", type="bridge")
    _add(interface, "mac", address=spec.mac)
    _add(interface, "source", bridge=spec.bridge)
    _add(interface, "target", dev=spec.tap)
    _add(interface, "model", type="virtio")


def _console(devices: ET.Element, spec: DomainSpec) -> None:
    serial = _add(devices, "serial", type="pty")
    _add(serial, "log", file=str(spec.console_log), append="off")
    _add(_add(serial, "target", type="isa-serial", port="0"), "model", name="isa-serial")
