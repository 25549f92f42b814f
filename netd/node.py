"""One node: observe, plan, apply; the last good spec on disk."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from netd.config import Config
from netd.core import nft_text
from netd.core.checks import check
from netd.core.desired import NO_OVERLAY, Desired
from netd.core.floor import Floor, make_floor, parse_allowed, parse_networks
from netd.core.overlay import Overlay
from netd.core.plan import Change, Observed, plan, settled, site, sysctls
from netd.errors import NetdError
from netd.shell import daemons, files, kernel, nft
from netd.wire import NodeSpec, SpecError, unseal

log = logging.getLogger(__name__)
CONNECTED_FOR = 4.0
"""Seconds; below the daemon's round, so that a spec finds it fresh and does not wait for it."""
CONTENT = (
    "dns.conf",
    "names",
    "sites",
    "dhcp.conf",
    "hosts",
    "options",
    "ntp.conf",
    *(f"{name}.loaded" for name in daemons.NAMES),
)


class Node:
    """Holds the spec in force and makes the kernel follow it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.spec: NodeSpec | None = None
        self.state = config.state_dir
        self._cache = config.state_dir / "last-good.json"
        self._have_chrony = daemons.have_chrony()
        self._networks: list[str] = []
        self._connected_at = -CONNECTED_FOR
        self.overlay_of: Callable[[NodeSpec, Floor], Overlay] = lambda _spec, _floor: NO_OVERLAY
        """Set by whoever follows a registry."""
        self.lock = threading.RLock()
        """Held while anything is applied: this node's loop and the overlay's share filters and names."""
        self._seen: Observed | None = None
        """What our last apply left: lets a spec be applied without a look at the kernel, which takes longer than the change."""

    @functools.cached_property
    def _key(self) -> Ed25519PublicKey:
        return _load_key(self.config.controller_key)

    @property
    def version(self) -> int:
        """Of the spec in force; 0 without one."""
        return self.spec.version if self.spec else 0

    def problems(self) -> tuple[str, ...]:
        """What an admin should mend."""
        chains = nft.dropping_elsewhere(f"garage_{self.config.instance}")
        found = [f"the firewall chain “{chain}” drops what machines send to the internet" for chain in chains]
        return (*found, *([] if self._have_chrony else ["chronyd is missing: machines have no time from their node"]))

    def take(self, sealed: bytes) -> list[Change]:
        """Check, apply and remember a spec; raises SpecError (refused, the last good one stays) or NetdError (could not be applied)."""
        spec = unseal(sealed, self._key, node=self.config.node)
        floor = self.floor(spec.bridge.name)
        try:
            check(spec, instance=self.config.instance, in_force=self.version, floor=floor)
        except SpecError as error:
            raise SpecError(error.code, error.text, version=spec.version) from None
        with self.lock:
            changes = self._apply_next(self._desired(spec, floor))
            self.spec = spec
        files.write(self._cache, sealed.decode(), 0o600)
        return changes

    def restore(self) -> bool:
        """Come up from the last good spec; False without one. A damaged cache is said and ignored: the controller sends anew."""
        if (sealed := files.read(self._cache)) is None:
            return False
        try:
            self.take(sealed.encode())
        except SpecError as error:
            log.warning("the cached spec is not usable: %s", error.text)
            return False
        return True

    def adopt(self) -> None:
        """Take the last good spec as the one in force without touching anything, to look at it."""
        if (sealed := files.read(self._cache)) is not None:
            self.spec = unseal(sealed.encode(), self._key, node=self.config.node)

    def refresh(self) -> list[Change]:
        """Bring the kernel back to the spec in force (or come up from the last good one), with the floor as it is now."""
        if self.spec is None:
            self.restore()
            return []
        with self.lock:
            return self._apply(self._desired(self.spec, self.floor(self.spec.bridge.name)))

    def reapply(self) -> list[Change]:
        """What the overlay wants has changed: bring filters and names after it."""
        if self.spec is None:
            return []
        with self.lock:
            return self._apply_next(self._desired(self.spec, self.floor(self.spec.bridge.name)))

    def _desired(self, spec: NodeSpec, floor: Floor) -> Desired:
        left = site(self.spec) - site(spec) if self.spec else frozenset()
        return Desired(spec, floor, self.overlay_of(spec, floor), left, kernel.tracked())

    def preview(self, sealed: bytes | None) -> list[Change]:
        """What `take` (or `refresh`) would do; changes nothing."""
        spec = unseal(sealed, self._key, node=self.config.node) if sealed else self.spec
        if spec is None:
            return []
        wanted = self._desired(spec, self.floor(spec.bridge.name))
        return plan(wanted, self.observe(wanted), self.state, have_chrony=self._have_chrony)

    def floor(self, bridge: str) -> Floor:
        """Networks this server stands in, the office file, the allow file: read anew each time."""
        networks, allow = self.office(), self.config.allow_file
        if self.config.uplink_is_office:
            networks += self.connected(bridge)
        return make_floor(networks, parse_allowed(files.read_trusted(allow), name=str(allow)))

    def office(self) -> list[str]:
        """The networks that the office file names."""
        return parse_networks(files.read_trusted(self.config.office_file), name=str(self.config.office_file))

    def connected(self, bridge: str) -> list[str]:
        """The networks that this server stands in, not older than `CONNECTED_FOR`."""
        if self._connected_at + CONNECTED_FOR < (now := time.monotonic()):
            self._networks, self._connected_at = (
                kernel.connected_networks(bridge=bridge, links=f"gl{self.config.instance}"),
                now,
            )
        return self._networks

    def observe(self, wanted: Desired) -> Observed:
        """What is there now of what `wanted` speaks of."""
        name = wanted.spec.bridge.name
        tables = nft.observe(wanted.table)
        mac, up = kernel.bridge_link(name)
        return Observed(
            skeleton=tables.skeleton,
            chains=tables.chains,
            fixed=self._seen.fixed if self._seen and self._seen.skeleton == tables.skeleton else None,
            elements=tables.elements,
            bridge_mac=mac,
            bridge_up=up,
            addresses=kernel.addresses(name) if mac else frozenset(),
            routes=kernel.host_routes(name) if mac else frozenset(),
            neighbours=kernel.permanent_neighbours(name) if mac else frozenset(),
            unreachable=kernel.unreachable(),
            uplinks=kernel.uplinks(),
            sysctls=kernel.read_sysctls(list(sysctls(wanted))),
            files={path: text for path in (self.state / n for n in CONTENT) if (text := files.read(path)) is not None},
            running=daemons.running(self.state),
        )

    def _apply(self, wanted: Desired, seen: Observed | None = None) -> list[Change]:
        """Bring the kernel from `seen` (by default: what is there now) to `wanted`."""
        found = seen or self.observe(wanted)
        self._seen = None
        changes = plan(wanted, found, self.state, have_chrony=self._have_chrony)
        for batch in _batches(changes):
            log.info("%s", "; ".join(_short(change) for change in batch))
            try:
                self._do(batch)
            except NetdError as error:
                if seen is not None or batch[0].kind != "nft":
                    raise
                self._filter_anew(wanted, error)
        self._seen = settled(wanted, found, self.state, have_chrony=self._have_chrony)
        return changes

    def _apply_next(self, wanted: Desired) -> list[Change]:
        """Apply on top of the last apply; if somebody has changed the kernel since, look again and mend."""
        try:
            return self._apply(wanted, self._seen)
        except NetdError as error:
            log.warning("%s; looking again", error.text)
            return self._apply(wanted)

    def _filter_anew(self, wanted: Desired, error: NetdError) -> None:
        """Somebody has changed our tables so that the kernel takes no change of them."""
        log.warning("%s; replacing the tables", error.text)
        nft.apply(nft_text.skeleton(wanted))

    def _do(self, batch: list[Change]) -> None:
        kind = batch[0].kind
        if kind == "ip":
            kernel.apply_ip(batch)
            return
        for change in batch:
            _DO[kind](change, self.state)

    def down(self) -> None:
        """Remove everything of ours: the bridge before its rules. Works without the controller's key, too."""
        with contextlib.suppress(NetdError, SpecError):
            self.adopt()
        for name in daemons.NAMES:
            daemons.stop(name, self.state)
        kernel.delete_bridge(f"gb{self.config.instance}")
        kernel.delete_unreachable(site(self.spec) if self.spec else ())
        nft.delete(f"garage_{self.config.instance}")


_DO: dict[str, Callable[[Change, Path], None]] = {
    "nft": lambda change, _state: nft.apply(change.text),
    "sysctl": lambda change, _state: kernel.set_sysctl(change.text),
    "file": lambda change, _state: files.write(change.path or Path(), change.text),
    "start": lambda change, state: daemons.start(change.text, state),
    "reload": lambda change, state: daemons.reload(change.text, state),
}


def _batches(changes: list[Change]) -> list[list[Change]]:
    """Neighbouring changes of one kind together: one `ip -batch` for all."""
    batches: list[list[Change]] = []
    for change in changes:
        if batches and batches[-1][0].kind == change.kind:
            batches[-1].append(change)
        else:
            batches.append([change])
    return batches


def _short(change: Change) -> str:
    text = str(change)
    return text if len(text) < 160 else text[:150].replace("\n", " ") + " …"


def _load_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NetdError(
            "config", f"{path}: {error}", hint="it is the controller's public key, written by make up"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise NetdError("config", f"{path} is no Ed25519 key")
    return key
