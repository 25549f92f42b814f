"""`garage key`, `token`, `project`, `user`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from garage.client import keys, output
from garage.client.commands import roles
from garage.client.commands.offboard import offboard
from garage.client.commands.service import SCOPE, service
from garage.client.errors import local_error
from garage.client.output import Item, local_time, until
from garage.client.state import DAYS, Cli, Group, pass_cli
from garage.client.words import _


@click.group("key", cls=Group, help=_("SSH keys that may log in to your machines."))
def key() -> None:
    pass


@key.command("add", help=_("Register a public key; your running machines learn it too."))
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help=_("What to call it."))
@pass_cli
def key_add(cli: Cli, file: Path | None, name: str | None) -> None:
    line = file.read_text("utf-8", "replace") if file else _best_key()
    item = cli.api().post("/keys", {"name": name or _label(line), "public_key": line.strip()})
    output.done(cli, item, _("Registered {name} ({fingerprint}).").format(**item))


def _best_key() -> str:
    if here := keys.local_keys():
        return here[0].line
    raise local_error("not_found", "this computer has no SSH key", hint="ssh-keygen -t ed25519")


def _label(line: str) -> str:
    """A name from the key's comment: "me@laptop.example" becomes "laptop"."""
    comment = (line.split(None, 2)[2:] or ["key"])[0].strip()
    word = re.sub(r"[^a-z0-9]+", "-", comment.rpartition("@")[2].partition(".")[0].lower()).strip("-")[:32].rstrip("-")
    return word if word[:1].isalpha() else "key"


@key.command("list", help=_("Your keys."))
@pass_cli
def key_list(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("FINGERPRINT"), lambda item: item["fingerprint"]),
        (_("SINCE"), lambda item: local_time(item["created_at"])),
    )
    output.show_list(cli, cli.api().get("/keys")["items"], columns, empty=_("no keys yet: garage key add"))


@key.command("delete", help=_("Forget a key; your running machines forget it too."))
@click.argument("name")
@pass_cli
def key_delete(cli: Cli, name: str) -> None:
    cli.api().delete(f"/keys/{name}")
    output.done(cli, None, _("Forgot {name}.").format(name=name))


@click.group("token", cls=Group, help=_("API tokens for programs."))
def token() -> None:
    pass


@token.command("create", help=_("Make a token; it is shown this once, on standard output."))
@click.argument("name")
@click.option("--days", type=DAYS, help=_("How long it lives (default: until it is deleted)."))
@click.option("--scope", type=SCOPE, default="all", show_default=True, help=_("What it may do."))
@pass_cli
def token_create(cli: Cli, name: str, days: float | None, scope: str) -> None:
    item = cli.api().post("/tokens", {"name": name, "days": days, "scope": scope})
    output.done(cli, item, item["token"])


@token.command("list", help=_("Your tokens, without their secrets."))
@pass_cli
def token_list(cli: Cli) -> None:
    columns = (
        ("ID", lambda item: item["id"]),
        (_("NAME"), lambda item: item["name"]),
        (_("SINCE"), lambda item: local_time(item["created_at"])),
        (_("UNTIL"), lambda item: until(item["expires_at"])),
        (_("MAY"), lambda item: item["scope"]),
    )
    output.show_list(cli, cli.api().get("/tokens")["items"], columns)


@token.command("delete", help=_("Revoke a token by its id; what it opened is closed."))
@click.argument("token_id")
@pass_cli
def token_delete(cli: Cli, token_id: str) -> None:
    cli.api().delete(f"/tokens/{token_id}")
    output.done(cli, None, _("Revoked {name}.").format(name=token_id))


@click.group("project", cls=Group, help=_("Projects: who shares machines, and how much they may use."))
def project() -> None:
    pass


@project.command("list", help=_("Your projects with what they use."))
@pass_cli
def project_list(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("ROLE"), lambda item: _(item["role"])),
        (_("MACHINES"), lambda item: _used(item, "machines")),
        ("VCPU", lambda item: _used(item, "vcpus")),
        (_("MEMORY MiB"), lambda item: _used(item, "memory_mib")),
        (_("DISK GiB"), lambda item: _used(item, "disk_gib")),
        (_("MEMBERS"), lambda item: len(item["members"])),
    )
    output.show_list(cli, cli.api().every("/projects"), columns)


def _used(item: Item, what: str) -> str:
    return f"{item['usage']['used'].get(what, 0)} / {item['usage']['quota'][what]}"


@project.command("show", help=_("One project."))
@click.argument("name")
@pass_cli
def project_show(cli: Cli, name: str) -> None:
    _show_project(cli, cli.api().get(f"/projects/{name}"))


