"""Copying images between servers: verified, resumed, from node to node, and nobody else gets or gives anything."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from garage.core.hypervisor_types import ImageOrder
from garage.errors import GarageError
from garage.shell.node_images import RemoteImages
from tests.remotelab import RemoteLab, remote_lab
from tests.servers import HOME

pytestmark = pytest.mark.machine

MIB = 1 << 20
SIZE = 24 * MIB


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteLab]:
    with remote_lab(tmp_path_factory.mktemp("controller")) as made:
        yield made


def folder(lab: RemoteLab, name: str) -> Path:
    return lab.servers[name].home / "images"


@pytest.fixture
def order(lab: RemoteLab) -> Iterator[ImageOrder]:
    """An image on node one."""
    data = {"disk.qcow2": os.urandom(SIZE), "vmlinuz": b"kernel"}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
    image = files["disk.qcow2"]
    place = folder(lab, "one") / image
    place.mkdir()
    for name, content in data.items():
        (place / name).write_bytes(content)
    (place / "manifest.json").write_text("{}")
    yield ImageOrder(image, files, {"sha256": image, "name": "x"}, SIZE + MIB)
    for name in ("one", "two"):
        for left in (image, f".copy-{image}"):
            shutil.rmtree(folder(lab, name) / left, ignore_errors=True)


@pytest.fixture
def two(lab: RemoteLab) -> Iterator[RemoteImages]:
    ways = lab.ways()
    yield RemoteImages(lab.node("two"), ways, HOME)
    ways.close()


def test_an_image_comes_whole_from_another_node(lab: RemoteLab, two: RemoteImages, order: ImageOrder) -> None:
    told: list[tuple[int, int]] = []
    for _ in range(2):
        two.fetch(order, lab.node("one"), lambda done, total: told.append((done, total)))
    assert two.present() >= {order.image}
    here, there = folder(lab, "one") / order.image, folder(lab, "two") / order.image
    for name in order.files:
        assert (there / name).read_bytes() == (here / name).read_bytes()
        assert (there / name).stat().st_mode & 0o777 == 0o444
    assert sorted(path.name for path in there.iterdir()) == ["disk.qcow2", "manifest.json", "vmlinuz"]
    assert told
    assert told == sorted(told)
    assert told[-1][1] == SIZE + len(b"kernel")
    assert "image_serve" not in lab.servers["one"].run("ps -e -o args"), "it served as long as it was needed"
    assert lab.servers["one"].run("ss -Htln sport ge 49184 and sport le 49215") == ""


def test_it_goes_on_where_it_was_cut_off_within_its_cap(lab: RemoteLab, two: RemoteImages, order: ImageOrder) -> None:
    draft = folder(lab, "two") / f".copy-{order.image}"
    draft.mkdir()
    whole = (folder(lab, "one") / order.image / "disk.qcow2").read_bytes()
    (draft / "disk.qcow2.part").write_bytes(whole[: SIZE - 4 * MIB])
    told: list[int] = []
    began = time.monotonic()
    two.fetch(replace(order, rate=2 * MIB), lab.node("one"), lambda done, _total: told.append(done))
    assert 1.5 < time.monotonic() - began < 15, "4 MiB at 2 MiB/s, not 24"
    assert min(told) > SIZE - 4 * MIB
    assert (folder(lab, "two") / order.image / "disk.qcow2").read_bytes() == whole


def test_what_is_not_what_it_should_be_never_counts(lab: RemoteLab, two: RemoteImages, order: ImageOrder) -> None:
    source = folder(lab, "one") / order.image / "disk.qcow2"
    good = source.read_bytes()
    source.write_bytes(b"evil" + good[4:])
    with pytest.raises(GarageError, match="something else") as refused:
        two.fetch(order, lab.node("one"), lambda _done, _total: None)
    assert refused.value.code == "tool_failed"
    assert order.image not in two.present()
    with pytest.raises(GarageError, match="something else"):
        two.fetch(replace(order, most=MIB), lab.node("one"), lambda _done, _total: None)
    source.write_bytes(good)
    two.fetch(order, lab.node("one"), lambda _done, _total: None)
    assert order.image in two.present()


def test_a_node_without_it_is_no_source(lab: RemoteLab, two: RemoteImages, order: ImageOrder) -> None:
    shutil.rmtree(folder(lab, "one") / order.image)
    with pytest.raises(GarageError, check=lambda error: error.code == "network_error"):
        two.fetch(order, lab.node("one"), lambda _done, _total: None)


def test_only_the_node_that_is_meant_reads_and_only_the_image(
    lab: RemoteLab, two: RemoteImages, order: ImageOrder
) -> None:
    pki = lab.home / "ca"
    with two._served(order, lab.node("one")) as port:

        def ask(path: str, name: str) -> str:
            words = [
                "--cacert",
                pki / "ca.crt",
                "--resolve",
                f"one:{port}:{lab.servers['one'].address}",
                "--path-as-is",
            ]
            words += ["--cert", pki / f"{name}.crt", "--key", pki / f"{name}.key"] if name else []
            argv = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", *map(str, words), f"https://one:{port}{path}"]
            return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

        assert ask("/vmlinuz", "two") == "200"
        assert ask("/vmlinuz", "one") == "403"
        assert ask("/vmlinuz", "") == "000"
        for path in ("/../../../../etc/shadow", "/manifest.json", "/%2e%2e/x", "//etc/shadow"):
            assert ask(path, "two") == "404"
