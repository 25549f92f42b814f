"""The closed table of errors: one code, one HTTP status, one exit code; text and hint are templates for translation.

The same `GarageError` leaves core, services and worker; `api/` turns it into problem+json (RFC 9457), `garage/client/` into an
exit code, `web/` into a page in the user's language.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def N_(text: str) -> str:
    """Mark a template for translation (extracted by pybabel); returns it unchanged."""
    return text


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means to HTTP (status) and to a shell (exit code, 1-125)."""

    status: int
    exit: int
    title: str


KINDS: dict[str, Kind] = {
    # the caller's input (exit 2-9)
    "invalid_field": Kind(422, 2, N_("A field is not valid")),
    "malformed_request": Kind(400, 2, N_("The request cannot be read")),
    "too_large": Kind(413, 2, N_("The request is too large")),
    "image_refused": Kind(422, 7, N_("This image is not taken")),
    "not_found": Kind(404, 3, N_("Not found")),
    "method_not_allowed": Kind(405, 2, N_("This address does not take that method")),
    "not_signed_in": Kind(401, 4, N_("Not signed in")),
    "wrong_credentials": Kind(401, 4, N_("Name or password is wrong")),
    "second_factor": Kind(401, 4, N_("A code is needed")),
    "proof_needed": Kind(401, 4, N_("Show that it is you")),
    "forbidden": Kind(403, 5, N_("Not allowed")),
    "csrf": Kind(403, 5, N_("This page is too old")),
    "too_many_attempts": Kind(429, 6, N_("Too many attempts")),
    "too_many_requests": Kind(429, 6, N_("Too many requests")),
    "link_expired": Kind(410, 3, N_("This link is no longer valid")),
    "token_unknown": Kind(403, 5, N_("This invitation is not known")),
    "token_used": Kind(410, 3, N_("This invitation was used already")),
    "token_expired": Kind(410, 3, N_("This invitation has expired")),
    "token_withdrawn": Kind(410, 3, N_("This invitation was withdrawn")),
    # the state of things (10-19)
    "already_exists": Kind(409, 10, N_("Already exists")),
    "wrong_state": Kind(409, 11, N_("Not possible now")),
    "in_use": Kind(409, 12, N_("In use")),
    "idempotency_mismatch": Kind(409, 13, N_("Idempotency key used for something else")),
    "key_in_use": Kind(409, 15, N_("This key belongs to another node")),
    "unfit_node": Kind(409, 17, N_("This server cannot become a node")),
    "clock_off": Kind(409, 16, N_("The clocks differ")),
    "version_conflict": Kind(412, 14, N_("Changed meanwhile")),
    # limits (20-29)
    "quota_exceeded": Kind(409, 20, N_("Quota exceeded")),
    "no_capacity": Kind(409, 21, N_("The server is full")),
    "disk_full": Kind(507, 22, N_("No disk space")),
    "no_address": Kind(409, 23, N_("No address left")),
    # the outside world (30-49)
    "unavailable": Kind(503, 30, N_("Not available at the moment")),
    "hypervisor_error": Kind(502, 31, N_("The hypervisor refused")),
    "hypervisor_away": Kind(503, 32, N_("The hypervisor does not answer")),
    "image_build_failed": Kind(500, 33, N_("The image could not be built")),
    "mirror_unreachable": Kind(503, 34, N_("The package mirror does not answer")),
    "boot_failed": Kind(500, 35, N_("The machine did not boot")),
    "network_error": Kind(502, 36, N_("The node's network could not be set")),
    "ssh_failed": Kind(502, 37, N_("SSH does not answer")),
    "spec_refused": Kind(409, 38, N_("The node refused its specification")),
    "tool_failed": Kind(500, 39, N_("A program failed")),
    "timeout": Kind(504, 40, N_("Took too long")),
    "openid_failed": Kind(502, 41, N_("The sign-in service did not answer as it should")),
    # ourselves
    "config": Kind(500, 50, N_("The configuration is not usable")),
    "internal": Kind(500, 70, N_("An error of ours")),
}


class GarageError(Exception):
    """An error that a person will read.

    `text` and `hint` are English templates with `{name}` fields filled from `params`; the pair (template, params) is what gets
    stored and translated, never the finished sentence. `pointer` is the JSON pointer (RFC 6901) of the field at fault.
    """

    def __init__(self, code: str, text: str, *, hint: str = "", pointer: str = "", **params: Any) -> None:
        if code not in KINDS:
            raise ValueError(f"unknown error code {code!r}")
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.hint = hint
        self.pointer = pointer
        self.params = params
        self.others: tuple[GarageError, ...] = ()
        """What else is wrong with the same request."""

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    @property
    def message(self) -> str:
        """The text in English, fields filled."""
        return fill(self.text, self.params)

    def __str__(self) -> str:
        return self.message if not self.hint else f"{self.message} ({fill(self.hint, self.params)})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, stored with a failed machine and rebuilt by `from_dict`."""
        return {"code": self.code, "text": self.text, "hint": self.hint, "params": self.params}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GarageError:
        return cls(data["code"], data["text"], hint=data.get("hint", ""), **data.get("params", {}))


def fill(template: str, params: dict[str, Any]) -> str:
    """`template` with its `{name}` fields filled; a missing one stays visible as its name instead of raising."""
    return template.format_map(_Visible(params)) if template else ""


class _Visible(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"
