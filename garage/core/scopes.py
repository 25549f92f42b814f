"""What an API token may do: all that its owner may, or less. What a scope does not name is refused, also what a later version brings."""

from __future__ import annotations

ALL, PROJECT, MACHINES, READ = "all", "project", "machines", "read"
SCOPES = (ALL, PROJECT, MACHINES, READ)
CHANGES = {MACHINES: ("machines", "volumes"), PROJECT: ("machines", "volumes", "projects")}
"""First words of paths below /api/v1 where a scope changes things."""
WHOLE = ("/ssh", "/disk")
"""Ends of paths of machines: who may read no more gets no shell, and no disk."""
SECRETS = ("backup",)
"""Reading these is no reading: they hold everything."""
BASE = "/api/v1/"


def permits(scope: str, method: str, path: str) -> bool:
    """Whether a token of this scope may ask for a path of the API by a method."""
    if scope == ALL:
        return True
    first, _, rest = path.removeprefix(BASE).partition("/")
    stream = first == "machines" and rest.endswith(WHOLE)
    if method in ("GET", "HEAD") and not stream:
        return first not in SECRETS
    return first in CHANGES.get(scope, ())


def keeps_admin(scope: str) -> bool:
    """Whether an admin's token of this scope sees and does more than a member's: one that only reads still sees all."""
    return scope in (ALL, READ)
