"""What a simulated node is like, and what goes wrong on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Settings:
    """Latencies in seconds; sizes of the node that is simulated."""

    boot: float = 0.0
    """From start to SSH."""
    start: float = 0.0
    shutdown: float = 0.0
    """From asking to off."""
    vcpus: int = 8
    memory_mib: int = 16384
    disk_gib: int = 200
    migration: float = 0.0
    """For which a guest travels, before its pause."""
    boot_id: str = "fake-boot"
    call: float = 0.0
    """Of every call."""
    agent: float = 0.0
    """Of what a guest's agent does, besides."""
    spread: float = 0.0
    """Each latency is drawn evenly from this share below to this share above it, e.g. 0.5: between half and one and a half times."""
    lost: float = 0.0
    """The share of calls that get no answer."""
    refused: float = 0.0
    """The share of changing calls that are refused."""
    seed: int = 0


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on; tests set these."""

    away: bool = False
    """Nothing answers."""
    disk_full: bool = False
    start_refused: str = ""
    deaf: bool = False
    """Guests ignore requests to shut down."""
    vcpus_refused: bool = False
    memory_refused: bool = False
    """No guest that runs gets any more of it."""
    keeps_volumes: bool = False
    """Guests do not let go of volumes."""
    agent_away: bool = False
    """Nothing can be written in guests."""
    mute: bool = False
    """Guests never open port 22."""
    migration_refused: str = ""
    """Why nothing moves away from here."""
    migration_outlives: bool = False
    """A migration goes on when who asked for it dies, as libvirt's do."""
