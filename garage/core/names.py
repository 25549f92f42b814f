"""Names: what people may type, and what is made from it."""

from __future__ import annotations

import re

from garage.errors import N_, GarageError

LABEL = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
"""A DNS label (RFC 1123) that starts with a letter; at most 32 characters so that NAME.PROJECT.SITE.DOMAIN stays readable."""
RESERVED = frozenset({"localhost", "gateway", "ns", "new", "me", "all", "wpad", "isatap", "spares"})
SYSTEM = "garage"
"""Who acts in the audit log where nobody does; no person and no service account may have it."""
SPARES = "spares"
"""In the place of a project's name in those of pool machines; no project may have it."""


def check_label(value: str, *, field: str) -> str:
    """`value` if it can be a machine's, project's, user's or key's name; raises `invalid_field`."""
    if LABEL.fullmatch(value) and value not in RESERVED and "--" not in value:
        return value
    raise _refused(value, field)


def check_actor(value: str, *, field: str) -> str:
    """The same of who acts: a user, a service account."""
    if value == SYSTEM:
        raise _refused(value, field)
    return check_label(value, field=field)


def _refused(value: str, field: str) -> GarageError:
    return GarageError(
        "invalid_field",
        N_("“{value}” cannot be a name"),
        hint=N_("use 1 to 32 lower-case letters, digits and hyphens, beginning with a letter, e.g. arm-test"),
        pointer=f"/{field}",
        value=value[:64],
    )


def fqdn(name: str, project: str, site_domain: str) -> str:
    """The machine's full DNS name, e.g. arm-test.alice.home.garage.internal."""
    return f"{name}.{project}.{site_domain}"


def bridge(instance: str) -> str:
    return f"gb{instance}"


def tap(instance: str, number: int) -> str:
    """The tap of a node's machine `number`: "gt", the instance, the number in base 36; at most 15 bytes for 78 million machines."""
    return f"gt{instance}{_base36(number)}"


def domain(instance: str, machine_id: str) -> str:
    """The libvirt domain's name."""
    return f"garage-{instance}-{machine_id}"


def mac(instance: str, number: int) -> str:
    """A locally administered unicast MAC (IEEE 802: second-least bit of the first octet set) from instance and number."""
    digest = sum(ord(c) * 37**i for i, c in enumerate(instance)) & 0xFF
    tail = number.to_bytes(4, "big")
    return ":".join(f"{b:02x}" for b in (0x52, digest, *tail))


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while True:
        number, rest = divmod(number, 36)
        text = digits[rest] + text
        if not number:
            return text
