"""`garage news` and `garage channel`: what concerns one, and by which ways it comes."""

from __future__ import annotations

import sys
from typing import Any

import click

from garage.client import output
from garage.client.errors import local_error
from garage.client.output import Item, local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import _


@click.group("news", cls=Group, help=_("What concerns you and your machines."))
def news() -> None:
    pass


@news.command("list", help=_("Your news, newest first."))
@click.option("--unread", is_flag=True, help=_("Only those that you have not read."))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@pass_cli
def news_list(cli: Cli, unread: bool, limit: int) -> None:
    columns = (
        ("ID", lambda item: item["id"]),
        (_("TIME"), lambda item: local_time(item["at"])),
        ("", lambda item: "" if item["read_at"] else "●"),
        (_("NEWS"), lambda item: item["title"]),
        (_("DETAIL"), lambda item: item["text"]),
    )
    found = cli.api().every("/news", limit, only="unread" if unread else "all")
    output.show_list(cli, found, columns, empty=_("no news"))


@news.command("read", help=_("Mark news as read, by their ids, or all of them."))
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help=_("All of them."))
@pass_cli
def news_read(cli: Cli, ids: tuple[str, ...], every: bool) -> None:
    if every == bool(ids):
        raise click.UsageError(_("name news, or --all"))
    if every:
        cli.api().post("/news/read")
    for id_ in ids:
        cli.api().post(f"/news/{id_}/read")
    output.done(cli, None, _("They are read."))


@click.group("channel", cls=Group, help=_("Ways by which news come: e-mail and webhooks, yours or a project's."))
def channel() -> None:
    pass


COLUMNS = (
    ("ID", lambda item: item["id"]),
    (_("NAME"), lambda item: item["name"]),
    (_("KIND"), lambda item: item["kind"]),
    (_("WHERE"), lambda item: item["where"]),
    (_("STATE"), lambda item: _state(item)),
)


def _state(item: Item) -> str:
    if not item["confirmed"]:
        return _("waits for its code")
    if item["error"]:
        return _("fails: {reason}").format(reason=item["error"]["detail"])
    if item["waiting"]:
        return _("{count} on their way").format(count=item["waiting"])
    return _("works, {time}").format(time=local_time(item["sent_at"])) if item["sent_at"] else _("not used yet")


@channel.command("list", help=_("By which ways news come to you, or of a project."))
@click.option("--project", help=_("A project's instead (owner)."))
@pass_cli
def channel_list(cli: Cli, project: str | None) -> None:
    found = cli.api().get("/channels", project=project)["items"]
    output.show_list(cli, found, COLUMNS, empty=_("none; add one: garage channel add NAME --mail ADDRESS"))


@channel.command(
    "add", help=_("Add one: an e-mail address, or a webhook; “-” as its address reads that from standard input.")
)
@click.argument("name")
@click.option("--mail", "address", metavar="ADDRESS", help=_("An e-mail address: it gets a code first."))
@click.option("--slack", metavar="URL", help=_("A webhook that takes {“text”: …}: Slack, and whatever imitates it."))
@click.option("--json", "signed", metavar="URL", help=_("A webhook of your own program, signed."))
@click.option("--matrix", metavar="URL", help=_("A Matrix homeserver; its access token is asked for."))
@click.option("--room", default="", help=_("The Matrix room's id, as !abc:example.org."))
@click.option("--project", help=_("For a project instead of you (owner)."))
@click.option(
    "--news", "wanted", multiple=True, metavar="KIND", help=_("Only these kinds, as machine.failed; several times.")
)
@click.option("--language", "locale", type=click.Choice(["en", "ja"]), help=_("In this language."))
@pass_cli
def channel_add(cli: Cli, /, name: str, wanted: tuple[str, ...], **given: str | None) -> None:
    ways = {"mail": given["address"], "slack": given["slack"], "json": given["signed"], "matrix": given["matrix"]}
    chosen = [kind for kind, value in ways.items() if value is not None]
    if len(chosen) != 1:
        raise click.UsageError(_("say one of --mail, --slack, --json, --matrix"))
    kind = chosen[0]
    where = _secret("URL") if ways[kind] == "-" else ways[kind]
    body: dict[str, Any] = {
        "kind": kind,
        "name": name,
        "address" if kind == "mail" else "url": where,
        "room": given["room"],
    }
    if kind == "matrix":
        body["token"] = _secret(_("Access token"))
    body |= {"project": given["project"], "wanted": list(wanted) or None, "locale": given["locale"] or ""}
    made = cli.api().post("/channels", body)
    output.done(cli, made, _added(made))


def _added(made: Item) -> str:
    if made["kind"] == "mail":
        return _("A code is on its way to {where}: garage channel confirm {id} CODE").format(**made)
    said = _("Added {name}. Try it: garage channel test {id}").format(**made)
    return said + (
        "\n" + _("Key of its signatures, shown this once: {secret}").format(**made) if made["secret"] else ""
    )


def _secret(prompt: str) -> str:
    """In no list of processes and in no shell's history."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True))
    if found := sys.stdin.readline().strip():
        return found
    raise local_error("invalid_field", "nothing came by standard input")


@channel.command("set", help=_("Say which kinds of news go there."))
@click.argument("ref", metavar="ID")
@click.argument("wanted", nargs=-1, metavar="KIND...")
@pass_cli
def channel_set(cli: Cli, ref: str, wanted: tuple[str, ...]) -> None:
    output.done(cli, cli.api().patch(f"/channels/{ref}", {"wanted": list(wanted)}), _("Set."))


@channel.command("test", help=_("Send a test there."))
@click.argument("ref", metavar="ID")
@pass_cli
def channel_test(cli: Cli, ref: str) -> None:
    text = _("A test is on its way. What became of it: garage channel list")
    output.done(cli, cli.api().post(f"/channels/{ref}/test"), text)


@channel.command("confirm", help=_("Give the code that was sent to an e-mail address."))
@click.argument("ref", metavar="ID")
@click.argument("code")
@pass_cli
def channel_confirm(cli: Cli, ref: str, code: str) -> None:
    output.done(cli, cli.api().post(f"/channels/{ref}/confirm", {"code": code}), _("News go there now."))


@channel.command("remove", help=_("Remove one, with what is on its way to it."))
@click.argument("ref", metavar="ID")
@pass_cli
def channel_remove(cli: Cli, ref: str) -> None:
    cli.api().delete(f"/channels/{ref}")
    output.done(cli, None, _("Removed."))
