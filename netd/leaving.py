"""`netd leave`: first here, which needs nobody; then the registry is told, if it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netd.errors import NetdError
from netd.membership import FILE, Membership
from netd.overlay import Overlay
from netd.shell.registry import Registry

Tell = Callable[[Membership, str], None]
"""Says at the member's registry, with its credential, that it has left; raises NetdError."""


def tell_registry(member: Membership, credential: str) -> None:
    Registry(member.url, member.pin, credential).leave()


def leave(overlay: Overlay, tell: Tell = tell_registry) -> Iterator[str]:
    """What is done and what remains to be done, line by line. NetdError("config") where nothing was joined."""
    if not (overlay.home.path / FILE).exists():
        raise NetdError("config", "this node has joined no overlay")
    member, credential = _member(overlay), overlay.home.credential()
    overlay.leave()
    if member is None:
        yield "left; this site's machines and their network stay as they are"
        yield "which registry it was cannot be read any more: its operator removes this site (garage site remove)"
        return
    yield f"left {member.url}; this site's machines and their network stay as they are"
    try:
        tell(member, credential)
    except NetdError as error:
        yield f"the registry could not be told ({error.text[:200]})"
        yield f"until it is, it keeps names and prefixes for {member.site}: ask its operator for garage site remove {member.site}"


def _member(overlay: Overlay) -> Membership | None:
    """None where the file is damaged: leaving is what mends that."""
    try:
        return overlay.home.membership()
    except NetdError:
        return None
