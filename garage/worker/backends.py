"""Chooses a node's outside world by its hypervisor's URI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from garage.config import Config
from garage.core.hypervisor_types import Hypervisor
from garage.core.types import NodeAccess
from garage.worker.loop import Backend


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
        from garage.shell.fake_hypervisor import FakeDisks, FakeHypervisor, FakeProber

        fake = FakeHypervisor.from_uri(uri)
        return Backend(fake, FakeDisks(fake), FakeProber(fake, notify), lambda _bridge: True)
    from garage.shell.disks import LocalDisks
    from garage.shell.probe import SshProber
    from garage.shell.seed import write_seed

    hypervisor = open_hypervisor(uri, config)
    return Backend(hypervisor, LocalDisks(config.home, write_seed), SshProber(notify), bridge_there)


def bridge_there(name: str) -> bool:
    """Linux shows a bridge by this folder (Documentation/networking/bridge, sysfs)."""
    return Path("/sys/class/net", name, "bridge").is_dir()
