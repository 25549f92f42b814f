"""What goes wrong on this side, in the same closed table as on the other."""

from __future__ import annotations

from typing import Any

from garage.client.words import _
from garage.errors import KINDS, fill


class ClientError(Exception):
    """An error that a person will read: `problem` is RFC 9457's JSON, whoever made it."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail", ""))
        self.problem = problem
        self.code = str(problem.get("code", "internal"))

    @property
    def exit(self) -> int:
        """The exit code of its kind."""
        return KINDS[self.code].exit if self.code in KINDS else KINDS["internal"].exit

    @property
    def detail(self) -> str:
        return str(self.problem.get("detail") or self.problem.get("title") or self.code)

    @property
    def hint(self) -> str:
        return str(self.problem.get("hint", ""))


def local_error(code: str, text: str, *, hint: str = "", **params: Any) -> ClientError:
    """An error of this side; `text` and `hint` are templates of the catalogue."""
    kind = KINDS[code]
    body = {"type": f"urn:garage:error:{code}", "status": kind.status, "code": code, "title": _(kind.title)}
    body["detail"] = fill(_(text), params)
    if hint:
        body["hint"] = fill(_(hint), params)
    return ClientError(body)
