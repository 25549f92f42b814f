"""Ways out of the garage for news: what each kind needs, how it is checked, and what is sent. Pure.

json     POST of all fields, signed as the Standard Webhooks specification 1.0 says (webhook-id, webhook-timestamp, webhook-signature)
slack    POST of {"text": …}, as Slack's incoming webhooks take it, and whatever imitates them
matrix   PUT /_matrix/client/v3/rooms/ROOM/send/m.room.message/TXN of the client-server API, with an access token; the transaction's id is
         that of the news, so that a server takes what is sent twice only once
mail     by SMTP
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from garage.core import outward
from garage.errors import N_, GarageError

WEBHOOKS = ("json", "slack", "matrix")
KINDS = ("mail", *WEBHOOKS)
TOKEN = re.compile(r"[!-~]{8,1000}")
ROOM = re.compile(r"![!-~]{1,253}")
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""RFC 5322's dot-atom, as HTML's own e-mail field takes it: no quotes, no comments, no line ends."""
EXAMPLE = N_("e.g. https://hooks.example.org/…")
Target = dict[str, str]
"""What is kept of a way out, encrypted: url, secret, room, token, address, code."""


@dataclass(frozen=True, slots=True)
class Message:
    """News for one way out. `at` is UTC seconds since 1970; `url` leads to the page that helps."""

    id: str
    kind: str
    at: float
    title: str
    text: str
    url: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Undelivered(Exception):
    """A way out did not take it. `refused`: whoever is there answered, or must not be reached; trying again helps little."""

    def __init__(self, error: GarageError, *, refused: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.refused = error, refused


def check_target(kind: str, *, url: str, room: str, token: str, address: str, secret: str) -> Target:
    """What `kind` needs of what was typed, and nothing else; raises `invalid_field`. `secret` is a fresh one of ours."""
    needed = {"mail": ("address",), "matrix": ("url", "room", "token")}.get(kind, ("url",))
    given = {"url": url, "room": room, "token": token, "address": address}
    for name, value in given.items():
        if value and name not in needed:
            raise _bad(N_("{field} is not needed for it"), N_("leave it out"), name)
    if kind == "mail":
        return {"address": _checked(ADDRESS, address, "address", N_("e.g. alice@example.org"))}
    target = {"url": outward.parse_url(url, pointer="/url", example=EXAMPLE).url}
    if kind == "matrix":
        target["room"] = _checked(ROOM, room, "room", N_("the room's internal id, e.g. !abc:example.org"))
        target["token"] = _checked(TOKEN, token, "token", N_("an access token of the account that shall speak"))
    elif kind == "json":
        target["secret"] = secret
    return target


def _checked(shape: re.Pattern[str], value: str, field: str, hint: str) -> str:
    if not shape.fullmatch(value) or ".." in value:
        raise _bad(N_("{field} is not valid"), hint, field)
    return value


def _bad(text: str, hint: str, field: str) -> GarageError:
    return GarageError("invalid_field", text, hint=hint, pointer=f"/{field}", field=field)


def where(kind: str, target: Target) -> str:
    """What is shown of it: the address, or the server alone. Paths of webhooks are secrets."""
    return target["address"] if kind == "mail" else outward.parse_url(target["url"]).host


def call_of(kind: str, target: Target, message: Message, now: float) -> Call:
    """The request that brings `message` to a webhook at the time `now`."""
    headers = {"Content-Type": "application/json", "webhook-id": message.id, "webhook-timestamp": str(int(now))}
    lines = "\n".join(line for line in (message.title, message.text, message.url) if line)
    if kind == "slack":
        return Call("POST", target["url"], headers, _json({"text": _plain_for_slack(lines)}))
    if kind == "matrix":
        said = {"msgtype": "m.notice", "body": lines}
        path = f"/_matrix/client/v3/rooms/{quote(target['room'], safe='')}/send/m.room.message/{message.id}"
        authorised = headers | {"Authorization": f"Bearer {target['token']}"}
        return Call("PUT", target["url"].partition("?")[0].rstrip("/") + path, authorised, _json(said))
    body = _json(
        {
            "type": message.kind,
            "timestamp": datetime.fromtimestamp(message.at, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "data": {"title": message.title, "text": message.text, "url": message.url, **_facts(message.detail)},
        }
    )
    signed = headers | {"webhook-signature": signature(target["secret"], message.id, int(now), body)}
    return Call("POST", target["url"], signed, body)


def _facts(detail: dict[str, Any]) -> dict[str, Any]:
    """For programs; an error by its code alone, its sentence is in the text."""
    return {key: value["code"] if key == "error" and value else value for key, value in detail.items()}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _plain_for_slack(text: str) -> str:
    """Slack reads <…> as links, mentions and commands."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def signature(secret: str, id_: str, at: int, body: bytes) -> str:
    """Standard Webhooks: "v1," and base64 of HMAC-SHA256 of ID.TIMESTAMP.BODY, by the bytes that are base64 behind whsec_."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, f"{id_}.{at}.".encode() + body, hashlib.sha256)).decode()


def make_secret(random: bytes) -> str:
    return "whsec_" + base64.b64encode(random).decode()


def mail_of(target: Target, message: Message, *, sender: str, organisation: str, now: float) -> EmailMessage:
    """The e-mail; every header is built from values that hold no line's end, and Python's policy refuses one that does."""
    name, _, domain = target["address"].rpartition("@")
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = sender, Address(username=name, domain=domain)
    mail["Subject"] = f"[{_line(organisation)}] {_line(message.title)}"
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    mail["Message-ID"] = f"<{message.id}@{sender.rpartition('@')[2].rstrip('> ') or 'garage.invalid'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Garage-Delivery"] = message.id
    mail.set_content("\n\n".join(part for part in (message.title, message.text, message.url) if part) + "\n")
    return mail


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200]


@dataclass(frozen=True, slots=True)
class Smtp:
    """How e-mail leaves: `[smtp]` of garage.toml."""

    host: str
    sender: str
    port: int = 587
    security: str = "starttls"
    """ "starttls", "tls" (from the first byte), or "none"."""
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Of a mail server whose certificate no public authority has signed."""


SECURITIES = ("starttls", "tls", "none")


def read_smtp(given: dict[str, Any]) -> Smtp | None:
    """Of the settings; None where there are none. Raises `config`."""
    if not given:
        return None
    try:
        found = Smtp(**{("sender" if key == "from" else key): value for key, value in given.items()})
    except TypeError:
        raise _config(
            N_("[smtp] needs host and from, and knows port, security, user, password_file, ca_file")
        ) from None
    if not isinstance(found.port, int) or not 0 < found.port < 65_536:
        raise _config(N_("[smtp] port is a number from 1 to 65535"))
    texts = (found.host, found.sender, found.user, found.password_file, found.ca_file)
    if not all(isinstance(text, str) and text.isprintable() for text in texts) or "@" not in found.sender:
        raise _config(N_("[smtp] from is an address, and all but port are text"))
    if found.security not in SECURITIES or (found.user and found.security == "none"):
        raise _config(
            N_("[smtp] security is starttls or tls; none only without a user, since a password needs encryption")
        )
    return found


def _config(text: str) -> GarageError:
    return GarageError("config", text, hint=N_("docs/admin.md has an example"))
