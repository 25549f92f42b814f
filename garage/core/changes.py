"""What is wanted of a machine, what is seen of it, and what can be done for it: values alone, between which `core.plan` leads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from garage.core.domain_xml import DomainSpec
from garage.core.hypervisor_types import Domain
from garage.core.snapshots import Order
from garage.core.states import Event, State
from garage.core.types import NodeAccess
from garage.core.volumes import Volume


class MoveStep(StrEnum):
    """How far a move has come, as both nodes' workers tell each other (`core.moves`)."""

    WANTED = ""
    MOVING = "moving"
    """libvirt has been asked to."""
    LEFT = "left"
    """It does not run on its node any more: has it arrived?"""
    UNSURE = "unsure"
    """It is paused on its node, as libvirt leaves it when it does not know: does it run at the other end?"""


class Redo(StrEnum):
    """What is done to a machine's disk before its next start."""

    NOTHING = ""
    DISK = "disk"
    """It is rebuilt: what there was goes."""
    SIZE = "size"
    """It was resized: its disk grows."""
    REVERT = "revert"
    """It becomes what it was at a snapshot."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a machine goes."""

    to: NodeAccess
    step: MoveStep
    version: int
    """The target's node spec from which on it has its place in the network there."""
    spec: DomainSpec | None
    """The domain as the target shall have it; None until all is in place there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A machine's row, as far as the worker acts on it. Memory in MiB, disk in GiB."""

    id: str
    name: str
    project: str
    state: State
    state_since: float
    wants_running: bool
    started: bool
    spec_version: int
    step: str
    image: str
    """sha256 of its image."""
    cmdline: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    ipv4: str
    mac: str
    tap: str
    boot: str = "kernel"
    """Of its image: "kernel", "bios" or "uefi"."""
    keys_applied: bool = True
    warm: bool = False
    """A pool machine that has booted and waits, paused."""
    ran: bool = False
    """It was `ready` once: its disk holds what somebody did."""
    taken: bool = False
    """Out of a pool: it gets its identity while it runs, instead of a boot."""
    move: Move | None = None
    """It is on its way to another node."""
    request: str = ""
    """The id of the request that it goes back to, for logs."""
    redo: Redo = Redo.NOTHING
    revert_to: str = ""
    """The id of a snapshot, for `Redo.REVERT`."""
    orders: tuple[Order, ...] = ()
    """Snapshots that are to be made or removed, the oldest first."""
    has_snapshots: bool = False
    disk_iops: int = 0
    disk_mb: int = 0
    """What its disk may do (`core.machine_limits`)."""
    disk_limited: bool = True
    """Its domain knows that, by all that is recorded."""
    volumes: tuple[Volume, ...] = ()
    """Those that it has, is to get or has not let go of."""
    most_vcpus: int = 0
    most_memory_mib: int = 0
    """What its domain leaves room for, or will from its next start on; 0: no more than it has."""
    grows: bool = False
    """While it runs: its guest has less than its row says, by all that is recorded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true of a machine now."""

    domain: Domain | None
    disk: bool
    seed: bool
    network_version: int
    """The node spec that netd follows; 0 when the bridge is not there."""
    age: float
    """Seconds in this state by a clock that nobody can set."""
    answered: bool = False
    """SSH sent a banner in this state."""
    asked_ago: float | None = None
    """Seconds since the guest was asked to shut down in this state."""
    panicked: bool = False
    """Its console says so; looked at while it boots."""
    image: int = 100
    """Percent of the machine's image that have come to the node; looked at while it has no disk."""
    turn_ago: float | None = None
    """Seconds since a machine out of a pool may get its identity; None: others come first, which asked before."""
    busy: bool = False
    """Machines of people start on this node: what nobody waits for makes way."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    boot_timeout: float
    stop_timeout: float


class Fault(StrEnum):
    """Why a boot or a running machine failed by itself."""

    BOOT_TIMEOUT = "boot_timeout"
    CRASH = "crash"
    DISK_GONE = "disk_gone"


@dataclass(frozen=True, slots=True)
class Show:
    """Tell people which step it is."""

    step: str


@dataclass(frozen=True, slots=True)
class MakeDisk:
    """An overlay on the image."""


@dataclass(frozen=True, slots=True)
class GrowDisk:
    """To the size that its row says; a disk never shrinks."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Copy the disk as it is at one moment, and record it."""

    order: Order
    live: bool
    """The machine runs."""
    patient: bool = False
    """Where it cannot be frozen it is tried again: its agent starts after its SSH."""


@dataclass(frozen=True, slots=True)
class RemoveSnapshot:
    """Its file, and record that it is gone."""

    id: str


@dataclass(frozen=True, slots=True)
class RemoveSnapshots:
    """All files of a machine's snapshots."""


@dataclass(frozen=True, slots=True)
class RestoreDisk:
    """Put a copy of the snapshot `id` in the place of the disk."""

    id: str


