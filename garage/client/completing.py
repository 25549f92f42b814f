"""Names that a shell completes: asked of the controller, and nothing where it does not answer at once."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from garage.client.state import Cli

SECONDS = 2.0
"""Nobody waits longer for a TAB."""
QUERIES: dict[str, dict[str, int | str]] = {
    "machines": {"limit": 100},
    "volumes": {"limit": 100},
    "images": {"limit": 100, "only": "current"},
    "recipes": {},
}
SEARCHED = ("machines", "images")


class Named(click.ParamType[str]):
    """The name of one of yours in a list of the API: "machines", "volumes", "images"."""

    name = "text"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return complete(self.kind, ctx, incomplete)


def machines(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For `garage ssh`, whose words are ssh's from the second on."""
    return complete("machines", ctx, incomplete)


def complete(kind: str, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    from garage.client.api import Api
    from garage.client.errors import ClientError

    cli = Cli()
    cli.profile_name = ctx.find_root().params.get("profile")
    search = {"search": incomplete} if kind in SEARCHED else {}
    try:
        found = Api(cli.profile(), seconds=SECONDS).get(f"/{kind}", **QUERIES[kind], **search)["items"]
    except ClientError:
        return []
    return [CompletionItem(each["name"]) for each in found if each["name"].startswith(incomplete)]


MACHINE, VOLUME, IMAGE = Named("machines"), Named("volumes"), Named("images")
