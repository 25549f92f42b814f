"""Servers that are no nodes yet, over SSH, for the web process: their host keys, and one login by password."""

from __future__ import annotations

from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.node_scripts import INSTALL_KEY
from garage.shell.remote_shell import RemoteShell, scan


class SshStrangers:
    """`garage.api.adding.Strangers`. It has no key of its own: that is root's, and the worker's."""

    def host_keys(self, address: str) -> list[str]:
        return scan(address)

    def let_in(self, address: str, host_key: str, password: str, line: str) -> None:
        with RemoteShell(NodeAccess(address, "", address, host_key), None) as shell:
            done = shell.login(password, INSTALL_KEY, timeout=30, input=f"{line}\n")
        if done.returncode:
            text, hint = N_("the key could not be put there: {reason}"), N_("is root's home on that server writable?")
            raise GarageError("ssh_failed", text, hint=hint, reason=done.stderr[-200:])
