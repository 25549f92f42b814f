"""SSH keys: the ones I have, adding, removing."""

from __future__ import annotations

from flask import Response

from garage.errors import GarageError
from garage.services import keys
from web import forms
from web.pages.base import bp, page, refused, to
from web.pages.proof import is_recent, proof_first
from web.session import caller, ctx


@bp.get("/keys")
def keys_list() -> Response:
    return page("keys.html", keys=keys.listing(ctx(), caller()), proved=is_recent())


@bp.post("/keys")
@proof_first("keys_list")
def keys_add() -> Response:
    who = caller()
    try:
        public_key = forms.lines("public_key", limit=8192).strip()
        keys.add(ctx(), who, forms.text("name") or _name_in(public_key), public_key)
    except GarageError as error:
        return refused("keys.html", error, keys=keys.listing(ctx(), who), proved=True)
    return to("keys_list")


def _name_in(public_key: str) -> str:
    """A name out of the key's comment: me@laptop → laptop."""
    parts = public_key.split()
    word = parts[2].rpartition("@")[2].partition(".")[0].lower() if len(parts) > 2 else ""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in word).strip("-0123456789")
    return kept[:32] or "key"


@bp.post("/keys/<ref>/delete")
def keys_delete(ref: str) -> Response:
    keys.remove(ctx(), caller(), forms.reference(ref))
    return to("keys_list")
