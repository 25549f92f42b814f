"""Chooses a node's outside world by its hypervisor's URI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from garage.config import Config
from garage.core.hypervisor_types import Hypervisor
from garage.core.types import NodeAccess
from garage.worker.shop import Backend


def open_hypervisor(uri: str, config: Config) -> Hypervisor:
    """The hypervisor at `uri`: libvirt's, or "fake:…" for the simulated one."""
    if uri.startswith("fake:"):
        from garage.shell.fake_hypervisor import FakeHypervisor

        return FakeHypervisor.from_uri(uri)
    from garage.shell.hypervisor import LibvirtHypervisor

    return LibvirtHypervisor(uri, instance=config.instance, home=config.home)


def open_backend(access: NodeAccess, config: Config, notify: Callable[[], None]) -> Backend:
    """`notify` is called from a foreign thread when a machine's SSH answered."""
    uri = access.hypervisor
    if uri.startswith("fake:"):
        from garage.shell.fake_hypervisor import FakeHypervisor
        from garage.shell.fake_node import FakeDisks, FakeProber

        fake = FakeHypervisor.from_uri(uri)
        return Backend(fake, FakeDisks(fake), FakeProber(fake, notify), lambda _bridge: True)
    from garage.shell.disks import LocalDisks
    from garage.shell.node_images import LocalImages
    from garage.shell.probe import SshProber
    from garage.shell.seed import write_seed

    if access.address:
        return _remote(access, config, notify)
    hypervisor = open_hypervisor(uri, config)
    return Backend(
        hypervisor, LocalDisks(config.home, write_seed), SshProber(notify), bridge_there, LocalImages(config.home)
    )


def _remote(access: NodeAccess, config: Config, notify: Callable[[], None]) -> Backend:
    """A node that is not the controller's server. GARAGE_HOME has the same path on all nodes; whether the bridge is there, netd says by
    the version that it has applied in this boot. Machines' SSH is asked from here, through the overlay's routes."""
    from garage.shell.hypervisor import LibvirtHypervisor
    from garage.shell.node_images import RemoteImages
    from garage.shell.probe import SshProber
    from garage.shell.remote_disks import RemoteDisks
    from garage.shell.seed import write_seed
    from garage.shell.ways import Ways

    ways = Ways(config.home)
    hypervisor = LibvirtHypervisor(access, instance=config.instance, home=config.home, ways=ways)
    disks = RemoteDisks(ways.shell(access), config.home, write_seed)
    images = RemoteImages(access, ways, config.home)
    return Backend(hypervisor, disks, SshProber(notify), lambda _bridge: True, images)


def bridge_there(name: str) -> bool:
    """Linux shows a bridge by this folder (Documentation/networking/bridge, sysfs)."""
    return Path("/sys/class/net", name, "bridge").is_dir()