@dataclass(frozen=True, slots=True)
class MakeVolume:
    """An empty file of its size."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class AttachVolume:
    """Give it to its machine, and record that it has it; one that is off gets it when it starts."""

    volume: Volume
    live: bool


@dataclass(frozen=True, slots=True)
class DetachVolume:
    """Take it from its machine, and record that."""

    volume: Volume
    live: bool
    patient: bool = False
    """Where the guest cannot be asked whether it uses it, it is tried again: its agent starts after its SSH."""


@dataclass(frozen=True, slots=True)
class GrowVolume:
    """To the size that its row says. `live`: a guest that runs has it."""

    volume: Volume
    live: bool


@dataclass(frozen=True, slots=True)
class CopyVolume:
    """Make a snapshot of one, as it is at one moment, and record that."""

    volume: Volume
    order: Order
    live: bool
    """A guest that runs has it."""
    patient: bool = False
    """As with `TakeSnapshot`."""


@dataclass(frozen=True, slots=True)
class RevertVolume:
    """Its snapshot `revert_to` takes its place, while no guest has it; record that."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class RemoveVolumeSnapshot:
    """Its file, and record that it is gone."""

    volume: Volume
    snapshot: str


@dataclass(frozen=True, slots=True)
class RemoveVolume:
    """Its file and those of its snapshots, and record that it is gone."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class MarkRedone:
    """Record that nothing is to be done to the disk any more."""


@dataclass(frozen=True, slots=True)
class WriteSeed:
    """The machine's identity for cloud-init."""


@dataclass(frozen=True, slots=True)
class Define:
    """The domain, as its row says."""


@dataclass(frozen=True, slots=True)
class Start:
    """Power on."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Let a paused guest go on."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Pause a running guest."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Wait until a pool machine's system has come up."""


@dataclass(frozen=True, slots=True)
class MarkWarm:
    """Record that a pool machine may be taken."""


@dataclass(frozen=True, slots=True)
class GiveIdentity:
    """Tell a running guest who it is, by its agent; with that its SSH starts."""


@dataclass(frozen=True, slots=True)
class BootAnew:
    """Record that a taken machine boots after all."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Ask the guest."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Have the guest write what it has yet to write, as far as it hears: volumes outlive its end."""


@dataclass(frozen=True, slots=True)
class Destroy:
    """Power off without asking."""


@dataclass(frozen=True, slots=True)
class Undefine:
    """Forget the domain."""


@dataclass(frozen=True, slots=True)
class RemoveFiles:
    """Disk, seed and console."""


@dataclass(frozen=True, slots=True)
class PushKeys:
    """Tell the running guest who may log in now."""


@dataclass(frozen=True, slots=True)
class LimitDisk:
    """Have the running domain follow what its disk may do now, and record it."""


@dataclass(frozen=True, slots=True)
class Grow:
    """Give the guest that runs what its row says, tell it, and record what it has."""

    patient: bool = False
    """Where the guest cannot be told it is tried again: its agent starts after its SSH."""


@dataclass(frozen=True, slots=True)
class MarkStarted:
    """Record that this boot's domain was started."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Record that all is in place for a machine that comes."""


@dataclass(frozen=True, slots=True)
class StartPaused:
    """Power on without letting the guest run: libvirt copies the disks of domains that are on."""


@dataclass(frozen=True, slots=True)
class Migrate:
    """Move the domain with its disk, and record that it has left."""


@dataclass(frozen=True, slots=True)
class AskTarget:
    """A migration was interrupted: make sure that none is under way, then ask the other end."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """Say whether the machine is here."""


@dataclass(frozen=True, slots=True)
class EndMove:
    """Call a move off, once it is sure that the machine is still here."""


@dataclass(frozen=True, slots=True)
class FinishMove:
    """Record that the machine is at the other node."""


@dataclass(frozen=True, slots=True)
class Fire:
    """Record an event of the state table; with a fault, its cause and the console's end too."""

    event: Event
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Look for the SSH banner from now on."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something changes, or `seconds` are over."""

    reason: str
    seconds: float | None = None


Change = (
    Show
    | MakeDisk
    | GrowDisk
    | TakeSnapshot
    | RemoveSnapshot
    | RemoveSnapshots
    | RestoreDisk
    | MakeVolume
    | AttachVolume
    | DetachVolume
    | GrowVolume
    | CopyVolume
    | RevertVolume
    | RemoveVolumeSnapshot
    | RemoveVolume
    | MarkRedone
    | WriteSeed
    | Define
    | Start
    | Resume
    | Suspend
    | Settle
    | MarkWarm
    | GiveIdentity
    | BootAnew
    | Shutdown
    | Flush
    | Destroy
    | Undefine
    | RemoveFiles
    | PushKeys
    | LimitDisk
    | Grow
    | MarkStarted
    | Prepared
    | StartPaused
    | Migrate
    | AskTarget
    | Confirm
    | EndMove
    | FinishMove
    | Fire
    | Probe
    | Wait
)
