"""A node's shell as the worker uses it: a node that does not answer is a hypervisor that is away, and a connection that hangs is killed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.remote_shell import RemoteShell
from garage.shell.run import Result

KEY = Path("keys", "node-ssh")
"""Below GARAGE_HOME: the controller's own key, which nodes let in as root."""
TIMEOUT = 20.0
PATH = re.compile(r"/[A-Za-z0-9._/+-]*")


class NodeShell(RemoteShell):
    """Errors: `hypervisor_away` when the node cannot be reached or does not answer in time, `tool_failed` for what failed on it."""

    def __init__(self, access: NodeAccess, key: Path) -> None:
        super().__init__(access, key)
        self.access = access

    def ask(
        self,
        script: str,
        input: bytes = b"",
        timeout: float = TIMEOUT,
        *,
        check: bool = True,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Run a script of ours with `set -eu`; what it says is bounded and hostile."""
        try:
            return self.run(f"set -eu\n{script}", timeout=timeout, input=input, check=check, on_line=on_line)
        except GarageError as error:
            if error.code not in ("ssh_failed", "timeout"):
                raise
            self.drop()
            raise GarageError(
                "hypervisor_away",
                N_("{node} does not answer over SSH: {reason}"),
                hint=N_("nothing is lost; machines go on, and so does the work when it is back"),
                node=self.name,
                reason=error.message[:300],
            ) from None

    def wrapper(self) -> Path:
        """A program that is called like `ssh`, for libvirt: it has a connection of its own."""
        path = self._folder / "ssh"
        if not path.exists():
            draft = path.with_name(".ssh")
            draft.write_text(f'#!/bin/sh\nexec ssh {shlex.join(self.options())} "$@"\n')
            draft.chmod(0o700)
            draft.rename(path)
        return path

    def nonsense(self) -> GarageError:
        return GarageError("hypervisor_error", N_("{node} has answered nonsense"), node=self.name)


def quoted(path: Path) -> str:
    """A path of ours in a script."""
    text = str(path)
    if not PATH.fullmatch(text) or ".." in path.parts:
        raise ValueError(f"not a path of ours: {text[:200]!r}")
    return text


def quoted_address(text: str) -> str:
    """A name or address in a script."""
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", text):
        raise ValueError(f"not an address: {text[:200]!r}")
    return text
