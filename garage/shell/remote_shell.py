"""The one gateway to other servers: commands and files over OpenSSH, as root, with the controller's key and the node's pinned host key.

One connection per RemoteShell, which commands share (ControlMaster). No settings of this server's or its user's are read, no agent is
asked, nothing is forwarded. What the other side says is untrusted: bounded in size and time, and shown without control characters.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from garage.core.ssh_target import KEY_TYPES, parse_host_key, parse_target, plain
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.run import Result

log = logging.getLogger(__name__)
MAX_OUTPUT = 4 * 1024 * 1024
"""Bytes of each stream of a command; one that says more is ended."""
CONNECT_SECONDS = 15.0
ALIAS = "garage-node"
"""What the generated known_hosts calls the server, however it is reached."""
PLACE = "PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8"
HOLD = "echo ready; exec cat >/dev/null"
"""What the connection's own session runs: it ends when our pipe does, so that no connection outlives us."""
CHANGED = "Host key verification failed"
DENIED = "Permission denied"


class RemoteShell:
    """`run` and `put` may be called from several threads; `close` when done. Connects at the first use."""

    def __init__(self, access: NodeAccess, key: Path | None) -> None:
        """`key`: of the controller's SSH key, private part; None where only `login` is used."""
        self._target, self._host_key = parse_target(access.address), parse_host_key(access.ssh_host_key)
        self.name = access.name
        self._folder = Path(tempfile.mkdtemp(prefix="garage-ssh-"))
        (self._folder / "known").write_text(f"{ALIAS} {self._host_key}\n")
        self._key = key
        self._lock = threading.Lock()
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RemoteShell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.drop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def drop(self) -> None:
        """End the shared connection, also one that hangs; the next command makes another."""
        with self._lock:
            if self._master is not None:
                _kill(self._master)
                self._master = None

    def options(self) -> list[str]:
        """Of ssh, without a host: what makes it ask for nothing, believe the pinned key alone and forward nothing."""
        kind = self._host_key.split()[0]
        algorithms = "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind
        settings = {
            "StrictHostKeyChecking": "yes", "UserKnownHostsFile": str(self._folder / "known"), "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": ALIAS, "HostKeyAlgorithms": algorithms, "CheckHostIP": "no", "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes", "IdentityAgent": "none", "IdentityFile": str(self._key or "none"),
            "PreferredAuthentications": "publickey", "BatchMode": "yes", "ForwardAgent": "no", "ForwardX11": "no",
            "ClearAllForwardings": "yes", "PermitLocalCommand": "no", "ConnectTimeout": "10", "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3", "LogLevel": "ERROR",
        }  # fmt: skip
        words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return ["-F", "none", *words, "-p", str(self._target.port), "-l", "root", "-T"]

    def argv(self, command: Sequence[str] | str) -> list[str]:
        """What runs `command` there over the shared connection, for whoever streams; raises `ssh_failed` when there is none."""
        self._connect()
        control = ["-o", "ControlMaster=no", "-S", str(self._folder / "control")]
        return ["ssh", *control, *self.options(), "--", self._target.host, _remote(command)]

    def run(
        self,
        command: Sequence[str] | str,
        *,
        timeout: float,
        input: bytes | str | None = None,
        check: bool = True,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Words, or a script for bash (which others can read in the list of processes: secrets go through `input`).

        `on_line` hears standard output as it comes. Raises `ssh_failed`, `timeout`, and with `check` `tool_failed`.
        """
        argv, data = self.argv(command), input.encode() if isinstance(input, str) else input
        log.debug("%s: %s", self.name, command if isinstance(command, str) else shlex.join(command))
        result = _run(argv, data, timeout, on_line)
        if result.returncode == 255:
            raise _refused(self._target.host, result.stderr)
        if check and result.returncode:
            raise GarageError(
                "tool_failed",
                N_("{node}: {tool} failed ({status}): {reason}"),
                node=self.name,
                tool=_tool(command),
                status=result.returncode,
                reason=plain(result.stderr or result.stdout),
            )
        return result

    def put(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """A file of root's, whole or not at all, never readable by others for a moment; its folder is made."""
        folder, _, name = path.rpartition("/")
        where, new, place = shlex.quote(path), shlex.quote(f"{folder}/.{name}.garage"), shlex.quote(folder or "/")
        script = (
            f"set -e; umask 022; mkdir -p {place}; umask 077; cat >{new}; chmod {mode:o} {new}; mv -f {new} {where}"
        )
        self.run(script, input=data, timeout=60.0 + len(data) / 100_000)

    def login(self, password: str, command: Sequence[str] | str, *, timeout: float, input: str | None = None) -> Result:
        """One command with a password instead of the key. The password goes through a pipe that has no other end than ssh's question."""
        with _askpass(self._folder, password) as env:
            asking = [
                "-o",
                "BatchMode=no",
                "-o",
                "PreferredAuthentications=password,keyboard-interactive",
                "-o",
                "PubkeyAuthentication=no",
            ]
            argv = [
                "ssh",
                *asking,
                "-o",
                "NumberOfPasswordPrompts=1",
                *self.options(),
                "--",
                self._target.host,
                _remote(command),
            ]
            result = _run(argv, input.encode() if input else None, timeout, None, env)
        if result.returncode == 255:
            raise _refused(self._target.host, result.stderr)
        return result

    def _connect(self) -> None:
        """Have the shared connection, made anew when it has ended."""
        with self._lock:
            if self._master is not None and self._master.poll() is None:
                return
            control = self._folder / "control"
            control.unlink(missing_ok=True)
            argv = ["ssh", "-M", "-S", str(control), *self.options(), "--", self._target.host, HOLD]
            process = _start(argv, stdin=subprocess.PIPE)
            if not _said_ready(process):
                _kill(process)
                assert process.stderr is not None  # noqa: S101
                raise _refused(self._target.host, process.stderr.read(MAX_OUTPUT).decode(errors="replace"))
            self._master = process


def scan(address: str, timeout: float = CONNECT_SECONDS) -> list[str]:
    """The host keys that a server shows, the best first, each "TYPE BASE64"; somebody has to compare them. Raises `ssh_failed`."""
    target = parse_target(address)
    argv = ["ssh-keyscan", "-p", str(target.port), "-T", str(round(timeout)), "--", target.host]
    said = _run(argv, None, timeout + 5, None)
    found = []
    for line in said.stdout.splitlines():
        with contextlib.suppress(GarageError):
            found.append(parse_host_key(line.partition(" ")[2]))
    if not found:
        raise _refused(target.host, "\n".join(dict.fromkeys(said.stderr.splitlines())))  # said once per type of key
    return sorted(found, key=lambda key: KEY_TYPES.index(key.split()[0]))


@contextlib.contextmanager
def _askpass(folder: Path, password: str) -> Iterator[dict[str, str]]:
    """The environment by which ssh asks us. The password waits in a pipe's buffer, in memory alone, and is gone after one reading."""
    pipe, script = folder / "answer", folder / "askpass"
    os.mkfifo(pipe, 0o600)
    script.write_text(f"#!/bin/sh\nIFS= read -r answer <{shlex.quote(str(pipe))} && printf '%s\\n' \"$answer\"\n")
    script.chmod(0o700)
    end = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(end, password.encode() + b"\n")
        yield {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":"}
    finally:
        os.close(end)
        pipe.unlink()
        script.unlink()


def _remote(command: Sequence[str] | str) -> str:
    words = ["bash", "-c", command] if isinstance(command, str) else list(command)
    return f"{PLACE} {shlex.join(words)}"


def _tool(command: Sequence[str] | str) -> str:
    return "script" if isinstance(command, str) else command[0]


def _refused(host: str, said: str) -> GarageError:
    if CHANGED in said:
        text = N_("{host} shows another SSH host key than the one that was pinned")
        hint = N_("somebody may be in between; if the server was installed anew, remove the node and add it again")
        return GarageError("ssh_failed", text, hint=hint, host=host)
    if DENIED in said:
        hint = N_("put the line of “garage node key” into its /root/.ssh/authorized_keys, or give a password")
        return GarageError("ssh_failed", N_("{host} does not let root in"), hint=hint, host=host)
    reason, hint = plain(said), N_("does it run, and does its SSH answer from the controller's server?")
    return GarageError(
        "ssh_failed", N_("{host} does not answer over SSH: {reason}"), hint=hint, host=host, reason=reason
    )


def _start(argv: Sequence[str], *, stdin: int, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    log.debug("$ %s", shlex.join(argv))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SSH_")}
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, **(env or {})},
            start_new_session=True,
        )
    except OSError as error:
        hint = N_("install it: “make up” does")
        text = N_("{tool} cannot be run: {reason}")
        raise GarageError("tool_failed", text, hint=hint, tool=argv[0], reason=str(error)) from None


