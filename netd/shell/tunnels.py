"""WireGuard tunnels: the kernel's where it has the module, else `wireguard-go -f` per link in a session of its own, which survives netd
and is adopted again."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from netd.core.endpoints import Seen, Trial, look, order
from netd.core.overlay import interface
from netd.core.tunnel_plan import Interface, Step, parse_dump, plan_tunnels
from netd.core.wanted import Tunnel, Wanted
from netd.errors import NetdError
from netd.shell import keys
from netd.shell.kernel import has_uplink, ip_json
from netd.shell.run import run

SOCKETS = Path("/var/run/wireguard")
START_SECONDS = 5.0
LOOK_AGAIN = 60.0
"""Seconds; a look makes the kernel search for the module."""


def _makes_one() -> bool:
    """By making one."""
    name = f"glprobe{os.getpid() % 100_000}"
    made = "yes" in run(["sh", "-c", f"ip link add {name} type wireguard 2>/dev/null && echo yes"], check=False)
    if made:
        run(["ip", "link", "delete", name], check=False)
    return made


class Module:
    """Whether the kernel makes WireGuard interfaces. A "yes" is believed for good, a "no" for `LOOK_AGAIN`: a module that is loaded later
    carries the links that are made from then on; those that stand stay with their processes."""

    def __init__(self, look: Callable[[], bool] = _makes_one, clock: Callable[[], float] = time.monotonic) -> None:
        self._look, self._clock = look, clock
        self._looking = threading.Lock()
        self._there, self._next = False, -math.inf

    def there(self) -> bool:
        with self._looking:
            if not self._there and self._clock() >= self._next:
                self._there, self._next = self._look(), self._clock() + LOOK_AGAIN
            return self._there


has_module = Module().there
"""Of this process."""


class WireGuard:
    """`folder` holds the node's key pairs and the pid files of user-space tunnels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trials: dict[int, Trial] = {}
        self._heard: dict[int, tuple[int, float]] = {}
        """Link number → (bytes received, when they last grew)."""

    def plan(self, wanted: Wanted) -> list[str]:
        """What `follow` would do. Which of a peer's addresses is being tried is the daemon's own business, so it is no difference."""
        return [str(step) for step in self._steps(wanted, self._present(wanted.instance)) if step.kind != "endpoint"]

    def follow(self, wanted: Wanted) -> list[str]:
        """Bring tunnels to what is wanted; the changes made. One that fails holds up none of the others; its NetdError is raised after
        them."""
        steps = self._steps(wanted, self._present(wanted.instance))
        failed: dict[str, NetdError] = {}
        for step in steps:
            if step.name not in failed:
                try:
                    self._do(step)
                except NetdError as error:
                    failed[step.name] = error
        for first in failed.values():
            raise first
        return [str(step) for step in steps]

    def observe(self, wanted: Wanted) -> Mapping[int, Tunnel]:
        present, now = self._present(wanted.instance), time.time()
        found = {link.number: present.get(interface(wanted.instance, link.number)) for link in wanted.spec.links}
        return {
            number: Tunnel(
                now - seen.handshake if seen.handshake else None, seen.endpoint, seen.received, seen.sent, seen.mtu
            )
            for number, seen in found.items()
            if seen is not None
        }

    def stop(self, instance: str) -> None:
        for name in self._present(instance):
            self._remove(name)

    def _steps(self, wanted: Wanted, present: Mapping[str, Interface]) -> list[Step]:
        numbers = {link.own_key for link in wanted.spec.links}
        private = {number: keys.private(self._folder, number) for number in numbers}
        public = {number: keys.public(self._folder, number) for number in numbers}
        endpoints = self._endpoints(wanted, present)
        return plan_tunnels(wanted.instance, wanted.spec, present, private, public, endpoints, wanted.mtus)

    def _endpoints(self, wanted: Wanted, present: Mapping[str, Interface]) -> dict[int, str | None]:
        """Where each peer is to be spoken to: what works stays, what does not gives way to the next candidate."""
        now, own4, own6 = time.time(), has_uplink("-4"), has_uplink("-6")
        for link in wanted.spec.links:
            candidates = order(link.endpoints, own4=own4 or not own6, own6=own6 or not own4)
            seen = present.get(interface(wanted.instance, link.number), Interface())
            before = self._heard.get(link.number)
            if before is None or before[0] != seen.received:
                self._heard[link.number] = (seen.received, now)
            heard = self._heard[link.number][1] if before else None
            shown = Seen(
                seen.endpoint,
                float(seen.handshake) if seen.handshake else None,
                heard,
                gone=bool(seen.endpoint) and not (own6 if "[" in str(seen.endpoint) else own4) and bool(candidates),
            )
            self._trials[link.number] = look(self._trials.get(link.number, Trial()), candidates, shown, now)
        return {link.number: self._trials[link.number].current for link in wanted.spec.links}

    def _present(self, instance: str) -> dict[str, Interface]:
        """Interfaces of ours; a user-space one whose process died is gone, its socket is cleared away."""
        prefix = f"gl{instance}"
        rows = {row["ifname"]: row for row in ip_json("addr", "show") if row["ifname"].startswith(prefix)}
        for path in SOCKETS.glob(f"{prefix}*.sock"):
            if path.stem not in rows and self._pid(path.stem) is None:
                path.unlink(missing_ok=True)
        configured = parse_dump(run(["wg", "show", "all", "dump"], check=False), prefix) if rows else {}
        return {
            name: replace(
                configured.get(name, Interface()),
                addresses=frozenset(f"{a['local']}/{a['prefixlen']}" for a in row.get("addr_info", [])),
                mtu=row["mtu"],
                up="UP" in row["flags"],
            )
            for name, row in rows.items()
        }

    def _do(self, step: Step) -> None:
        if step.kind == "make":
            self._make(step.name)
        elif step.kind == "configure":
            run(["wg", "setconf", step.name, "/dev/stdin"], input=step.secret)
        elif step.kind == "endpoint":
            peer, endpoint = step.text.split()
            run(["wg", "set", step.name, "peer", peer, "endpoint", endpoint])
        elif step.kind == "ip":
            run(["ip", *step.text.split()])
        else:
            self._remove(step.name)

    def _make(self, name: str) -> None:
        # left by one that was killed, which `wg` would take for the new one's
        (SOCKETS / f"{name}.sock").unlink(missing_ok=True)
        if has_module():
            run(["ip", "link", "add", name, "type", "wireguard"])
            return
        SOCKETS.mkdir(mode=0o755, exist_ok=True)
        with (self._folder / "tunnels.log").open("ab") as log:
            process = subprocess.Popen(
                ["wireguard-go", "-f", name],
                **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True},  # type: ignore[call-overload]
                env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin"), "LOG_LEVEL": "error"},
            )
        (self._folder / f"{name}.pid").write_text(f"{process.pid}\n")
        deadline = time.monotonic() + START_SECONDS
        while not (SOCKETS / f"{name}.sock").exists() or not Path(f"/sys/class/net/{name}").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NetdError(
                    "tool", f"wireguard-go does not start {name}", hint=f"see {self._folder / 'tunnels.log'}"
                )
            time.sleep(0.005)

    def _pid(self, name: str) -> int | None:
        """Of the process that carries `name`, if it still does."""
        with contextlib.suppress(OSError, ValueError):
            number = int((self._folder / f"{name}.pid").read_text())
            if Path(f"/proc/{number}/cmdline").read_bytes().rstrip(b"\0").endswith(f"-f\0{name}".encode()):
                return number
        return None

    def _remove(self, name: str) -> None:
        if (number := self._pid(name)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
            _gone(number)
        run(["ip", "link", "delete", name], check=False)
        (self._folder / f"{name}.pid").unlink(missing_ok=True)
        (SOCKETS / f"{name}.sock").unlink(missing_ok=True)


def _gone(number: int) -> None:
    """Until it has ended; it may be a child of ours or not."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, os.WNOHANG)
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)