def _show_project(cli: Cli, item: Item) -> None:
    columns = (
        (_("name"), lambda item: f"{item['name']} ({item['id']})"),
        (_("members"), lambda item: ", ".join(f"{m['name']} ({_(m['role'])})" for m in item["members"])),
        (_("machines"), lambda item: _used(item, "machines")),
        ("vCPU", lambda item: _used(item, "vcpus")),
        (_("memory MiB"), lambda item: _used(item, "memory_mib")),
        (_("disk GiB"), lambda item: _used(item, "disk_gib")),
        (_("images GiB"), lambda item: _used(item, "image_gib")),
    )
    output.show_item(cli, item, columns)


@project.command("create", help=_("Open a project; you own it."))
@click.argument("name")
@pass_cli
def project_create(cli: Cli, name: str) -> None:
    item = cli.api().post("/projects", {"name": name})
    output.done(cli, item, _("Opened {name}.").format(name=item["name"]))


@project.command("delete", help=_("Close a project that has no machines."))
@click.argument("name")
@pass_cli
def project_delete(cli: Cli, name: str) -> None:
    cli.api().delete(f"/projects/{name}")
    output.done(cli, None, _("Closed {name}.").format(name=name))


@project.group("member", cls=Group, help=_("Who belongs to a project."))
def member() -> None:
    pass


@member.command("add", help=_("Add a member, or change their role."))
@click.argument("project")
@click.argument("user")
@click.option("--role", type=click.Choice(["member", "owner"]), default="member", show_default=True)
@pass_cli
def member_add(cli: Cli, project: str, user: str, role: str) -> None:
    _show_project(cli, cli.api().put(f"/projects/{project}/members/{user}", {"role": role}))


@member.command("remove", help=_("Take a member out; their streams to its machines are closed."))
@click.argument("project")
@click.argument("user")
@pass_cli
def member_remove(cli: Cli, project: str, user: str) -> None:
    item = cli.api().delete(f"/projects/{project}/members/{user}")
    output.done(cli, item, _("{user} is no longer in {project}.").format(user=user, project=project))


project.add_command(service)


@project.command("quota", help=_("Set what a project may use (admin)."))
@click.argument("name")
@click.option("--machines", type=int)
@click.option("--vcpus", type=int)
@click.option("--memory-mib", type=int)
@click.option("--disk-gib", type=int)
@click.option("--image-gib", type=int)
@pass_cli
def project_quota(cli: Cli, /, name: str, **quota: int | None) -> None:
    wanted = {what: value for what, value in quota.items() if value is not None}
    _show_project(cli, cli.api().put(f"/projects/{name}/quota", wanted))


@click.group("user", cls=Group, help=_("People of the organisation (admin)."))
def user() -> None:
    pass


user.add_command(offboard)
user.add_command(roles.grant)
user.add_command(roles.revoke)


@user.command("list", help=_("All users."))
@pass_cli
def user_list(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("ROLE"), roles.told),
        (_("STATE"), _user_state),
        (_("SINCE"), lambda item: local_time(item["created_at"])),
    )
    output.show_list(cli, cli.api().every("/users"), columns)


def _user_state(item: Item) -> str:
    if item["disabled"]:
        return _("disabled")
    if item["service_of"]:
        return _("service account of {project}").format(project=item["service_of"])
    return _("active") if item["has_password"] or item.get("openid") else _("invited")


@user.command("invite", help=_("Make a user; prints the one-time link by which they set a password."))
@click.argument("name")
@click.option("--role", type=click.Choice(["member", "admin"]), default="member", show_default=True)
@pass_cli
def user_invite(cli: Cli, name: str, role: str) -> None:
    answer = cli.api().post("/users", {"name": name, "role": role})
    output.done(cli, answer, answer["link"])


@user.command("reset-link", help=_("A one-time link by which a user sets a new password."))
@click.argument("name")
@pass_cli
def user_reset_link(cli: Cli, name: str) -> None:
    answer = cli.api().post(f"/users/{name}/reset-link")
    output.done(cli, answer, answer["link"])


@user.command("disable", help=_("End all of a user's sessions, tokens and streams."))
@click.argument("name")
@pass_cli
def user_disable(cli: Cli, name: str) -> None:
    output.done(cli, cli.api().post(f"/users/{name}/disable"), _("{name} is disabled.").format(name=name))


@user.command("enable", help=_("Let a disabled user sign in again."))
@click.argument("name")
@pass_cli
def user_enable(cli: Cli, name: str) -> None:
    output.done(cli, cli.api().post(f"/users/{name}/enable"), _("{name} is enabled.").format(name=name))


@user.command("reset-factor", help=_("Take a user's second factor, who has lost it; they set up a new one."))
@click.argument("name")
@pass_cli
def user_reset_factor(cli: Cli, name: str) -> None:
    cli.api().post(f"/users/{name}/reset-second-factor")
    output.done(cli, None, _("{name} has no second factor any more.").format(name=name))
