"""core.domain_xml: golden text, so that no line of a domain changes unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from garage.core.domain_xml import DomainSpec, VolumeDisk, domain_uuid, render, render_volume, volume_devices, volume_in

GOLDEN = Path(__file__).parent / "golden"
IMAGE = Path("/var/lib/garage/images") / ("ab" * 32)
MACHINE = Path("/var/lib/garage/machines/0123456789abcdef0123")
SPEC = DomainSpec(
    instance="tst", machine_id="0123456789abcdef0123", title="one.alice", vcpus=2, memory_mib=2048, kvm=False,
    image_disk=IMAGE / "disk.qcow2", kernel=MACHINE / "vmlinuz", initrd=MACHINE / "initrd.img",
    cmdline="root=LABEL=root console=ttyS0", disk=MACHINE / "disk.qcow2", seed=MACHINE / "seed.iso",
    bridge="gbtst", tap="gttst1", mac="52:67:00:00:00:01",
    console_log=Path("/var/lib/garage/console/0123456789abcdef0123.log"),
)  # fmt: skip


HOME, VOLUMES = Path("/var/lib/garage"), (("a", 0), ("b", 7))
BIOS = replace(SPEC, kernel=None, initrd=None, cmdline="", boot="bios")
KINDS = [
    ("tcg", SPEC),
    ("kvm", replace(SPEC, kvm=True)),
    ("bios", BIOS),
    ("uefi", replace(BIOS, boot="uefi", kvm=True)),
    ("grows", replace(SPEC, most_vcpus=8, most_memory_mib=16384)),
    (
        "volumes",
        replace(
            SPEC, volumes=tuple(VolumeDisk(c * 20, HOME / "volumes" / (c * 20) / "disk.raw", n) for c, n in VOLUMES)
        ),
    ),
]


@pytest.mark.parametrize(("name", "spec"), KINDS)
def test_golden(name: str, spec: DomainSpec) -> None:
    assert render(spec) + "\n" == (GOLDEN / f"domain-{name}.xml").read_text()


def test_one_that_brings_its_own_loader_gets_vcpus_and_no_memory_while_it_runs() -> None:
    root = ET.fromstring(render(replace(BIOS, most_vcpus=8, most_memory_mib=16384)))
    assert (root.findtext("vcpu"), root.find("maxMemory"), root.find("cpu/numa")) == ("8", None, None)
    assert render(replace(SPEC, most_vcpus=2, most_memory_mib=2048)) == render(SPEC), "no more than it has"


def test_hostile_words_stay_text() -> None:
    root = ET.fromstring(render(replace(SPEC, title="</title><x>", cmdline='a="b" <&>')))
    assert root.findtext("title") == "</title><x>"
    assert root.findtext("os/cmdline") == 'a="b" <&>'


def test_the_same_machine_is_the_same_domain() -> None:
    assert domain_uuid("tst", "1") == domain_uuid("tst", "1") != domain_uuid("oth", "1")


def test_what_its_disk_may_do_is_said_only_where_it_is_limited() -> None:
    assert "iotune" not in render(SPEC)
    tuned = ET.fromstring(render(replace(SPEC, disk_iops=500, disk_mb=40)))
    (limits,) = tuned.findall("devices/disk/iotune")
    found = {element.tag: element.text for element in limits}
    assert found == {"total_bytes_sec": "40000000", "total_iops_sec": "500", "group_name": "machine"}


def test_volumes_share_what_the_machines_disks_may_do() -> None:
    volume = VolumeDisk("a" * 20, HOME / "disk.raw", 0, 500, 40)
    xml = render(replace(SPEC, disk_iops=500, disk_mb=40, volumes=(volume,)))
    first, second = ET.fromstring(xml).findall("devices/disk/iotune")
    assert [each.text for each in first] == [each.text for each in second]
    assert volume_devices(xml) == ["vdc"]
    assert ET.fromstring(render_volume(volume)).find("iotune") is not None


def test_a_volume_is_found_by_its_serial() -> None:
    xml = (GOLDEN / "domain-volumes.xml").read_text()
    disk, device = volume_in(xml, "b" * 20) or ("", "")
    assert (device, ET.fromstring(disk).findtext("serial")) == ("vdj", "b" * 20)
    assert volume_in(xml, "c" * 20) is None
