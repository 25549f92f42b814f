"""Queues of slow lines: IFB devices and filters by tc. What was made is remembered with the device's index, so that a second apply
changes nothing, and a device that was made anew gets its filters again."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from netd.core.shaping import MAJOR, PREFERENCE, Job
from netd.errors import NetdError
from netd.shell import files
from netd.shell.kernel import SYS
from netd.shell.run import run

FILE = "shaping.json"
Made = dict[str, tuple[str, str, str]]
"""Device → (kind of job, its digest, the device's index)."""


@functools.cache
def leaf() -> str:
    """The best queue for bulk that this kernel has; asked in a namespace without a name."""
    return "fq_codel" if "yes" in _tried("tc qdisc add dev lo root fq_codel") else "bfifo"


@functools.cache
def missing() -> str:
    """What of the kernel is not there; "" when all is."""
    text = (
        f"ip link add try0 type ifb && tc qdisc add dev try0 root handle {MAJOR:x}: htb && tc qdisc add dev lo clsact"
    )
    text += " && tc filter add dev lo egress protocol all u32 match u32 0 0 action mirred egress redirect dev try0"
    return "" if "yes" in _tried(text) else "sch_htb, ifb, cls_u32 and act_mirred"


def _tried(text: str) -> str:
    return run(["unshare", "-n", "sh", "-c", f"({text}) 2>/dev/null && echo yes"], check=False)


class Tc:
    """`state`: netd's folder."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    def follow(self, jobs: Sequence[Job]) -> list[str]:
        """Bring devices to `jobs`, which is all that there should be; what was done. Devices that are not there are left for later."""
        made, changes = self._made(), list[str]()
        wanted = {job.device for job in jobs}
        try:
            for device in sorted(set(made) - wanted, key=lambda name: (made[name][0] == "queue", name)):
                changes += _remove(device, made.pop(device)[0])
            for job in jobs:
                changes += self._do(job, made)
        finally:
            if made != self._made():
                files.write(self._path, json.dumps(made), 0o600)
        return changes

    @staticmethod
    def _do(job: Job, made: Made) -> list[str]:
        state = (job.kind, job.digest, _index(job.device))
        if made.get(job.device) == state or (job.kind == "filters" and not state[2]):
            return []
        if job.kind == "queue":  # filters lead to a device, not to a name, so all are to be made again
            made |= {name: (kind, "", index) for name, (kind, _, index) in made.items() if kind == "filters"}
        made[job.device] = (job.kind, "", state[2])
        try:
            _make(job)
        except NetdError:
            if _index(job.device) == state[2]:
                raise
            return []  # it has gone meanwhile
        made[job.device] = (job.kind, job.digest, _index(job.device))
        return [f"tc {job.kind} {job.device}"]

    def doubt(self, jobs: Sequence[Job]) -> None:
        """Forget what others have taken away meanwhile, so that `follow` makes it again; links, which nobody else touches, are believed."""
        made = self._made()
        gone = [
            job.device for job in jobs if job.device in made and not job.device.startswith("gl") and not _there(job)
        ]
        if gone:
            files.write(self._path, json.dumps({name: row for name, row in made.items() if name not in gone}), 0o600)

    def stop(self) -> list[str]:
        """Remove all of ours."""
        changes = self.follow(())
        self._path.unlink(missing_ok=True)
        return changes

    def _made(self) -> Made:
        with contextlib.suppress(ValueError, OSError, TypeError):
            rows = json.loads(files.read(self._path) or "{}")
            return {str(name): (str(kind), str(digest), str(index)) for name, (kind, digest, index) in rows.items()}
        return {}


def _index(device: str) -> str:
    """ "" without such a device. An index comes again after a reboot alone, which the boot's id tells."""
    with contextlib.suppress(OSError):
        return (
            (SYS / device / "ifindex").read_text().strip()
            + " "
            + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        )
    return ""


def _make(job: Job) -> None:
    if job.kind == "queue":
        if not _index(job.device):
            run(["ip", "link", "add", job.device, "type", "ifb"])
        run(["ip", "link", "set", job.device, "up"])
        run(["tc", "qdisc", "del", "dev", job.device, "root"], check=False)
    else:
        _clear(job.device)
        run(["tc", "qdisc", "add", "dev", job.device, "clsact"], check=False)  # somebody's may be there
    run(["tc", "-batch", "-"], input="".join(f"{line}\n" for line in job.lines))


def _remove(device: str, kind: str) -> list[str]:
    if not _index(device):
        return []
    if kind == "queue":
        run(["ip", "link", "delete", device], check=False)
    else:
        _clear(device)
        _drop_empty(device)
    return [f"tc remove {kind} {device}"]


def _clear(device: str) -> None:
    for pref in PREFERENCE.values():
        run(["tc", "filter", "del", "dev", device, "egress", "pref", str(pref)], check=False)


def _drop_empty(device: str) -> None:
    """The place of filters, if nobody else has any there."""
    if not any(run(["tc", "filter", "show", "dev", device, way], check=False).strip() for way in ("egress", "ingress")):
        run(["tc", "qdisc", "del", "dev", device, "clsact"], check=False)


def _there(job: Job) -> bool:
    if job.kind == "queue":
        return f"htb {MAJOR:x}:" in run(["tc", "qdisc", "show", "dev", job.device], check=False)
    shown = run(["tc", "filter", "show", "dev", job.device, "egress"], check=False)
    return all(f"pref {pref} " in shown for pref in PREFERENCE.values())
