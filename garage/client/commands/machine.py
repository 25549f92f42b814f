"""`garage machine …`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from garage.client import keys, lease, output, progress
from garage.client.commands import machine_again, machine_disk
from garage.client.commands import user_data as user_data_file
from garage.client.commands.explain import explain, labels
from garage.client.commands.limit import limit, limits
from garage.client.commands.snapshot import snapshot
from garage.client.commands.ssh import ssh
from garage.client.completing import IMAGE, MACHINE, VOLUME
from garage.client.errors import ClientError
from garage.client.output import Item, local_time, short
from garage.client.state import DAYS, Cli, Group, pass_cli
from garage.client.words import N_, _, state_word

COLD = {
    "": N_("it had been booted already"),
    "empty": N_("it had to boot: no {image} of size {size} was waiting"),
    "user_data": N_("it had to boot: its user-data holds what is read at the first boot ({cold_detail})"),
    "image": N_("it had to boot: machines of the image {image} learn who they are at their first boot"),
    "pool_failed": N_("it had to boot: the one that was waiting did not answer"),
}
_SETTLED = ("ready", "failed", "stopped", "lost")
ORDERS = ("newest", "name", "state", "lease")


@click.group("machine", cls=Group, help=_("Make and use machines."))
def machine() -> None:
    pass


@machine.command(help=_("Ask for a machine and wait until its SSH answers."))
@click.argument("name", default="")
@click.option("--size", help=_("How large; “garage machine sizes” shows them."))
@click.option("--image", type=IMAGE, help=_("What it boots; “garage image list” shows them."))
@click.option("--project", help=_("Whose it is (default: your own project)."))
@click.option("--days", type=DAYS, help=_("How long the lease lasts."))
@click.option("--user-data", type=user_data_file.FILE, help=_("cloud-init user-data."))
@click.option("--apart", metavar="WORD", help=_("Not on a node with another machine of the project with this word."))
@click.option(
    "--label", "wanted_labels", metavar="KEY=VALUE", multiple=True, help=_("A label that its node must have.")
)
@click.option("--tag", "tags", multiple=True, help=_("A word by which “list --tag” finds it."))
@click.option(
    "--volume", "volumes", type=VOLUME, multiple=True, help=_("A volume that it gets: it is made on that one's server.")
)
@click.option("--count", type=click.IntRange(1, 100), help=_("So many at once, all or none, named NAME-1, NAME-2, …"))
@click.option("--no-wait", is_flag=True, help=_("Do not wait."))
@pass_cli
def create(
    cli: Cli,
    name: str,
    size: str | None,
    image: str | None,
    project: str | None,
    days: float | None,
    user_data: Path | None,
    apart: str | None,
    wanted_labels: tuple[str, ...],
    tags: tuple[str, ...],
    volumes: tuple[str, ...],
    count: int | None,
    no_wait: bool,
) -> None:
    wanted: dict[str, Any] = {
        **{"name": name, "size": size, "image": image, "project": project, "lease_days": days},
        **{"apart": apart, "node_labels": labels(wanted_labels), "count": count, "tags": list(tags)},
        "volumes": list(volumes),
    }
    if user_data:
        wanted["user_data"] = user_data_file.read(user_data)
    api = cli.api()
    keys.ensure(api)  # before the request, so that the machine knows this computer from its first boot on
    made = api.post("/machines", {key: value for key, value in wanted.items() if value})
    user_data_file.warn(cli, made["items"][0] if count else made)
    if count:
        _several(cli, made["items"], wait=not no_wait, user_data=user_data is not None)
        return
    if no_wait:
        output.done(cli, made, _("{name}: {state}").format(name=made["name"], state=state_word(made["state"])))
        return
    found = progress.wait(api, made, _SETTLED, quiet=cli.json)
    finish(cli, found)
    if user_data and not cli.json:
        said = _(
            "Its user-data may still be at work; this waits for the end: garage ssh {name} -- cloud-init status --wait"
        )
        click.echo(said.format(name=short(found)), err=True)


def _several(cli: Cli, made: list[Item], *, wait: bool, user_data: bool) -> None:
    """Each with its ssh line when it is ready; in the end the first that failed decides on the exit code."""
    found = []
    for item in made:
        found.append(progress.wait(cli.api(), item, _SETTLED, quiet=True) if wait else item)
        if not cli.json:
            ready = found[-1]["state"] == "ready"
            click.echo(f"garage ssh {short(item)}" if ready else f"{short(item)}: {state_word(found[-1]['state'])}")
    if cli.json:
        output.print_json({"items": found})
    elif user_data and any(item["state"] == "ready" for item in found):
        click.echo(
            _("Their user-data may still be at work; on each, this waits for the end: cloud-init status --wait"),
            err=True,
        )
    for item in found if wait else []:
        if item["state"] != "ready":
            finish(cli, item)


def finish(cli: Cli, found: Item, *, made: bool = True) -> None:
    """What to do next, of one that was `made` just now also how it began; or why it failed (with the exit code of that error)."""
    if found["state"] == "ready":
        if made and (why := COLD.get(found["cold_reason"])) is not None and not cli.json:
            click.echo(_(why).format(**found), err=True)
        output.done(cli, found, f"garage ssh {short(found)}")
        return
    failure = found.get("error") or {"code": "wrong_state", "detail": state_word(found["state"])}
    if found.get("console_tail") and not cli.json:
        click.echo(found["console_tail"], err=True)
    raise ClientError({**failure, "machine": found})


@machine.command("list", help=_("Your machines, newest first."))
@click.option("--project")
@click.option("--state")
@click.option("--node", help=_("On this node."))
@click.option("--image", type=IMAGE, help=_("That boot this image."))
@click.option("--size", help=_("Of this size."))
@click.option("--tag", help=_("With this tag."))
@click.option("--owner", help=_("Made by this user."))
@click.option("--search", help=_("Part of a name or of NAME.PROJECT, or the beginning of an address."))
@click.option("--sort", type=click.Choice(ORDERS), help=_("The newest first otherwise."))
@click.option("--limit", type=click.IntRange(1), help=_("At most so many."))
@pass_cli
def list_(cli: Cli, /, limit: int | None, **asked: str | None) -> None:
    items = cli.api().every("/machines", limit, **asked)
    now = datetime.now(UTC)
    output.show_list(
        cli,
        items,
        (
            (_("NAME"), short),
            (_("STATE"), lambda item: state_word(item["state"], item["step"]) + _on_the_move(item)),
            (_("ADDRESS"), lambda item: item["ipv4"]),
            (_("SIZE"), lambda item: item["size"]),
            (_("IMAGE"), lambda item: item["image"]),
            (_("TAGS"), lambda item: " ".join(item["tags"])),
            (_("LEASE LEFT"), lambda item: output.left(item["lease_until"], now)),
        ),
        empty=_("no machine matches") if any(asked.values()) else _("no machines yet: garage machine create"),
    )
    lease.warn(cli, items)


@machine.command(help=_("Everything about one machine."))
@click.argument("name", type=MACHINE)
@pass_cli
def show(cli: Cli, name: str) -> None:
    item = cli.api().get(f"/machines/{name}")
    show_machine(cli, item)
    lease.warn(cli, [item])


def show_machine(cli: Cli, item: Item) -> None:
    now = datetime.now(UTC)
    output.show_item(
        cli,
        item,
        (
            (_("name"), lambda item: f"{item['name']} ({item['id']})"),
            (_("project, owner"), lambda item: f"{item['project']}, {item['owner']}"),
            (_("state"), lambda item: f"{state_word(item['state'], item['step'])}, {local_time(item['state_since'])}"),
            (_("error"), lambda item: (item["error"] or {}).get("detail")),
            ("", lambda item: (item["error"] or {}).get("hint")),
            (_("notice"), _notice),
            (_("node trouble"), lambda item: item["node_error"]),
            (_("address"), lambda item: f"{item['ipv4']}  {item['ipv6']}"),
            (_("DNS name"), lambda item: item["fqdn"]),
            (_("size"), lambda item: _size(item)),
            (_("limits"), limits),
            (_("image"), lambda item: item["image"]),
            (_("node"), lambda item: f"{item['node']} ({item['virtualisation']})"),
            (_("its node must have"), lambda item: output.labels(item["node_labels"])),
            (_("kept apart by"), lambda item: item["apart"]),
            (_("tags"), lambda item: " ".join(item["tags"])),
            (_("notes"), lambda item: item["notes"]),
            (_("lease"), lambda item: f"{local_time(item['lease_until'])} ({output.left(item['lease_until'], now)})"),
            ("ssh", lambda item: f"garage ssh {short(item)}" if item["state"] == "ready" else None),
        ),
    )


def _on_the_move(item: Item) -> str:
    """In a list: ", moves to node2: 40 %"."""
    if item["moving_to"]:
        return ", " + _("moves to {target}: {percent} %").format(
            target=item["moving_to"], percent=item["moved_percent"]
        )
    return ", " + _("its server is being emptied") if item["node_state"] == "draining" else ""


def _notice(item: Item) -> str | None:
    """What its owner should know of the server that it is on."""
    if item["moving_to"]:
        text = _("it moves to {target} ({percent} %); it keeps its addresses, and connections stay open")
        return text.format(target=item["moving_to"], percent=item["moved_percent"])
    if item["node_state"] == "draining":
        return _("its server {node} is being emptied: it moves to another one").format(node=item["node"])
    if item["node_state"] == "maintenance":
        return _("its server {node} is in maintenance: it cannot start there").format(node=item["node"])
    return None


def _size(item: Item) -> str:
    return f"{item['size']}: {item['vcpus']} vCPU, {output.gib(item['memory_mib'])}, {item['disk_gib']} GiB"


@machine.command(help=_("The sizes that there are."))
@pass_cli
def sizes(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        ("VCPU", lambda item: item["vcpus"]),
        (_("MEMORY"), lambda item: output.gib(item["memory_mib"])),
        (_("DISK"), lambda item: f"{item['disk_gib']} GiB"),
    )
    output.show_list(cli, cli.api().get("/sizes")["items"], columns)


def _act(cli: Cli, name: str, action: str, until: tuple[str, ...], wait: bool) -> None:
    api = cli.api()
    found = api.delete(f"/machines/{name}") if action == "delete" else api.post(f"/machines/{name}/{action}")
    if wait:
        found = progress.wait(api, found, (*until, "failed", "lost"), quiet=cli.json)
        if "ready" in until:
            finish(cli, found, made=False)
            return
    output.done(cli, found, _("{name}: {state}").format(name=found["name"], state=state_word(found["state"])))


_wait = click.option("--wait/--no-wait", default=False, help=_("Wait until it is done."))


@machine.command(help=_("Start a stopped or failed machine."))
@click.argument("name", type=MACHINE)
@click.option("--wait/--no-wait", default=True, help=_("Wait until its SSH answers."))
@pass_cli
def start(cli: Cli, name: str, wait: bool) -> None:
    _act(cli, name, "start", ("ready",), wait)


@machine.command(help=_("Shut a machine down; its disk stays."))
@click.argument("name", type=MACHINE)
@click.option("--wait/--no-wait", default=True, help=_("Wait until it is done."))
@pass_cli
def stop(cli: Cli, name: str, wait: bool) -> None:
    _act(cli, name, "stop", ("stopped",), wait)


@machine.command(help=_("Shut a machine down and start it again."))
@click.argument("name", type=MACHINE)
@_wait
@pass_cli
def reboot(cli: Cli, name: str, wait: bool) -> None:
    _act(cli, name, "reboot", ("ready",), wait)


@machine.command(help=_("Let the lease end later."))
@click.argument("name", type=MACHINE)
@click.option("--days", type=DAYS, help=_("From now (default: the garage's lease)."))
@pass_cli
def renew(cli: Cli, name: str, days: float | None) -> None:
    found = cli.api().post(f"/machines/{name}/renew", {"days": days})
    text = _("{name}: the lease ends {time}").format(name=found["name"], time=local_time(found["lease_until"]))
    output.done(cli, found, text)


@machine.command(help=_("Delete a machine and its disk."))
@click.argument("name", type=MACHINE)
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@_wait
@pass_cli
def delete(cli: Cli, name: str, yes: bool, wait: bool) -> None:
    if not yes:
        cli.sure(_("Delete {name} and its disk?").format(name=name))
    _act(cli, name, "delete", (), wait)


@machine.command(help=_("The end of the serial console."))
@click.argument("name", type=MACHINE)
@click.option("--kib", type=click.IntRange(1, 64), default=16, show_default=True, help=_("How much of it."))
@pass_cli
def console(cli: Cli, name: str, kib: int) -> None:
    text = cli.api().text(f"/machines/{name}/console", kib=kib)
    if cli.json:
        output.print_json({"console": text})
    else:
        click.echo(text, nl=not text.endswith("\n"))


machine.add_command(explain, "explain")
for command in (
    machine_again.rename,
    machine_again.tag,
    machine_again.note,
    machine_again.rebuild,
    machine_again.resize,
    machine_again.transfer,
    limit,
    machine_disk.download_disk,
):
    machine.add_command(command)
machine.add_command(snapshot)
machine.add_command(user_data_file.check_user_data, "check-user-data")
machine.add_command(ssh, "ssh")
