"""Command lines and configuration for OpenSSH: pure, nothing is run here.

`garage proxy NAME` is the ProxyCommand; it learns the machine's host key over the controller's TLS and writes it into a file
named like the host before it passes on the first byte, which is before ssh reads its known hosts. So nobody types "yes".
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from garage.client.errors import local_error

USER = "debian"
SUFFIX = ".garage"
"""Ends the names that plain `ssh` uses, e.g. `ssh arm-test.garage`."""
WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
"""ssh(1)'s options that take a value, as of OpenSSH 9.9."""
SCP_WITH_VALUE = frozenset("cDFiJloPSX")
_REF = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")
_REMOTE = re.compile(r"(?:[^@/:]+@)?([^@/:\[\]]+):")


@dataclass(frozen=True, slots=True)
class Line:
    """An ssh command line taken apart; `user` only where it was written as USER@NAME."""

    options: tuple[str, ...]
    user: str
    machine: str
    command: tuple[str, ...]

    @property
    def destination(self) -> str:
        """USER@NAME; only NAME where `-l` says who."""
        return self.machine if self.has("l") else f"{self.user or USER}@{self.machine}"

    def has(self, letter: str) -> bool:
        """Whether the option `-letter` was given."""
        return any(_letter_with_value(option) == letter for option in self.options)


def split(arguments: Sequence[str]) -> Line:
    """As ssh(1) reads it: [options] [USER@]NAME [options] [--] [command …]; raises `invalid_field` without a name."""
    options, rest = _options(arguments, WITH_VALUE)
    if not rest:
        raise local_error("invalid_field", "which machine?", hint="garage ssh NAME [-- COMMAND]")
    user, _, name = rest[0].rpartition("@")
    more, command = _options(rest[1:], WITH_VALUE)
    return Line((*options, *more), user, check_ref(name), tuple(command))


def _options(arguments: Sequence[str], with_value: frozenset[str]) -> tuple[list[str], list[str]]:
    """(leading options with their values, what follows); a lone `--` between the two is dropped."""
    taken = 0
    while taken < len(arguments) and arguments[taken].startswith("-") and arguments[taken] != "-":
        if arguments[taken] == "--":
            return list(arguments[:taken]), list(arguments[taken + 1 :])
        letter = _letter_with_value(arguments[taken], with_value)
        value_is_next = bool(letter) and arguments[taken].index(letter, 1) == len(arguments[taken]) - 1
        taken += 2 if value_is_next else 1
    return list(arguments[:taken]), list(arguments[taken:])


def _letter_with_value(option: str, with_value: frozenset[str] = WITH_VALUE) -> str:
    """The letter in a cluster like `-vNL` that takes a value (the rest of the word, or the next one); "" without one."""
    return next((letter for letter in option[1:] if letter in with_value), "") if option.startswith("-") else ""


def check_ref(name: str) -> str:
    """A machine's id, NAME or NAME.PROJECT in lower case, without the suffix; safe as a file's name."""
    plain = name.lower().removesuffix(SUFFIX)
    if _REF.fullmatch(plain):
        return plain
    raise local_error("invalid_field", "“{name}” is no machine's name", hint="garage machine list", name=name)


def remotes(arguments: Sequence[str]) -> list[str]:
    """The machines in scp(1)'s arguments: those before the first colon of a word that has no slash before it."""
    _, paths = _options(arguments, SCP_WITH_VALUE)
    found = [match[1] for path in paths if (match := _REMOTE.match(path))]
    return list(dict.fromkeys(check_ref(name) for name in found))


def named(arguments: Sequence[str]) -> list[str]:
    """scp(1)'s arguments with our user written before each machine that has none: an option would override those that have."""
    options, paths = _options(arguments, SCP_WITH_VALUE)
    return [
        *options,
        *(f"{USER}@{path}" if _REMOTE.match(path) and "@" not in path.split(":")[0] else path for path in paths),
    ]


def connect_options(program: Sequence[str], folder: Path, identity: Path | None) -> list[str]:
    """`-o` options by which ssh, scp and sftp reach machines through the controller."""
    pairs = settings(program, folder)
    options = [part for key, value in pairs.items() for part in ("-o", f"{key}={value}")]
    return [*options, "-i", str(identity)] if identity else options


def settings(program: Sequence[str], folder: Path) -> dict[str, str]:
    """ssh_config(5) keys; `program` is how to run ourselves, `folder` holds a file of host keys per host."""
    proxy = " ".join(shlex.quote(word).replace("%", "%%") for word in program)
    return {
        "ProxyCommand": f"{proxy} proxy %n",
        "UserKnownHostsFile": quoted_path(folder / "%k"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "ServerAliveInterval": "30",
    }


def quoted_path(path: Path) -> str:
    """A path as ssh_config(5) takes it; the last part may hold a token, the rest must not be read as one."""
    return f'"{str(path.parent).replace("%", "%%")}/{path.name}"'


def config_text(program: Sequence[str], folder: Path, identities: Sequence[Path]) -> str:
    """The block for `~/.ssh/config`: plain ssh, scp, rsync and editors reach NAME.garage with it."""
    lines = [
        f"Host *{SUFFIX}",
        f"  User {USER}",
        *(f"  {key} {value}" for key, value in settings(program, folder).items()),
    ]
    lines += [f"  IdentityFile {quoted_path(path)}" for path in identities]
    return "\n".join(lines) + "\n"


def known_host(host: str, host_key: str) -> str:
    """A known_hosts line."""
    return f"{host} {host_key.strip()}\n"
