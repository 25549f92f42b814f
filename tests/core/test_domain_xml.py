"""core.domain_xml: golden text, so that no line of a domain changes unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from garage.core.domain_xml import DomainSpec, domain_uuid, render

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


BIOS = replace(SPEC, kernel=None, initrd=None, cmdline="", boot="bios")
KINDS = [
    ("tcg", SPEC),
    ("kvm", replace(SPEC, kvm=True)),
    ("bios", BIOS),
    ("uefi", replace(BIOS, boot="uefi", kvm=True)),
]


@pytest.mark.parametrize(("name", "spec"), KINDS)
def test_golden(name: str, spec: DomainSpec) -> None:
    assert render(spec) + "\n" == (GOLDEN / f"domain-{name}.xml").read_text()


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
