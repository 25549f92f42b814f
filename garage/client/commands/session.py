"""`garage login`, `logout`, `status`."""

from __future__ import annotations

import getpass
import secrets
import socket
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import click

from garage.client import output, profiles, tls
from garage.client.api import Api
from garage.client.errors import ClientError, local_error
from garage.client.profiles import Profile
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import N_, _


@click.command("login", cls=Command, help=_("Sign in to a controller; it becomes the current one."))
@click.argument("url", required=False)
@click.option("--fingerprint", help=_("What the server's certificate must be: sha256:…"))
@click.option("--name", "user", help=_("Your name at the controller."))
@click.option("--password-stdin", is_flag=True, help=_("Read the password from standard input."))
@click.option("--token-stdin", is_flag=True, help=_("Read an API token from standard input instead of a password."))
@click.option("--profile-name", help=_("Remember it under this name (default: host and port)."))
@pass_cli
def login(
    cli: Cli,
    url: str | None,
    fingerprint: str | None,
    user: str | None,
    password_stdin: bool,
    token_stdin: bool,
    profile_name: str | None,
) -> None:
    path = profiles.folder() / "config.toml"
    current, saved = profiles.read_all(path)
    url = profiles.check_url(url or (saved[current].url if current in saved else profiles.find(cli.profile_name).url))
    name = profile_name or cli.profile_name or urlsplit(url).netloc
    profile = Profile(name, url, certificate=_certificate(url, fingerprint, saved.get(name)))
    if token_stdin:
        profile = replace(profile, token=_given_token())
    else:
        user = user or click.prompt(_("Name"), default=getpass.getuser(), err=True)
        profile = _with_password(profile, user, password_stdin)
    me = Api(profile).get("/me")
    profiles.write_all(path, name, {**saved, name: replace(profile, user=me["name"])})
    output.done(cli, me, _("Signed in to {url} as {name}.").format(url=url, name=me["name"]))


def _given_token() -> str:
    """From a pipe, or typed where nobody sees it."""
    if sys.stdin.isatty():
        return str(click.prompt(_("API token"), hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


def _with_password(profile: Profile, user: str, password_stdin: bool) -> Profile:
    """Exchange the password for a token of a name of its own, so that `logout` can find it again."""
    given = sys.stdin.readline().rstrip("\n") if password_stdin else ""
    password = given or click.prompt(_("Password"), hide_input=True, err=True)
    token_name = f"{getpass.getuser()}@{socket.gethostname()} {secrets.token_hex(3)}"[:64]
    body = {"name": user, "password": password, "token_name": token_name}
    return replace(profile, token=_token(Api(profile), body), token_name=token_name)


def _token(api: Api, body: dict[str, str]) -> str:
    """A second time with a code, where the account has a second factor."""
    try:
        return api.login(body)
    except ClientError as error:
        if error.code != "second_factor" or not error.problem.get("errors"):
            raise
    code = click.prompt(_("Code of your authenticator app"), err=True)
    return api.login({**body, "code": code})


def _certificate(url: str, fingerprint: str | None, known: Profile | None) -> str:
    """The certificate to pin; "" where the system's authorities vouch for it and no fingerprint was asked for."""
    if url.startswith("http://"):
        return ""
    shown, trusted = tls.offered(url)
    if fingerprint:
        if not tls.same_fingerprint(fingerprint, shown):
            raise tls.other_fingerprint(shown)
        return shown
    if known and known.certificate and known.url == url:
        if known.certificate == shown:
            return shown
        hint = "if its admin confirms a new one: garage login {url} --fingerprint sha256:…"
        raise local_error("forbidden", "{url} does not show the certificate that was confirmed", hint=hint, url=url)
    return "" if trusted else _confirmed(url, shown)


def _confirmed(url: str, shown: str) -> str:
    """Ask a person to compare; without a terminal nobody can, so nothing is believed."""
    fingerprint = tls.fingerprint(shown)
    if not sys.stdin.isatty():
        hint = "if it is right: garage login {url} --fingerprint {fingerprint}"
        raise local_error(
            "forbidden", "nobody vouches for the certificate of {url}", hint=hint, url=url, fingerprint=fingerprint
        )
    click.echo(_("The certificate of {url} is its own. Its fingerprint:").format(url=url), err=True)
    click.echo(f"  {fingerprint}", err=True)
    click.confirm(_("Is it the one that “make up” printed on the server?"), abort=True, err=True)
    return shown


@click.command("logout", cls=Command, help=_("Sign out: revoke this computer's token and forget it."))
@pass_cli
def logout(cli: Cli) -> None:
    path = profiles.folder() / "config.toml"
    current, saved = profiles.read_all(path)
    name = cli.profile_name or current
    if name not in saved:
        raise local_error("not_signed_in", "you are not signed in anywhere")
    revoked = _revoke(saved[name])
    profiles.write_all(
        path, "" if name == current else current, {key: value for key, value in saved.items() if key != name}
    )
    text = _("Signed out of {url}.") if revoked else _("Forgot {url}; its token could not be revoked.")
    output.done(cli, {"url": saved[name].url, "revoked": revoked}, text.format(url=saved[name].url))


def _revoke(profile: Profile) -> bool:
    """Whether the controller has taken the token back; a token that was given to us is somebody else's to delete."""
    if not profile.token_name:
        return False
    try:
        api = Api(profile)
        for token in api.get("/tokens")["items"]:
            if token["name"] == profile.token_name:
                api.delete(f"/tokens/{token['id']}")
                return True
    except ClientError:
        return False
    return False


FAULT_OURS = N_(
    "so many nodes are silent at once that the fault must be on this side: nothing is moved or declared lost"
)


@click.command("status", cls=Command, help=_("Who you are, and whether everything answers."))
@pass_cli
def status(cli: Cli) -> None:
    api = cli.api()
    me, state = api.get("/me"), api.get("/status")
    broken = [name for name, well in state["parts"].items() if not well]
    output.show_item(
        cli,
        {"url": api.profile.url, "me": me, **state},
        (
            (_("controller"), lambda item: item["url"]),
            (_("signed in as"), lambda item: f"{item['me']['name']} ({_(item['me']['role'])})"),
            (_("organisation"), lambda item: f"{item['organisation']}, {item['site']}"),
            (_("version"), lambda item: item["version"]),
            (_("state"), lambda item: _("all well") if item["ready"] else _("not answering: ") + ", ".join(broken)),
            ("", lambda item: _(FAULT_OURS) if item["fault_ours"] else None),
            (_("machines"), lambda item: item["machines"]),
            (_("a new machine takes"), lambda item: _expected(item["forecast"])),
        ),
    )


def _expected(forecast: dict[str, Any]) -> str:
    if forecast["seconds"] is not None:
        return _("about {seconds} s").format(seconds=round(forecast["seconds"]))
    return _("no server has room at the moment") if forecast["reason"] == "full" else _("not known yet")
