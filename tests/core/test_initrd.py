"""Modules are loaded after what they need, each once."""

from __future__ import annotations

import pytest

from garage.core.initrd import load_order
from garage.errors import GarageError

# modules.dep lists what a module needs, the deepest last (modules.dep(5))
DEPENDENCIES = """\
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/virtio_net.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/fs/isofs/isofs.ko:
"""
BUILTIN = "kernel/fs/ext4/ext4.ko\nkernel/drivers/char/hw_random/rng-core.ko\n"


def names(*wanted: str) -> list[str]:
    return [path.rsplit("/", 1)[1] for path in load_order(DEPENDENCIES, BUILTIN, wanted)]


def test_what_is_needed_comes_first_and_once() -> None:
    assert names("virtio_blk", "virtio_net") == ["virtio.ko", "virtio_ring.ko", "virtio_blk.ko.xz", "virtio_net.ko"]


def test_built_in_ones_need_no_loading_and_both_spellings_are_known() -> None:
    assert names("ext4", "rng_core", "virtio-blk", "isofs") == [
        *("virtio.ko", "virtio_ring.ko", "virtio_blk.ko.xz", "isofs.ko")
    ]


def test_one_that_the_kernel_lacks_is_named() -> None:
    with pytest.raises(GarageError) as caught:
        names("virtio_blk", "warp_drive")
    assert caught.value.code == "image_build_failed"
    assert caught.value.params["name"] == "warp_drive"
