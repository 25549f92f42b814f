"""qemu-guest-agent through libvirt (QEMU's documentation, "QEMU Guest Agent Protocol Reference"). What it answers comes from the guest,
whose root may be anybody: taken only in the shape that the protocol has."""

from __future__ import annotations

import base64
import json
from typing import Any, TypeVar

import libvirt_qemu
import msgspec

from garage.errors import N_, GarageError

T = TypeVar("T")
TIMEOUT = 3
"""Seconds that the agent may take for an answer."""


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


def _ask(domain: Any, shape: type[T], command: str, **arguments: Any) -> T:
    """Raises libvirtError, or `hypervisor_error` for an answer of another shape."""
    question = json.dumps({"execute": command, "arguments": arguments})
    answer = libvirt_qemu.qemuAgentCommand(domain, question, TIMEOUT, 0)
    try:
        return msgspec.json.decode(msgspec.json.decode(answer, type=dict[str, msgspec.Raw])["return"], type=shape)
    except (msgspec.MsgspecError, KeyError, UnicodeError, RecursionError):
        raise GarageError(
            "hypervisor_error", N_("the guest's agent answered {command} with something else"), command=command
        ) from None
