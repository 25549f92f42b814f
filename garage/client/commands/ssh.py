"""`garage ssh`, `scp`, `ssh-config`, `proxy`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from garage.client import lease, openssh
from garage.client.completing import machines
from garage.client.errors import local_error
from garage.client.profiles import Profile, folder, write_private
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _, state_word

RAW = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": ["--help"]}
LEARN_SECONDS = 30.0
"""A running machine learns a new key through its guest agent within seconds; after this long something else is wrong."""
DIFFERS = 255
"""ssh(1)'s own exit code for a connection that did not come about."""


@click.command(
    "ssh",
    cls=Command,
    context_settings=RAW,
    help=_("Log in to a machine, or run a command on it. Takes ssh's options: garage ssh [OPTIONS] NAME [-- COMMAND]."),
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=machines)
@pass_cli
def ssh(cli: Cli, arguments: tuple[str, ...]) -> None:
    line = openssh.split(arguments)
    machine = cli.api().get(f"/machines/{line.machine}")
    lease.warn(cli, [machine])
    if machine["state"] != "ready":
        machine = _made_ready(cli, machine)
    options = _connection(cli, identity_given=line.has("i"), probe=line.destination)
    # the caller's options come first: ssh takes the first value that it sees of each
    _become([_tool("ssh"), *line.options, *options, "--", line.destination, *line.command])


def _made_ready(cli: Cli, machine: dict[str, str]) -> dict[str, str]:
    """Wait for a machine that is on its way, offer to start one that is off; raises `wrong_state` otherwise."""
    from garage.client import progress

    state, name = machine["state"], machine["name"]
    if state in ("stopped", "failed", "suspended"):
        hint = "garage machine start {name}"
        refusal = local_error("wrong_state", "{name} is {state}", hint=hint, name=name, state=state_word(state))
        question = _("{name} is {state}. Start it?").format(name=name, state=state_word(state))
        if not sys.stdin.isatty() or not click.confirm(question, default=True, err=True):
            raise refusal
        machine = cli.api().post(f"/machines/{machine['id']}/start")
    elif state not in ("requested", "preparing", "booting"):
        return machine  # unreachable may still answer; anything else the controller refuses with its own words
    found = progress.wait(cli.api(), machine, ("ready", "failed", "stopped", "lost"))
    if found["state"] != "ready":
        detail = (found.get("error") or {}).get("detail") or state_word(found["state"])
        hint = "garage machine console {name}"
        raise local_error("wrong_state", "{name}: {detail}", hint=hint, name=name, detail=detail)
    return found


def _connection(cli: Cli, *, identity_given: bool, probe: str) -> list[str]:
    """Options by which OpenSSH reaches machines; makes sure that a key of this computer is registered, unless one was given."""
    from garage.client import keys
    from garage.client.proxy import known_hosts_folder

    profile = cli.profile()
    known_hosts = known_hosts_folder(profile)
    if identity_given:
        return openssh.connect_options(program(cli, profile), known_hosts, None)
    known = keys.ensure(cli.api())
    options = openssh.connect_options(program(cli, profile), known_hosts, known.key.path)
    if known.added:
        text = (
            _("Made an SSH key for this computer and registered it.")
            if known.made
            else _("Registered this computer's SSH key.")
        )
        click.echo(text, err=True)
        _wait_until_learnt([_tool("ssh"), *options], probe)
    return options


def _wait_until_learnt(base: list[str], destination: str) -> None:
    """Until the machine takes the new key, bounded; whatever is wrong then, ssh itself says it best."""
    click.echo(_("Waiting for {name} to learn it…").format(name=destination.rpartition("@")[2]), err=True)
    argv = [*base, "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--", destination, "true"]
    give_up = time.monotonic() + LEARN_SECONDS
    while time.monotonic() < give_up:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != DIFFERS or b"Permission denied" not in done.stderr:
            return
        time.sleep(0.5)


def program(cli: Cli, profile: Profile) -> list[str]:
    """How to run ourselves again for the same controller. Never with a token: it travels in files and the environment."""
    words = [sys.executable, "-m", "garage.cli"]
    if (script := Path(sys.argv[0])).name == "garage" and script.is_file():
        words = [str(script.resolve())]
    return [*words, "--profile", profile.name] if cli.profile_name else words


def _tool(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise local_error("tool_failed", "{name} is not installed", hint="install OpenSSH's client", name=name)


def _become(argv: list[str]) -> None:
    """Be ssh from now on: its terminal, its signals and its exit code are the real ones."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(argv[0], argv)  # noqa: S606  (no shell: arguments stay what they are)


@click.command(
    "scp",
    cls=Command,
    context_settings=RAW,
    help=_("Copy files to or from a machine. Takes scp's options: garage scp [OPTIONS] FILE… NAME:PATH."),
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=machines)
@pass_cli
def scp(cli: Cli, arguments: tuple[str, ...]) -> None:
    machines = openssh.remotes(arguments)
    if not machines:
        raise local_error("invalid_field", "which machine?", hint="garage scp FILE NAME:PATH")
    for name in machines:
        machine = cli.api().get(f"/machines/{name}")
        if machine["state"] != "ready":
            _made_ready(cli, machine)
    given = any(word.startswith("-i") for word in arguments)
    options = _connection(cli, identity_given=given, probe=f"{openssh.USER}@{machines[0]}")
    _become([_tool("scp"), *options, *openssh.named(arguments)])


@click.command("ssh-config", cls=Command, help=_("Let plain ssh, scp, rsync and editors reach NAME.garage."))
@click.option("--write", is_flag=True, help=_("Write it and include it in ~/.ssh/config, instead of printing it."))
@pass_cli
def ssh_config(cli: Cli, write: bool) -> None:
    from garage.client import keys
    from garage.client.proxy import known_hosts_folder

    profile = cli.profile()
    known = keys.ensure(cli.api())
    identities = [Path.home() / ".ssh" / name for name in keys.DEFAULTS] if known.key.path else []
    identities = [path for path in identities if path.exists()] + ([known.key.path] if known.key.path else [])
    text = openssh.config_text(program(cli, profile), known_hosts_folder(profile), identities)
    if not write:
        click.echo(text, nl=False)
        return
    path = folder() / "ssh_config"
    write_private(path, text)
    _include(Path.home() / ".ssh" / "config", path)
    click.echo(_("Written. Now: ssh NAME{suffix}").format(suffix=openssh.SUFFIX))


def _include(config: Path, path: Path) -> None:
    """Put an Include at the top, once: further down it would belong to the last Host block."""
    line = f"Include {openssh.quoted_path(path)}\n"
    before = config.read_text() if config.exists() else ""
    if line not in before:
        mode = config.stat().st_mode & 0o777 if config.exists() else 0o600
        write_private(config, line + before)
        config.chmod(mode)


@click.command(
    "proxy", cls=Command, help=_("Standard input and output as a machine's SSH port, for OpenSSH's ProxyCommand.")
)
@click.argument("name")
@pass_cli
def proxy(cli: Cli, name: str) -> None:
    from garage.client import proxy as stream

    sys.exit(stream.run(cli.profile(), name))
