"""The chain over the audit log: each seal's hash covers the hash before it and all of its entry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import Any

START = "0" * 64
"""What the first seal has before it."""
PURPOSE = b"garage audit seal 1\n"
"""Goes before a hash when it is signed: the signature is good for nothing else."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry says. `at` is UTC seconds since 1970."""

    id: int
    at: float
    actor: str
    action: str
    project_id: str | None
    subject: str
    detail: dict[str, Any]


def digest(before: str, number: int, entry: Entry) -> str:
    """SHA-256, in hexadecimal, of the JSON list [before, number, id, at, actor, action, project, subject, detail]: keys sorted, no blanks,
    UTF-8, numbers as Python writes them."""
    said = json.dumps(
        [before, number, *astuple(entry)], sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def signed(hash_: str) -> bytes:
    """The bytes whose signature a seal holds."""
    return PURPOSE + hash_.encode()
