"""The one frozen Config, read once by a composition root from `$GARAGE_HOME/garage.toml` and the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from garage.core import machine_limits, openid
from garage.core.openid import OpenId
from garage.errors import N_, GarageError

DEFAULT_HOME = "/var/lib/garage"
DEFAULT_LISTEN = "127.0.0.1:8080"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
POLICIES = ("spread", "pack")
"""`core.placement.Policy`."""
FACTORS = ("admins", "all", "optional")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  (compared with, not bound to)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one garage. Sizes in MiB unless the name says otherwise, times in seconds."""

    home: Path = Path(DEFAULT_HOME)
    database_url: str = ""
    listen: str = DEFAULT_LISTEN
    public_url: str = ""
    """By which people and other sites reach this garage, where it is not what `listen` says: https://NAME[:PORT]."""
    outward: str = ""
    """This server's own address towards the internet, where it listens on all; found out, not set."""
    instance: str = "000"
    """Three characters that keep several garages on one server apart."""
    site: str = "home"
    domain: str = "garage.internal"
    site_ipv4: str = ""
    site_ipv6: str = ""
    node: str = "node1"
    hypervisor: str = "qemu:///system"
    """A libvirt URI, or "fake://" for the hypervisor that ships for speed and scale work."""
    organisation: str = "garage"
    ram_reserve_mib: int = 1024
    """RAM that is never given to machines; also what the server's own processes need."""
    disk_reserve_mib: int = 5120
    """Below this much free space under `home` new machines are refused."""
    vcpu_overcommit: float = 4.0
    disk_overcommit: float = 3.0
    """How much disk may be promised, as a multiple of what there is."""
    placement_policy: str = "spread"
    """Where machines go: to the server whose RAM is freest ("spread"), or fullest ("pack")."""
    pool_ram_share: float = 0.25
    """How much of a node's RAM machines that wait in pools may have, at most what is free; 0: no pools. Machines that run win it back."""
    pool_max_age_hours: float = 24.0
    """A machine that waited longer is replaced."""
    image_copy_mbit: Mapping[str, float] = field(default_factory=dict)
    """How fast an image may be copied to a node, in Mbit/s, by the node's name; "*" for all that are not named. Nothing said: no cap."""
    second_factor: str = "admins"
    """Who needs one beside the password: "admins", "all", or nobody ("optional")."""
    openid: OpenId | None = None
    """Where members sign in beside, or instead of, passwords of ours."""
    lease_days: float = 7.0
    lease_warn_hours: float = 24.0
    lease_grace_hours: float = 72.0
    keep_events_hours: float = 24.0
    """What happened, for pages that watch."""
    keep_metrics_days: float = 92.0
    """Throughput that was measured between sites; the newest of each pair stays."""
    keep_logs_days: float = 30.0
    """Files of our own processes' logs that were rotated; with systemd the journal has settings of its own."""
    keep_audit_days: float = 0.0
    """Older entries of the audit log are removed, and an anchor stays that the rest is verified by; 0: none is ever removed."""
    boot_timeout: float = 300.0
    stop_timeout: float = 60.0
    rate_caller: int = 3000
    """Requests per minute to the API with one token, or in one session; 0: as many as one likes."""
    rate_address: int = 6000
    """The same from one address (an IPv6 /64), but the server's own."""
    keep_news_days: float = 30.0
    """Lines of people's inboxes."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """How much one machine may take of what its node shares (`core.machine_limits`), where the built-in figures shall not hold."""
    smtp: Mapping[str, Any] = field(default_factory=dict)
    """How e-mail leaves (`core.channels.Smtp`); empty: it does not."""
    quota: Mapping[str, int] = field(
        default_factory=lambda: {"machines": 5, "vcpus": 10, "memory_mib": 16384, "disk_gib": 200, "image_gib": 50}
    )
    """What a new personal project may use."""

    @property
    def url(self) -> str:
        """The controller's base URL as seen on this server."""
        host, _, port = self.listen.rpartition(":")
        return f"{'http' if host in LOOPBACK else 'https'}://{EVERYWHERE.get(host, host)}:{port}"

    @property
    def outside(self) -> str:
        """The base URL for others; of this server alone where nothing else is known."""
        host, _, port = self.listen.rpartition(":")
        found = f"https://{self.outward}:{port}" if host in EVERYWHERE and self.outward else self.url
        return self.public_url.rstrip("/") or found

    @property
    def openid_secret(self) -> Path:
        """The file with what proves to the provider that it is us who ask."""
        said = self.openid.client_secret_file if self.openid else ""
        return self.home / (said or "keys/openid.secret")

    @property
    def sqlalchemy_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'db' / 'garage.db'}"

    @property
    def tls(self) -> bool:
        return self.listen.rpartition(":")[0] not in LOOPBACK


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """The Config of `$GARAGE_HOME/garage.toml` (may be absent), overridden by GARAGE_DATABASE_URL and GARAGE_LISTEN. Where the former is
    not said it is what the services have, so that `garage-server` by hand never works on another database than they do."""
    home = Path(environ.get("GARAGE_HOME", DEFAULT_HOME))
    values = _read(home / "garage.toml")
    said = {**_services(home / "service.env"), **{key: value for key, value in environ.items() if value}}
    for key in ("database_url", "listen"):
        if value := said.get(f"GARAGE_{key.upper()}"):
            values[key] = value
    _check_policy(values, str(home / "garage.toml"))
    _check_factor(values, str(home / "garage.toml"))
    machine_limits.check_settings(values.get("limits", {}), str(home / "garage.toml"))
    if (table := values.get("openid")) is not None:
        values["openid"] = openid.read(table, str(home / "garage.toml"))
    try:
        return Config(home=home, **values)  # type: ignore[arg-type]
    except TypeError as error:
        raise GarageError(
            "config",
            N_("{path} has a setting that is not known: {error}"),
            path=str(home / "garage.toml"),
            error=str(error),
        ) from None


def _check_policy(values: Mapping[str, object], path: str) -> None:
    if (policy := values.get("placement_policy", POLICIES[0])) not in POLICIES:
        raise GarageError(
            "config",
            N_("{path}: placement_policy is one of {allowed}, not {policy}"),
            path=path, allowed=", ".join(POLICIES), policy=str(policy)[:40],
        )  # fmt: skip


def _check_factor(values: Mapping[str, object], path: str) -> None:
    if (who := values.get("second_factor", FACTORS[0])) not in FACTORS:
        raise GarageError(
            "config",
            N_("{path}: second_factor is one of {allowed}, not {who}"),
            path=path, allowed=", ".join(FACTORS), who=str(who)[:40],
        )  # fmt: skip


def _services(path: Path) -> dict[str, str]:
    """What set-up wrote for our services, `KEY='VALUE'` by line; nothing where it may not be read: they have it in their environment."""
    try:
        text = path.read_text()
    except (FileNotFoundError, PermissionError):
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.removeprefix("'").removesuffix("'") for key, _, value in pairs if key == "GARAGE_DATABASE_URL"}


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise GarageError("config", N_("{path} is not valid TOML: {error}"), path=str(path), error=str(error)) from None
