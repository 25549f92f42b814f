"""qemu-guest-agent through libvirt (QEMU's documentation, "QEMU Guest Agent Protocol Reference"). What it answers comes from the guest,
whose root may be anybody: taken only in the shape that the protocol has."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import libvirt_qemu
import msgspec

from garage.errors import N_, GarageError

T = TypeVar("T")
TIMEOUT = 3
"""Seconds that the agent may take for an answer."""
FREEZE_TIMEOUT = 10
"""Seconds for freezing: before, all that the guest has yet to write goes to its disk."""
THAW_AFTER = 20
"""Seconds after which a frozen guest thaws by itself, whatever became of us and of its agent."""
THAW_BY_ITSELF = f"""[ ! -e /run/garage-thaw ] || kill "$(cat /run/garage-thaw)" 2>/dev/null
echo $$ >/run/garage-thaw
places=$(while read -r device place _; do case $device in /dev/*) echo "$place";; esac; done </proc/self/mounts)
sleep {THAW_AFTER}
for place in $places; do fsfreeze --unfreeze "$place"; done"""
"""Begun before it is frozen; of several, the last one counts. Without `fsfreeze` (util-linux) in the guest it does nothing."""


class _Started(msgspec.Struct):
    pid: int


class _Status(msgspec.Struct):
    exited: bool
    exitcode: int = 1
    """Absent where a signal ended it."""


def write_file(domain: Any, path: str, data: bytes) -> None:
    handle = _ask(domain, int, "guest-file-open", path=path, mode="w")
    try:
        text = base64.b64encode(data).decode()
        _ask(domain, dict, "guest-file-write", **{"handle": handle, "buf-b64": text})
    finally:
        _ask(domain, dict, "guest-file-close", handle=handle)


def execute(domain: Any, script: str, data: bytes) -> int:
    """Begin a shell script with `data` as its standard input; its pid in the guest."""
    given = {"input-data": base64.b64encode(data).decode()} if data else {}
    return _ask(domain, _Started, "guest-exec", path="/bin/sh", arg=["-c", script], **given).pid


def exit_code(domain: Any, pid: int) -> int | None:
    """None while it runs; a signal counts as 1."""
    status = _ask(domain, _Status, "guest-exec-status", pid=pid)
    return status.exitcode if status.exited else None


def freeze(domain: Any) -> int:
    """Have the guest's file systems stand still for at most `THAW_AFTER` seconds; how many do. Raises what the others here raise."""
    execute(domain, THAW_BY_ITSELF, b"")
    return _within(FREEZE_TIMEOUT, domain, int, "guest-fsfreeze-freeze", {})


def thaw(domain: Any) -> int:
    """How many stood still until now. A guest that is not frozen is left as it is."""
    if _ask(domain, str, "guest-fsfreeze-status") == "thawed":
        return 0
    return _within(FREEZE_TIMEOUT, domain, int, "guest-fsfreeze-thaw", {})


def _ask(domain: Any, shape: type[T], command: str, **arguments: Any) -> T:
    return _within(TIMEOUT, domain, shape, command, arguments)


def _within(seconds: int, domain: Any, shape: type[T], command: str, arguments: Mapping[str, Any]) -> T:
    """Raises libvirtError, or `hypervisor_error` for an answer of another shape."""
    question = json.dumps({"execute": command, "arguments": arguments})
    answer = libvirt_qemu.qemuAgentCommand(domain, question, seconds, 0)
    try:
        return msgspec.json.decode(msgspec.json.decode(answer, type=dict[str, msgspec.Raw])["return"], type=shape)
    except (msgspec.MsgspecError, KeyError, UnicodeError, RecursionError):
        raise GarageError(
            "hypervisor_error", N_("the guest's agent answered {command} with something else"), command=command
        ) from None
