"""The one error of set-up: what went wrong, the last lines of what said so, and what to do."""

from __future__ import annotations


class SetupError(Exception):
    """Shown as it is, without a traceback."""

    def __init__(self, text: str, *, hint: str = "", tail: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.hint = hint
        self.tail = tail
        self.code = code
