"""`garage node add`, `remove`, `show`, `key`: servers become nodes, and cease to be some."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from garage.client import output
from garage.client.api import Api
from garage.client.errors import ClientError, local_error
from garage.client.output import Item, local_time
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

LOOK = 0.5
"""Seconds between looks at how far it is."""
STEPS: dict[str, str] = {
    "": _("waiting for a worker"),
    "connect": _("connecting"),
    "check": _("checking the server"),
    "copy": _("copying netd"),
    "packages": _("installing packages"),
    "certificate": _("certificates"),
    "register": _("registering"),
    "netd": _("starting netd"),
    "report": _("waiting for its report"),
}


@click.command("add", cls=Command, help=_("Make a server a node: garage node add root@HOST (admin)."))
@click.argument("target")
@click.option("--name", help=_("What it shall be called; by default node2, node3 and so on."))
@click.option(
    "--host-key", metavar="FINGERPRINT", help=_("SHA256:… of its SSH host key, as the server itself shows it.")
)
@click.option("--yes", is_flag=True, help=_("Believe the host key that it shows."))
@click.option("--password", is_flag=True, help=_("Ask for root's password there; it is used once, to put the key."))
@click.option("--password-stdin", is_flag=True, help=_("Read that password from standard input."))
@click.option("--own-name", help=_("What this site itself shall be called (asked for once, while it is called home)."))
@click.option("--wait/--no-wait", default=True, help=_("Show how far it is, until it has ended."))
@pass_cli
def node_add(
    cli: Cli,
    target: str,
    name: str | None,
    host_key: str | None,
    yes: bool,
    password: bool,
    password_stdin: bool,
    own_name: str | None,
    wait: bool,
) -> None:
    api = cli.api()
    secret = _stdin_password() if password_stdin else ""
    shown = api.post("/node-host-keys", {"target": target})
    key = _compared(shown, host_key, yes)
    if password and not secret:
        secret = click.prompt(_("root's password on {host}").format(host=shown["address"]), hide_input=True, err=True)
    if secret:
        api.unkeyed("/node-logins", {"target": target, "host_key": key, "password": secret})
    task = _wanted(api, {"target": target, "host_key": key, "name": name, "own_name": own_name})
    if wait:
        task = _watched(cli, api, task)
    output.done(cli, task, _told(task))


def _stdin_password() -> str:
    """Its first line."""
    secret = sys.stdin.readline().rstrip("\n")
    if not secret:
        raise local_error("invalid_field", "no password came by standard input")
    return secret


def _compared(shown: Item, fingerprint: str | None, yes: bool) -> str:
    """The host key that a person has compared, one way or the other."""
    keys: list[Item] = shown["items"]
    if fingerprint:
        for one in keys:
            if one["fingerprint"].rstrip("=") == fingerprint.rstrip("="):
                return str(one["host_key"])
        hint = "it shows {shown}; somebody may be in between"
        text = "{host} does not show that host key"
        raise local_error("forbidden", text, hint=hint, host=shown["address"], shown=keys[0]["fingerprint"])
    first = keys[0]
    if yes:
        return str(first["host_key"])
    if not sys.stdin.isatty():
        hint = "if it is right: --host-key {shown}"
        text = "nobody has compared the SSH host key of {host}"
        raise local_error("forbidden", text, hint=hint, host=shown["address"], shown=first["fingerprint"])
    click.echo(_("The SSH host key of {host}:").format(host=shown["address"]), err=True)
    click.echo(f"  {first['fingerprint']} ({first['host_key'].split()[0]})", err=True)
    click.confirm(
        _("Does the server show the same? (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)"),
        abort=True,
        err=True,
    )
    return str(first["host_key"])


def _wanted(api: Api, body: dict[str, Any]) -> Item:
    """Asks for the own site's name when the controller does."""
    try:
        return dict(api.post("/nodes", body))
    except ClientError as error:
        fields = error.problem.get("errors") or []
        if not any(field.get("pointer") == "/own_name" for field in fields) or not sys.stdin.isatty():
            raise
        click.echo(error.detail, err=True)
        own_name = click.prompt(_("What shall this site itself be called?"), err=True)
        return dict(api.post("/nodes", body | {"own_name": own_name}))