def _said_ready(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None  # noqa: S101
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        said, deadline = b"", time.monotonic() + CONNECT_SECONDS
        while b"\n" not in said and len(said) < 4096 and waiting.select(max(0.0, deadline - time.monotonic())):
            if not (part := os.read(process.stdout.fileno(), 4096)):
                break
            said += part
    return b"ready\n" in said


def _run(
    argv: Sequence[str],
    data: bytes | None,
    timeout: float,
    on_line: Callable[[str], None] | None,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Like `shell.run.run`, with bounds on what comes back."""
    process = _start(argv, stdin=subprocess.DEVNULL if data is None else subprocess.PIPE, env=env)
    talk = _Talk(process, data or b"", on_line)
    try:
        talk.finish(argv[0], timeout)
        process.wait(timeout=5)
    except BaseException:
        _kill(process)
        raise
    return Result(process.returncode, *talk.texts())


class _Talk:
    """Feeds a process and hears it out."""

    def __init__(self, process: subprocess.Popen[bytes], data: bytes, on_line: Callable[[str], None] | None) -> None:
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self._process, self._data, self._on_line = process, memoryview(data), on_line
        self._heard: dict[int, bytearray] = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        self._out, self._told = process.stdout.fileno(), 0

    def finish(self, tool: str, seconds: float) -> None:
        """Until it says no more. Raises `timeout`, and `tool_failed` for one that says too much."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as waiting:
            for stream in self._heard:
                waiting.register(stream, selectors.EVENT_READ)
            if self._process.stdin is not None:
                os.set_blocking(self._process.stdin.fileno(), False)
                waiting.register(self._process.stdin.fileno(), selectors.EVENT_WRITE)
            while waiting.get_map():
                left = deadline - time.monotonic()
                if left <= 0 or not (ready := waiting.select(left)):
                    text = N_("{tool} took more than {seconds} s")
                    raise GarageError("timeout", text, tool=tool, seconds=round(seconds))
                for key, _ in ready:
                    if not (self._hear(key.fd) if key.fd in self._heard else self._feed(key.fd)):
                        waiting.unregister(key.fd)
                        if self._process.stdin is not None and key.fd not in self._heard:
                            self._process.stdin.close()

    def _feed(self, stream: int) -> bool:
        if self._data:
            try:
                self._data = self._data[os.write(stream, self._data[:65536]) :]
            except BlockingIOError:
                return True
            except BrokenPipeError:
                return False
        return bool(self._data)

    def _hear(self, stream: int) -> bool:
        if not (part := os.read(stream, 65536)):
            return False
        heard = self._heard[stream]
        heard += part
        if len(heard) > MAX_OUTPUT:
            raise GarageError("tool_failed", N_("{tool} says too much"), tool=str(self._process.args[0]))  # type: ignore[index]
        if stream == self._out and self._on_line:
            while (end := heard.find(b"\n", self._told)) >= 0:
                self._on_line(plain(heard[self._told : end].decode(errors="replace")))
                self._told = end + 1
        return True

    def texts(self) -> tuple[str, str]:
        out, err = (bytes(heard).decode(errors="replace") for heard in self._heard.values())
        return out, err


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
