"""Which request something is done for: an id that a client gives or the gateway draws, in every log line that belongs to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

HEADER = "X-Request-Id"
_SHAPE = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Nothing that could end a header's or a log's line."""
_CURRENT: ContextVar[str] = ContextVar("garage_request", default="")


def usable(given: str) -> bool:
    """Whether a client's own id is taken over."""
    return _SHAPE.fullmatch(given) is not None


def current() -> str:
    """The id of the request that this thread or task works on; empty outside of one."""
    return _CURRENT.get()


@contextmanager
def of(request: str) -> Iterator[None]:
    """What is logged meanwhile belongs to `request`."""
    token = _CURRENT.set(request)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class Stamp(logging.Filter):
    """Gives every record its request's id, for the format's `%(request)s`."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request = f"[{found}] " if (found := current()) else ""
        return True
