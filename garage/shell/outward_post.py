"""Webhooks: addresses that untrusted people have named, under the same guard as what is fetched for them (`outward_fetch`).

One request, no redirect is followed, and of the answer nothing but its status is read.
"""

from __future__ import annotations

from garage.core import outward
from garage.core.channels import Call, Undelivered
from garage.core.outward import Guard
from garage.errors import N_, GarageError
from garage.shell.outward_fetch import Ask, Bounds, Resolve, asked, resolve

AGENT = "garage (news)"
BOUNDS = Bounds(0, answer=15.0, silence=10.0, connect=10.0)
LATER = (408, 425, 429)
"""Of 4xx those that mean: try again."""
HINTS = {"forbidden": N_("only the internet is reached; an admin may allow an address beside it: docs/admin.md")}
CHECK = N_("check the address, then send a test")


def send(call: Call, guard: Guard, bounds: Bounds = BOUNDS, *, resolve: Resolve = resolve) -> None:
    """Raises `Undelivered` unless the other side takes it."""
    try:
        target = outward.parse_url(call.url)
        with asked(target, guard, bounds, resolve, Ask(call.method, call.headers, call.body, AGENT)) as (answer, _):
            status = answer.status
    except GarageError as error:
        told = GarageError(error.code, error.text, hint=HINTS.get(error.code, CHECK), **error.params)
        raise Undelivered(told, refused=error.code in ("forbidden", "invalid_field")) from None
    if not 200 <= status < 300:
        text = N_("{host} answered {status}")
        answered = GarageError("network_error", text, hint=CHECK, host=target.host, status=status)
        raise Undelivered(answered, refused=300 <= status < 500 and status not in LATER)
