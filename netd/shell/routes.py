"""FRR: zebra, bgpd and bfdd (and mgmtd, where FRR has it) of our own in path space `garage_XXX`, brought to a configuration by one vtysh
with what differs.

They run in a session of their own, survive netd and are adopted again. Debian's frr service is another path space and stays untouched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from netd.core.bgp_alarms import Heard, Lie, alarms, lies, path_alone, routes
from netd.core.bgp_diff import commands
from netd.core.bgp_port import bgp_port
from netd.core.bgp_text import COOL_OFF, bgp_config, most_sent
from netd.core.wanted import Wanted
from netd.errors import NetdError
from netd.shell import files
from netd.shell.run import run, start

DAEMONS = ("mgmtd", "zebra", "bgpd", "bfdd")
"""In this order. FRR 8.4 (Debian 12) has no mgmtd; the zebra of 10.3 (Debian 13) never stops asking for it."""
BIN, ETC, RUN = Path("/usr/lib/frr"), Path("/etc/frr"), Path("/var/run/frr")
LIB = Path("/var/lib/frr")
"""Of FRR 10."""
CRASHES = Path("/var/tmp/frr")  # noqa: S108 (FRR's own place, a folder per process)
START_SECONDS = 10.0
LOOK_EVERY, CALM_EVERY = 0.5, 2.0
"""Seconds for which what was seen of the sessions is believed: while one is missing, and when all stand or none came or went lately."""
LATELY = 20.0
"""Seconds; some links never come up, as between two NATs, and nobody waits for those."""
ALARMS_EVERY, CONFIRM = 10.0, 3.0
"""Seconds until what neighbours announce is looked at again: usually, and when something new was wrong."""
TALK = 3
"""Messages of a peer between two looks at the sessions, after which its prefixes are counted; a keepalive comes every three seconds."""
ASKED_AT_ONCE = 8
"""Neighbours in one question: each may answer with megabytes."""


class Frr:
    """`folder` keeps the configuration that was applied last."""

    def __init__(self, folder: Path) -> None:
        self._config, self._applied = folder / "frr.commands", folder / "frr.conf"
        self._seen: tuple[float, frozenset[int]] = (-CALM_EVERY, frozenset())
        self._changed = time.monotonic()
        """When a session came or went, or FRR was told something."""
        self._looked: tuple[float, int] = (-ALARMS_EVERY, 0)
        """When, and with which Table, lies were last looked for."""
        self._messages: dict[str, int] = {}
        """By peer, at the last look."""
        self._loud: dict[int, float] = {}
        """Links whose peer announced too much, and until when (monotonic) it is not listened to."""
        self._suspected: frozenset[Lie] = frozenset()
        self._confirmed: frozenset[Lie] = frozenset()

    def plan(self, wanted: Wanted) -> list[str]:
        space, text = _space(wanted.instance), bgp_config(self._listening(wanted), os.uname().nodename)
        missing = [f"start {name}" for name in _missing(space)]
        if not missing and files.read(self._applied) == text:
            return []
        present = "" if len(missing) == len(installed()) else running(space)
        return missing + [f"frr {line}" for line in commands(present, text)]

    def follow(self, wanted: Wanted) -> list[str]:
        """Bring FRR to what is wanted; the changes made. Raises NetdError("tool") when FRR has not taken all of it."""
        space, text = _space(wanted.instance), bgp_config(self._listening(wanted), os.uname().nodename)
        missing = _missing(space)
        if not missing and files.read(self._applied) == text:
            return []
        self._applied.unlink(missing_ok=True)
        self._start(space, missing)
        lines = commands("", text) if missing else []
        self._tell(
            space, lines
        )  # what zebra still has is in the configuration shown, and bgpd that was started knows nothing of it
        if more := commands(running(space), text):
            self._tell(space, more)
            if left := commands(running(space), text):
                raise NetdError(
                    "tool", f"FRR has not taken “{'; '.join(left[:4])}”", hint="is its version 8.4 or later?"
                )
        files.write(self._applied, text, 0o644)
        self._seen, self._changed = (-CALM_EVERY, frozenset()), time.monotonic()
        return [f"start {name}" for name in missing] + [f"frr {line}" for line in (*lines, *more)]

    def _tell(self, space: str, lines: Sequence[str]) -> None:
        if lines:
            files.write(self._config, "".join(f"{line}\n" for line in lines), 0o644)
            # its exit status says nothing of single lines
            run(["vtysh", "-N", space, "-f", str(self._config)], check=False)

    def _start(self, space: str, names: Sequence[str]) -> None:
        """Bgpd without zebra has no routes, so all start again when zebra is missing; or when mgmtd never ran, for then those that run are
        of an FRR from before an upgrade."""
        if "zebra" in names or ("mgmtd" in names and not (RUN / space / "mgmtd.pid").exists()):
            names = installed()
        self._end(space, names)
        for folder in (ETC / space, RUN / space):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            shutil.chown(folder, "frr", "frr")
        (ETC / space / "vtysh.conf").touch()
        for name in names:
            start([str(BIN / name), "-N", space, "-d", "-A", "127.0.0.1", "-P", "0", *_options(space, name)])
        deadline = time.monotonic() + START_SECONDS
        while any(_pid(space, name) is None or not (RUN / space / f"{name}.vty").exists() for name in names):
            if time.monotonic() > deadline:
                raise NetdError("tool", "FRR does not start", hint="is its package complete? see /var/log/syslog")
            time.sleep(0.01)

    def _end(self, space: str, names: Sequence[str] = DAEMONS) -> None:
        """With what they keep for the case of a crash, which FRR itself leaves behind."""
        running = {name: number for name in reversed(names) if (number := _pid(space, name)) is not None}
        for number in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while any(_pid(space, name) for name in names) and time.monotonic() < deadline:
            time.sleep(0.02)
        for name, number in running.items():
            shutil.rmtree(CRASHES / f"{name}.{number}", ignore_errors=True)

    def stop(self, instance: str) -> None:
        """End ours; zebra takes its routes with it."""
        space = _space(instance)
        self._end(space)
        self._applied.unlink(missing_ok=True)
        for folder in (ETC / space, RUN / space, LIB / space):
            shutil.rmtree(folder, ignore_errors=True)

    def established(self, wanted: Wanted) -> frozenset[int]:
        """Numbers of the links over which a BGP session stands; looked at again after `LOOK_EVERY`."""
        (at, found), now = self._seen, time.monotonic()
        calm = len(found) == len(wanted.spec.links) or now - self._changed > LATELY
        if now - at < (CALM_EVERY if calm else LOOK_EVERY):
            return found
        summary = _ask(wanted.instance, "show bgp summary json")
        self._look_at_loud(wanted, _messages(summary))
        peers = _established(summary)
        up = frozenset(link.number for link in wanted.spec.links if {link.peer_ipv4, link.peer_ipv6} & peers)
        self._seen, self._changed = (time.monotonic(), up), self._changed if up == found else now
        return up

    def alarms(self, wanted: Wanted) -> tuple[str, ...]:
        """Who announces what is not their own, seen twice; looked at again after `ALARMS_EVERY`, or when the Table is another one."""
        at, version = self._looked
        wait = ALARMS_EVERY if self._suspected == self._confirmed else CONFIRM
        if time.monotonic() - at >= wait or version != wanted.table.version:
            found = lies(self._heard(wanted), wanted.table, wanted.spec.asn)
            self._suspected, self._confirmed = found, found & self._suspected
            self._looked = (time.monotonic(), wanted.table.version)
        sites = {link.peer_site for link in wanted.spec.links if link.number in self._loud}
        return alarms(self._confirmed, dict.fromkeys(sites, most_sent(len(wanted.table.sites))))

    def _listening(self, wanted: Wanted) -> Wanted:
        """Without the links whose peer announced too much: the session goes, and with it all that FRR kept of it."""
        self._loud = {number: until for number, until in self._loud.items() if until > time.monotonic()}
        if not self._loud:
            return wanted
        links = tuple(link for link in wanted.spec.links if link.number not in self._loud)
        return dataclasses.replace(wanted, spec=msgspec.structs.replace(wanted.spec, links=links))

    def _look_at_loud(self, wanted: Wanted, messages: dict[str, int]) -> None:
        """Count what those keep who had much to say; FRR does not, while all of it is refused."""
        before, self._messages = self._messages, messages
        talking = [
            (link.number, family, peer)
            for link in wanted.spec.links
            for family, peer in (("ipv4", link.peer_ipv4), ("ipv6", link.peer_ipv6))
            if link.peer_asn != wanted.spec.asn and messages.get(peer, 0) - before.get(peer, 0) > TALK
        ]
        words = [f"show bgp {family} unicast neighbors {peer} prefix-counts json" for _, family, peer in talking]
        for (number, _, _), answer in zip(talking, _ask_all(wanted.instance, words) if words else (), strict=False):
            if answer.get("ribTableWalkCounters", {}).get("Adj-in", 0) > most_sent(len(wanted.table.sites)):
                self._loud[number] = time.monotonic() + 60 * COOL_OFF

    def _heard(self, wanted: Wanted) -> Iterator[Heard]:
        up = self.established(wanted)
        heard = up - self._loud.keys()
        links = [link for link in wanted.spec.links if link.number in heard and link.peer_asn != wanted.spec.asn]
        for some in (links[first : first + ASKED_AT_ONCE] for first in range(0, len(links), ASKED_AT_ONCE)):
            peers = [(link, peer) for link in some for peer in (("ipv4", link.peer_ipv4), ("ipv6", link.peer_ipv6))]
            words = [f"show bgp {family} unicast neighbors {peer} filtered-routes json" for _, (family, peer) in peers]
            answers = _ask_all(wanted.instance, words)
            for (link, _), answer in zip(peers, answers, strict=False):
                yield Heard(link.peer_site, link.peer_asn, routes(answer))


def installed() -> tuple[str, ...]:
    """Of `DAEMONS`. All but mgmtd are needed, so one that is missing is told of when it is started."""
    return DAEMONS if (BIN / DAEMONS[0]).exists() else DAEMONS[1:]


def _options(space: str, name: str) -> list[str]:
    return ["-p", str(bgp_port(space.rpartition("_")[2]))] if name == "bgpd" else []


def _missing(space: str) -> list[str]:
    """Daemons that do not run, or not as they should: an older netd started bgpd at 179."""
    return [
        name
        for name in installed()
        if (number := _pid(space, name)) is None or not {*_options(space, name)} <= {*_words(number)}
    ]


def _words(number: int) -> list[str]:
    """Of a process: its command line, nothing when it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def _space(instance: str) -> str:
    return f"garage_{instance}"


