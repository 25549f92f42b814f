"""netd's own closed table of errors: code → exit code. Each error says what helps."""

from __future__ import annotations

EXITS = {
    "config": 50,
    "spec": 38,
    "tool": 39,
    "network": 36,
    "controller": 30,
    "registry": 31,
    "token": 32,
    "not_root": 5,
}


class NetdError(Exception):
    """An error that an operator will read."""

    def __init__(self, code: str, text: str, *, hint: str = "") -> None:
        if code not in EXITS:
            raise ValueError(f"unknown error code {code!r}")
        super().__init__(text)
        self.code, self.text, self.hint = code, text, hint

    @property
    def exit(self) -> int:
        return EXITS[self.code]

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text
