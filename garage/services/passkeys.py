"""Security keys and passkeys (WebAuthn level 2) as a second factor. What a browser is asked travels sealed in the form: no row waits."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session as OrmSession

from garage.core.passkeys import Place, place
from garage.db.models import User
from garage.db.people_models import Passkey
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context

T = TypeVar("T")
PATIENCE = 600.0
"""Seconds from a question to its answer."""
MOST = 20
"""Keys of one person."""
CREATE, GET = "passkey.create", "passkey.get"


@dataclass(frozen=True, slots=True)
class Asked:
    """`options` is what `navigator.credentials` takes, as JSON; `sealed` comes back with the answer."""

    options: str
    sealed: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`said` is what the browser's key said, as JSON."""

    sealed: str
    said: str


@dataclass(frozen=True, slots=True)
class PasskeyView:
    id: str
    name: str
    created_at: float
    used_at: float | None
    here: bool
    """Whether it is good at the address that this garage has now."""


@dataclass(frozen=True, slots=True)
class _Question:
    challenge: bytes
    at: float


def where(ctx: Context) -> Place | str:
    """As `core.passkeys.place` says it of this garage."""
    return place(ctx.config.outside)


def offer(ctx: Context, caller: Caller) -> Asked | None:
    """To be answered by a new key; None where no browser would make one."""
    here = where(ctx)
    if isinstance(here, str):
        return None
    import webauthn  # when it is needed: few requests do
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    with ctx.db.read() as session:
        known = _descriptors(_of(session, caller.user_id, here))
    question = _Question(secrets.token_bytes(32), ctx.clock())
    organisation = ctx.config.organisation
    options = webauthn.generate_registration_options(
        rp_id=here.id,
        rp_name="garage" if organisation == "garage" else f"garage {organisation}",
        user_id=caller.user_id.encode(),
        user_name=caller.name,
        challenge=question.challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.PREFERRED
        ),
        exclude_credentials=known,
    )
    return Asked(webauthn.options_to_json(options), _seal(ctx, CREATE, caller.user_id, question))


def keep(session: OrmSession, ctx: Context, caller: Caller, name: str, answer: Answer) -> None:
    """A key that has just been made. Raises `wrong_credentials` for one that was not made as it was asked for."""
    here, question = _here(ctx), _opened(ctx, CREATE, caller.user_id, answer.sealed)
    _check_name(name)
    import webauthn

    made = _verified(
        lambda: webauthn.verify_registration_response(
            credential=answer.said,
            expected_challenge=question.challenge,
            expected_rp_id=here.id,
            expected_origin=here.origin,
        )
    )
    _check_new(session, caller, credential := made.credential_id.hex())
    session.add(
        Passkey(
            id=ctx.new_id(), user_id=caller.user_id, name=name, credential=credential, place=here.id,
            public_key=made.credential_public_key, sign_count=made.sign_count, asked_at=question.at, created_at=ctx.clock(),
        )
    )  # fmt: skip
    session.flush()


def _check_new(session: OrmSession, caller: Caller, credential: str) -> None:
    if (session.scalar(select(func.count()).where(Passkey.user_id == caller.user_id)) or 0) >= MOST:
        text, hint = N_("you have {limit} keys already"), N_("remove one that you no longer use")
        raise GarageError("quota_exceeded", text, hint=hint, limit=MOST)
    if session.scalar(select(Passkey.id).where(Passkey.credential == credential)):
        raise GarageError("already_exists", N_("this key is registered already"), hint=N_("take another one"))