def daemon_pid(instance: str, name: str) -> int | None:
    """Of our daemon `name`, while it runs."""
    return _pid(_space(instance), name)


def _pid(space: str, name: str) -> int | None:
    """Of our daemon `name`: the pid file's process must carry our path space in its command line."""
    with contextlib.suppress(OSError, ValueError):
        number = int((RUN / space / f"{name}.pid").read_text())
        words = _words(number)
        if words and words[0].endswith(name) and space in words:
            return number
    return None


def running(space: str) -> str:
    """The configuration that FRR has."""
    return run(["vtysh", "-N", space, "-c", "show running-config"])


def _ask(instance: str, command: str) -> dict[str, Any]:
    """The JSON that FRR answers; nothing when it does not answer."""
    try:
        found: dict[str, Any] = json.loads(_said(instance, command) or "{}")
    except json.JSONDecodeError:
        return {}
    return found


def _ask_all(instance: str, commands: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The JSON that FRR answers to each, of routes the AS paths alone; ends early when it does not answer."""
    text, at = _said(instance, *commands).strip(), 0
    decoder = json.JSONDecoder(object_hook=path_alone)
    with contextlib.suppress(json.JSONDecodeError):
        while at < len(text):
            found, at = decoder.raw_decode(text, at)
            yield found if isinstance(found, dict) else {}
            while at < len(text) and text[at].isspace():
                at += 1


def _said(instance: str, *commands: str) -> str:
    """What vtysh prints; nothing when FRR does not answer."""
    argv = ["vtysh", "-N", _space(instance), *(word for command in commands for word in ("-c", command))]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout
    except subprocess.TimeoutExpired:
        return ""


def _messages(summary: dict[str, Any]) -> dict[str, int]:
    """How many each peer has sent."""
    peers = [
        item for family in summary.values() if isinstance(family, dict) for item in family.get("peers", {}).items()
    ]
    return {address: int(peer.get("msgRcvd", 0)) for address, peer in peers}


def _established(summary: dict[str, Any]) -> set[str]:
    """Addresses of the peers whose session stands, in either family."""
    return {
        address
        for family in summary.values()
        if isinstance(family, dict)
        for address, peer in family.get("peers", {}).items()
        if peer.get("state") == "Established"
    }
