"""Japanese words of the client."""

from __future__ import annotations

WORDS: dict[str, str] = {}