def ask(session: OrmSession, ctx: Context, user_id: str) -> Asked | None:
    """To be answered by one of a user's keys; None for somebody who has none for this address."""
    here = where(ctx)
    if isinstance(here, str) or not (known := _of(session, user_id, here)):
        return None
    import webauthn
    from webauthn.helpers.structs import UserVerificationRequirement

    question = _Question(secrets.token_bytes(32), ctx.clock())
    options = webauthn.generate_authentication_options(
        rp_id=here.id,
        challenge=question.challenge,
        allow_credentials=_descriptors(known),
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return Asked(webauthn.options_to_json(options), _seal(ctx, GET, user_id, question))


def asked(ctx: Context, caller: Caller) -> Asked | None:
    """The same of whoever is signed in."""
    with ctx.db.read() as session:
        return ask(session, ctx, caller.user_id)


def prove(session: OrmSession, ctx: Context, user: User, answer: Answer) -> None:
    """Raises `wrong_credentials`. A question is answered once: those that were asked before the last that a key answered are void."""
    here, question = _here(ctx), _opened(ctx, GET, user.id, answer.sealed)
    row = next((row for row in _of(session, user.id, here) if row.credential == _credential(answer.said)), None)
    if row is None or question.at <= row.asked_at:
        raise _wrong()
    import webauthn

    used = _verified(
        lambda: webauthn.verify_authentication_response(
            credential=answer.said,
            expected_challenge=question.challenge,
            expected_rp_id=here.id,
            expected_origin=here.origin,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
        )
    )
    row.sign_count, row.asked_at, row.used_at = used.new_sign_count, question.at, ctx.clock()


def listing(ctx: Context, caller: Caller) -> list[PasskeyView]:
    """One's own, the oldest first."""
    here = where(ctx)
    with ctx.db.read() as session:
        rows = session.scalars(select(Passkey).where(Passkey.user_id == caller.user_id).order_by(Passkey.id))
        return [
            PasskeyView(row.id, row.name, row.created_at, row.used_at, isinstance(here, Place) and row.place == here.id)
            for row in rows
        ]


def has(session: OrmSession, user_id: str) -> bool:
    return session.scalar(select(Passkey.id).where(Passkey.user_id == user_id).limit(1)) is not None


def named(session: OrmSession, caller: Caller, ref: str) -> Passkey:
    """One of the caller's, by its id; raises `not_found`."""
    row = session.get(Passkey, ref)
    if row is None or row.user_id != caller.user_id:
        raise GarageError("not_found", N_("there is no such key"), hint=N_("your account page lists yours"))
    return row


def _of(session: OrmSession, user_id: str, here: Place) -> list[Passkey]:
    query = select(Passkey).where(Passkey.user_id == user_id, Passkey.place == here.id).order_by(Passkey.id)
    return list(session.scalars(query))


def _descriptors(rows: Sequence[Passkey]) -> list[Any]:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

    return [PublicKeyCredentialDescriptor(id=bytes.fromhex(row.credential)) for row in rows]


def _credential(said: str) -> str:
    """The id of the key that answers, in hexadecimal; empty where it says none."""
    import webauthn

    try:
        return webauthn.base64url_to_bytes(json.loads(said)["id"]).hex()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""


def _verified(act: Callable[[], T]) -> T:
    """What a browser says is a stranger's word: whatever the library makes of nonsense, it is no proof."""
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return act()
    except (WebAuthnException, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _wrong() from None


def _seal(ctx: Context, kind: str, user_id: str, question: _Question) -> str:
    said = [kind, user_id, question.challenge.hex(), question.at]
    return ctx.vault.lock(json.dumps(said).encode()).decode()


def _opened(ctx: Context, kind: str, user_id: str, sealed: str) -> _Question:
    """Raises `link_expired` for another's, another kind's and an old one."""
    try:
        said, whose, challenge, at = json.loads(ctx.vault.unlock(sealed.encode()))
    except (GarageError, ValueError, TypeError):
        said, whose, challenge, at = "", "", "", 0.0
    if (said, whose) != (kind, user_id) or not at <= ctx.clock() <= at + PATIENCE:
        hint = N_("load the page again, and touch the key then")
        raise GarageError("link_expired", N_("that took too long"), hint=hint)
    return _Question(bytes.fromhex(challenge), at)


def _here(ctx: Context) -> Place:
    here = where(ctx)
    if isinstance(here, Place):
        return here
    hint = N_("an admin sets public_url in garage.toml to an https address with a name")
    raise GarageError("wrong_state", N_("browsers take no security keys at this garage's address"), hint=hint)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= 64 or not name.isprintable():
        hint = N_("e.g. where it is: key ring, phone")
        raise GarageError(
            "invalid_field", N_("a key's name has 1 to 64 printable characters"), hint=hint, pointer="/name"
        )


def _wrong() -> GarageError:
    hint = N_("take a key that you have registered here, or a code")
    return GarageError("wrong_credentials", N_("the key was not accepted"), hint=hint)