def _watched(cli: Cli, api: Api, task: Item) -> Item:
    """The task at its end; raises its error. A bar on a terminal, a line per step elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console, step, told = Console(stderr=True), "-", 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=cli.json or not console.is_terminal) as bar:
        line = bar.add_task("", total=100)
        while task["state"] in ("waiting", "running"):
            if task["step"] != step and not console.is_terminal and not cli.json:
                click.echo(f"{task['percent']:3d} % {_(STEPS.get(task['step'], ''))}", err=True)
            step = str(task["step"])
            bar.update(line, completed=task["percent"], description=_(STEPS.get(step, "")))
            told = _tell_findings(cli, task, told)
            time.sleep(LOOK)
            task = api.get(f"/node-tasks/{task['name']}")
    _tell_findings(cli, task, told)
    if task["state"] == "failed":
        raise ClientError(task["error"])
    return task


def _tell_findings(cli: Cli, task: Item, told: int) -> int:
    """Those that are new: what is wrong and what mends it."""
    for finding in task["findings"][told:]:
        if not cli.json:
            sign = "✗" if finding["level"] == "error" else "!"
            click.echo(f"{sign} {finding['detail']}\n  → {finding['hint']}", err=True)
    return len(task["findings"])


def _told(task: Item) -> str:
    if task["state"] != "done":
        return _("{name} is being worked on: garage node show {name}").format(name=task["name"])
    if task["kind"] == "add":
        return _("{name} is a node: {address}").format(**task)
    text = _("{name} is no node any more").format(**task)
    return f"{text}\n{_('left undone:')} {task['said']}" if task["said"] else text


@click.command("remove", cls=Command, help=_("Have a node be none any more, once no machine is on it (admin)."))
@click.argument("name")
@click.option("--yes", is_flag=True, help=_("Do not ask."))
@pass_cli
def node_remove(cli: Cli, name: str, yes: bool) -> None:
    if not yes:
        cli.sure(_("Remove node {name}? Its certificates and its key are taken back.").format(name=name))
    api = cli.api()
    task = _watched(cli, api, api.delete(f"/nodes/{name}"))
    output.done(cli, task, _told(task))


@click.command("show", cls=Command, help=_("A node, and how far it is with being added or removed."))
@click.argument("name")
@pass_cli
def node_show(cli: Cli, name: str) -> None:
    api = cli.api()
    node, task = _one(api, f"/nodes/{name}"), _one(api, f"/node-tasks/{name}")
    if node is None and task is None:
        raise local_error("not_found", "there is no node {name}", hint="garage node list", name=name)
    if node is not None:
        columns = (
            (_("NAME"), lambda item: item["name"]),
            (_("state"), lambda item: item["hypervisor_error"] or item["netd_error"] or _("all well")),
            (_("machines"), lambda item: item["machines"]),
            (
                _("FREE MEMORY"),
                lambda item: f"{item['free_memory_mib'] / 1024:.1f} / {item['memory_mib'] / 1024:.1f} GiB",
            ),
            (_("PROMISED"), lambda item: _promised(item["promised"], item["most"])),
            (_("RUNS"), lambda item: item["virtualisation"]),
        )
        output.show_item(cli, node | {"task": task}, columns)
    if task is not None and (node is None or not cli.json):
        output.show_item(cli, task, TASK)


def _promised(promised: Item, most: Item) -> str:
    """To machines, of what may be promised in all."""
    figures = {f"{key}_most": value for key, value in most.items()} | promised
    memory = {"memory": promised["memory_mib"] / 1024, "memory_most": most["memory_mib"] / 1024}
    text = _(
        "{vcpus} / {vcpus_most} vCPU, {memory:.1f} / {memory_most:.1f} GiB memory, {disk_gib} / {disk_gib_most} GiB disk"
    )
    return text.format(**figures, **memory)


TASK: tuple[output.Column, ...] = (
    (_("ADDRESS"), lambda item: item["address"]),
    (_("HOST KEY"), lambda item: item["fingerprint"]),
    (_("TASK"), lambda item: f"{item['kind']}: {item['state']}, {item['percent']} %"),
    (_("STEP"), lambda item: _(STEPS.get(str(item["step"]), "")) if item["step"] else ""),
    (_("SINCE"), lambda item: local_time(item["asked_at"])),
    (_("ERROR"), lambda item: item["error"]["detail"] if item["error"] else item["said"]),
)


def _one(api: Api, path: str) -> Item | None:
    """None where there is none, or only admins see it."""
    try:
        return dict(api.get(path))
    except ClientError as error:
        if error.code not in ("not_found", "forbidden"):
            raise
        return None


@click.command("key", cls=Command, help=_("The controller's SSH key, for /root/.ssh/authorized_keys (admin)."))
@pass_cli
def node_key(cli: Cli) -> None:
    found = cli.api().get("/node-key")
    output.done(cli, found, found["public_key"])


COMMANDS = (node_add, node_remove, node_show, node_key)
