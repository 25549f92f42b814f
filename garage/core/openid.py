"""Sign-in by OpenID Connect (Core 1.0, Discovery 1.0): what an admin sets, who may come in, what they are called here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from garage.core.names import LABEL, RESERVED, SYSTEM
from garage.errors import N_, GarageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
FACTORS = ("admins", "provider")
PROOFS = ("auth_time", "sign-in")
LONGEST = 32
"""Characters of a user's name (`core.names.LABEL`)."""
MAX_SUBJECT = 255
"""OpenID Connect Core 1.0, section 2: a `sub` has at most 255 ASCII characters."""
METHOD = "openid"
"""What a session says of how it was opened."""
LEEWAY = 60
"""Seconds by which clocks may differ."""
UNTRUE = N_("what {issuer} says is not to be trusted: {reason}")


@dataclass(frozen=True, slots=True)
class OpenId:
    """The table `[openid]` of garage.toml."""

    issuer: str
    """As the provider writes it itself; its discovery document must name the same."""
    client_id: str
    client_secret_file: str = ""
    """Empty: `$GARAGE_HOME/keys/openid.secret`."""
    label: str = ""
    """What people call the provider; empty: the issuer's host."""
    domains: Sequence[str] = ()
    """Whose verified e-mail address is in one of them may come in."""
    groups_claim: str = "groups"
    groups: Sequence[str] = ()
    """Whose claim `groups_claim` has one of them may come in."""
    scopes: Sequence[str] = ("openid", "email", "profile")
    second_factor: str = FACTORS[0]
    """For whom the garage's own second factor still counts: "admins", or nobody: the "provider" answers for it."""
    proof: str = PROOFS[0]
    """What of a sign-in counts as a fresh proof: when the provider last asked who it is ("auth_time"), or each "sign-in"."""

    @property
    def called(self) -> str:
        return self.label or urlsplit(self.issuer).netloc


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What of a discovery document is needed. `userinfo` may be empty; `basic`: the client's secret goes into a header."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    basic: bool


def read(table: object, path: str) -> OpenId:
    """`[openid]` of the file `path`; raises `config`."""
    try:
        found = OpenId(**_values(table))
        _check(found)
    except (TypeError, ValueError) as error:
        text, hint = N_("{path}: [openid] is not usable: {reason}"), N_("docs/admin.md has an example")
        raise GarageError("config", text, hint=hint, path=path, reason=str(error)) from None
    return found


def _values(table: object) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ValueError("it is a table")  # noqa: TRY004  (told as one of the file's mistakes)
    known = {field.name for field in fields(OpenId)}
    if unknown := set(table) - known:
        raise ValueError(f"{min(unknown)} is not known")
    lists = ("domains", "groups", "scopes")
    for key, value in table.items():
        texts = value if key in lists and isinstance(value, list) else [value]
        if (key in lists) != isinstance(value, list) or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f"{key} is {'a list of texts' if key in lists else 'a text'}")
    return {key: tuple(value) if key in lists else value for key, value in table.items()}


def _check(found: OpenId) -> None:
    if not secure(found.issuer, found.issuer) or set("?#@") & set(found.issuer):
        raise ValueError("issuer is an https address (http on loopback alone)")
    if not found.domains and not found.groups:
        raise ValueError("say who may come in: domains, groups, or both")
    if "openid" not in found.scopes:
        raise ValueError('scopes has "openid"')
    if found.second_factor not in FACTORS:
        raise ValueError(f"second_factor is one of {', '.join(FACTORS)}")
    if found.proof not in PROOFS:
        raise ValueError(f"proof is one of {', '.join(PROOFS)}")


def secure(url: str, issuer: str) -> bool:
    """Whether a request may go there: https, or http on this server's loopback where the issuer is there, too."""
    try:
        there, home = urlsplit(url), urlsplit(issuer)
        local = there.hostname in LOOPBACK and home.scheme == "http" and home.hostname in LOOPBACK
    except ValueError:
        return False
    return bool(there.hostname) and (there.scheme == "https" or (there.scheme == "http" and local))


