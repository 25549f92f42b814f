"""Workers that are killed between any two effects."""

from __future__ import annotations

import pytest

from garage.worker import failpoint


class Death(BaseException):
    """Of a worker, in the middle of an effect."""


class Deaths:
    """`failpoint.step` that ends the workers before their N-th step from `order(N)` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.dead = 0, False
        monkeypatch.setattr(failpoint, "step", self._step)

    def order(self, number: int) -> None:
        self.left, self.dead = number, False

    def _step(self) -> None:
        if self.left and not self.dead:
            self.left -= 1
            self.dead = not self.left
        if self.dead:
            raise Death