def endpoints(document: Mapping[str, Any], issuer: str) -> Endpoints:
    """Of a discovery document, which must be the issuer's own (Discovery 1.0, 4.3); raises `openid_failed`."""
    if document.get("issuer") != issuer:
        raise untrue(issuer, "its discovery document is of another issuer")
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    authorization, token, keys, userinfo = (document.get(name) or "" for name in names)
    for url in (authorization, token, keys, userinfo or token):
        if not isinstance(url, str) or not secure(url, issuer):
            raise untrue(issuer, "an address in its discovery document is not https")
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]  # its default
    return Endpoints(authorization, token, keys, userinfo, basic="client_secret_basic" in methods)


def untrue(issuer: str, reason: str) -> GarageError:
    hint = N_("sign in once more; if it happens again, tell an admin what stands here")
    return GarageError("openid_failed", UNTRUE, hint=hint, issuer=issuer, reason=reason)


def proved_at(rules: OpenId, claims: Mapping[str, Any], now: float, asked_at: float | None) -> float:
    """When the provider last asked who it is (`auth_time`; Core 1.0, 2), never later than `now`; 0 where it does not say. All in UTC
    seconds since 1970. `asked_at`: when it was told to ask anew. Raises `openid_failed` where it did not, or does not say; or says
    nonsense."""
    said = claims.get("auth_time") or None
    if said is None and rules.proof == "sign-in":
        return now
    if said is None and asked_at is None:
        return 0.0
    if said is None:
        text = N_("{provider} does not say when it last asked who you are: that proves nothing here")
        hint = N_(
            "ask an admin for a link to set a password here, which is a proof then; admins: see proof in [openid]"
        )
        raise GarageError("openid_failed", text, hint=hint, provider=rules.called)
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said <= now + LEEWAY:
        raise untrue(rules.issuer, "its auth_time is no time that has been")
    if asked_at is not None and said < asked_at - LEEWAY:
        text = N_("{provider} let you through without asking who you are: that proves nothing here")
        raise GarageError("openid_failed", text, hint=N_("sign out there, then do it once more"), provider=rules.called)
    return min(float(said), now)


def enough(rules: OpenId, claims: Mapping[str, Any]) -> bool:
    """Whether the ID token says all by which somebody is let in; if not, the userinfo endpoint may (Core 1.0, 5.4)."""
    wanted = {*(("email", "email_verified") if rules.domains else ()), *((rules.groups_claim,) if rules.groups else ())}
    return wanted <= set(claims)


def check_admitted(rules: OpenId, claims: Mapping[str, Any]) -> None:
    """Raises `forbidden` for somebody who is in no allowed domain and in no allowed group. A domain counts only where the provider has
    verified the address; `email_verified` is a JSON boolean (Core 1.0, 5.1), the text "true" is none."""
    if _in_group(rules, claims):
        return
    mail = email(claims)
    if mail.rpartition("@")[2].lower() not in {domain.lower() for domain in rules.domains} or "@" not in mail:
        text = N_("{who} may not come in here")
        hint = N_("sign in to {provider} with another account, or ask an admin of this garage")
        raise GarageError("forbidden", text, hint=hint, who=mail or _text(claims, "sub"), provider=rules.called)
    if claims.get("email_verified") is not True:
        text = N_("{provider} has not verified the address {who}")
        hint = N_("have it verified there, then sign in once more")
        raise GarageError("forbidden", text, hint=hint, who=mail, provider=rules.called)


def _in_group(rules: OpenId, claims: Mapping[str, Any]) -> bool:
    said = claims.get(rules.groups_claim)
    groups = said if isinstance(said, list) else [said]
    return any(isinstance(group, str) and group in rules.groups for group in groups)


def email(claims: Mapping[str, Any]) -> str:
    """As the provider says it; may be empty, and need not be verified."""
    return _text(claims, "email")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return "".join(c for c in value if c.isprintable())[:254] if isinstance(value, str) else ""


def base_name(claims: Mapping[str, Any]) -> str:
    """What somebody would be called if nobody else was: a name by `core.names`."""
    for said in (_text(claims, "preferred_username"), email(claims)):
        if (name := _label(said.partition("@")[0])) is not None:
            return name
    return "user"


def _label(text: str) -> str | None:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).lstrip("-0123456789")[:LONGEST].rstrip("-")
    return name if LABEL.fullmatch(name) and name not in {*RESERVED, SYSTEM} else None


def numbered(name: str, number: int) -> str:
    """The name itself, then NAME-2, NAME-3, …"""
    if number < 2:
        return name
    suffix = f"-{number}"
    return name[: LONGEST - len(suffix)].rstrip("-") + suffix
